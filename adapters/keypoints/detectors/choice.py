"""Detectors by name, with their options."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from adapters.keypoints.detectors.protocol import Detector, DetectorError

DetectorName = Literal["mediapipe", "mmpose", "rtmpose-onnx"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)


@dataclass(frozen=True)
class DetectorChoice:
    """A detector and its settings."""

    name: DetectorName
    model: str | None = None
    """mmpose: a config file or the name of a shipped config. rtmpose-onnx: the .onnx file."""
    weights: str | None = None
    """mmpose: a checkpoint file; None leaves the weights random."""
    device: str = "cpu"
    person_model: str | None = None
    """mmpose: MMDetection's config or alias of the person detector for a top-down model; needs mmcv's operators."""
    person_weights: str | None = None
    download: bool = False
    """mmpose: let MMPose find the weights of ``model`` by its name and download them."""
    trust_weights: bool = False
    """Load a checkpoint even if that runs code in it."""


def make_detector(choice: DetectorChoice) -> Detector:
    """Load the detector and its weights.

    Raises:
        DetectorError: its library is missing, or it does not have these options.
    """
    makers: dict[DetectorName, Callable[[DetectorChoice], Detector]] = {
        "mediapipe": _mediapipe,
        "mmpose": _mmpose,
        "rtmpose-onnx": _rtmpose_onnx,
    }
    return makers[choice.name](choice)


def _mediapipe(choice: DetectorChoice) -> Detector:
    from adapters.keypoints.detectors.mediapipe_detector import MediaPipeDetector

    if choice.model or choice.weights or choice.device != "cpu":
        raise DetectorError("the detector mediapipe has one model, on the CPU; leave out --model, --weights, --device")
    return MediaPipeDetector()


def _mmpose(choice: DetectorChoice) -> Detector:
    if choice.model is None:
        raise DetectorError(
            "the detector mmpose needs --model: a config file or the name of one, and --weights: its checkpoint"
        )
    if choice.person_model is not None or choice.download:
        from adapters.keypoints.detectors.mmpose_inferencer import MMPoseInferencerDetector

        return MMPoseInferencerDetector(
            choice.model,
            choice.weights,
            choice.person_model,
            choice.person_weights,
            choice.device,
            choice.trust_weights,
        )
    from adapters.keypoints.detectors.mmpose_detector import MMPoseDetector

    return MMPoseDetector(choice.model, choice.weights, choice.device, choice.trust_weights)


def _rtmpose_onnx(choice: DetectorChoice) -> Detector:
    from adapters.keypoints.detectors.rtmpose_onnx_detector import RTMPoseOnnxDetector

    if choice.model is None:
        raise DetectorError("the detector rtmpose-onnx needs --model: the .onnx file of an RTMPose model")
    return RTMPoseOnnxDetector(choice.model, choice.device)
