"""Detectors by name, with what their options mean."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from adapters.detectors.protocol import Detector, DetectorError

DetectorName = Literal["mediapipe", "mmpose", "rtmpose-onnx"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)


@dataclass(frozen=True)
class DetectorChoice:
    """Which detector, and how it is set up."""

    name: DetectorName
    model: str | None = None
    """mmpose: a config file, the name of a shipped config, or an alias. rtmpose-onnx: the .onnx file."""
    weights: str | None = None
    """mmpose: a checkpoint file; None leaves the weights random."""
    device: str = "cpu"
    trust_weights: bool = False
    """Load a checkpoint even if that runs code in it."""


def make_detector(choice: DetectorChoice) -> Detector:
    """Load the detector and its weights.

    Raises:
        DetectorError: its library is missing, or the options do not go with it.
    """
    makers: dict[DetectorName, Callable[[DetectorChoice], Detector]] = {"mediapipe": _mediapipe}
    return makers[choice.name](choice)


def _mediapipe(choice: DetectorChoice) -> Detector:
    from adapters.detectors.mediapipe_detector import MediaPipeDetector

    if choice.model or choice.weights or choice.device != "cpu":
        raise DetectorError("the detector mediapipe has one model, on the CPU; leave out --model, --weights, --device")
    return MediaPipeDetector()
