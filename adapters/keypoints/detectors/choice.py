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
    outlines: bool = False
    """Segment people, and measure their outlines."""
    mask_model: str | None = None
    """mmpose and rtmpose-onnx: MMDetection's config of the model that segments people."""
    mask_weights: str | None = None
    """Its checkpoint; None leaves the weights random."""


def make_detector(choice: DetectorChoice) -> Detector:
    """Load the detector and its weights.

    Raises:
        DetectorError: its library is missing, or it does not have these options.
    """
    _check_outlines(choice)
    makers: dict[DetectorName, Callable[[DetectorChoice], Detector]] = {
        "mediapipe": _mediapipe,
        "mmpose": _mmpose,
        "rtmpose-onnx": _rtmpose_onnx,
    }
    detector = makers[choice.name](choice)
    if choice.name == "mediapipe" or choice.mask_model is None:
        return detector
    from adapters.keypoints.detectors.mmdet_masks import MaskedDetector, MaskModel

    model = MaskModel(choice.mask_model, choice.mask_weights, choice.device, choice.trust_weights)
    return MaskedDetector(detector, model)


def _check_outlines(choice: DetectorChoice) -> None:
    asked = choice.mask_model is not None or choice.mask_weights is not None
    if choice.name == "mediapipe" and asked:
        raise DetectorError("the detector mediapipe segments people itself; leave out --mask-model and --mask-weights")
    if asked and not choice.outlines:
        raise DetectorError("--mask-model and --mask-weights go with --outlines")
    if choice.name != "mediapipe" and choice.outlines and choice.mask_model is None:
        raise DetectorError(
            f"the detector {choice.name} gives no masks; --outlines needs --mask-model with it: a config of "
            "MMDetection for instance segmentation, and --mask-weights"
        )


def _mediapipe(choice: DetectorChoice) -> Detector:
    from adapters.keypoints.detectors.mediapipe_detector import MediaPipeDetector

    if choice.model or choice.weights or choice.device != "cpu":
        raise DetectorError("the detector mediapipe has one model, on the CPU; leave out --model, --weights, --device")
    return MediaPipeDetector(outlines=choice.outlines)


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
