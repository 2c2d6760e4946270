"""The detectors that can be used here, and the commands that make the others usable."""

from collections.abc import Callable
from importlib import metadata

from adapters.keypoints.detectors.choice import DETECTORS, DetectorName
from adapters.keypoints.detectors.mmpose_imports import INSTALL, import_mmpose
from adapters.keypoints.detectors.protocol import DetectorError
from adapters.keypoints.detectors.rtmpose_onnx_detector import PROVIDERS

_REMEDIES: dict[DetectorName, str] = {
    "mediapipe": "pip install 'samebody[mediapipe]'",
    "mmpose": INSTALL,
    "rtmpose-onnx": "pip install 'samebody[rtmpose-onnx]'",
}


def detector_states() -> list[tuple[DetectorName, str, str]]:
    """Every detector with its state and, if it cannot be used, the command that fixes it."""
    checks: dict[DetectorName, Callable[[], str]] = {
        "mediapipe": _mediapipe,
        "mmpose": _mmpose,
        "rtmpose-onnx": _rtmpose_onnx,
    }
    states = []
    for name in DETECTORS:
        try:
            states.append((name, checks[name](), ""))
        except (DetectorError, ImportError) as error:
            states.append((name, str(error).removesuffix(f": {_REMEDIES[name]}"), _REMEDIES[name]))
    return states


def _mediapipe() -> str:
    from adapters.keypoints.detectors.mediapipe_detector import MediaPipeDetector

    return MediaPipeDetector().identity.split(" blazepose")[0]


def _mmpose() -> str:
    repaired = import_mmpose()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("mmpose", "torch"))
    return versions + (f"; stood in for at import: {', '.join(repaired)}" if repaired else "")


def _rtmpose_onnx() -> str:
    import cv2
    import onnxruntime

    devices = [device for device, name in PROVIDERS.items() if name in onnxruntime.get_available_providers()]
    return f"onnxruntime {onnxruntime.__version__} ({', '.join(devices)}), opencv {cv2.__version__}"
