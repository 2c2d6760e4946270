"""RTMPose and RTMW as ONNX files, without torch or MMPose (extra ``rtmpose-onnx``).

The file is an ONNX SDK model of OpenMMLab (``end2end.onnx``), or an export of MMPose's model: the input is pictures,
the output is one SimCC vector for each keypoint and axis. Preprocessing and postprocessing are those of MMPose, so that
the same model gives the same keypoints:

- The box is enlarged by 1.25 and brought to the network's aspect ratio; its crop is resampled bilinearly.
- MMPose's models were trained on red-green-blue; pictures come as blue-green-red and are swapped, then normalised by
  ImageNet's mean and deviation. (rtmlib, the other program for such files, leaves the swap to its caller.)
- The score is the smaller of the two axes' maxima. (rtmlib takes their mean, which is higher if one axis is unsure.)

The number of keypoints determines the schema. There is no person detector: without boxes the whole picture is one.
"""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from adapters.keypoints.detectors.confidences import LEAST_SCORE, confidences
from adapters.keypoints.detectors.protocol import Box, Detection, DetectorError, Pixels, file_digest, whole_picture
from engine.body.schemas import KeypointSchema, schema_for_count

_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
_BOX_PADDING = 1.25
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""onnxruntime's names of our devices."""
_SIMCC_SPLIT = 2.0
"""Bins of a SimCC vector for each pixel of the crop."""


class RTMPoseOnnxDetector:
    """See the module."""

    batch_size = 8

    def __init__(self, model: str, device: str = "cpu", least_score: float = LEAST_SCORE) -> None:
        """Load a model.

        Args:
            model: the .onnx file.
            device: ``cpu``, or ``cuda`` with onnxruntime-gpu.
            least_score: a keypoint with a lower score counts as not seen.

        Raises:
            DetectorError: onnxruntime is missing, or the file is not an RTMPose model.
        """
        try:
            import cv2
            import onnxruntime
        except ImportError as error:
            raise DetectorError(
                f"the detector rtmpose-onnx is not installed ({error}): pip install 'samebody[rtmpose-onnx]'"
            ) from error
        if not Path(model).is_file():
            raise DetectorError(f"{model}: no such .onnx file")
        name, _, number = device.partition(":")
        provider = PROVIDERS.get(name, name)
        if provider not in onnxruntime.get_available_providers():
            have = ", ".join(onnxruntime.get_available_providers())
            raise DetectorError(f"onnxruntime cannot use the device {device} here; it has {have}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model, options, providers=[(provider, {"device_id": number} if number else {})]
            )
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            raise DetectorError(f"{model}: not an ONNX model that onnxruntime can run ({error})") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(outputs) != 2 or len(outputs[0].shape) != 3:
            raise DetectorError(f"{model}: not an RTMPose model: one picture in and two SimCC vectors out are expected")
        height, width = inputs[0].shape[2:]
        self._input, self._size = inputs[0].name, (int(width), int(height))
        self.schema: KeypointSchema = schema_for_count(int(outputs[0].shape[1]))
        self._least_score = least_score
        version = metadata.version("onnxruntime") if name == "cpu" else onnxruntime.__version__
        self.identity = (
            f"rtmpose-onnx onnxruntime {version} {provider} opencv {cv2.__version__} weights {file_digest(model)} "
            f"score>={least_score:g}"
        )

    def detect(
        self, pictures: Sequence[Pixels], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Detection]]:
        """See ``Detector.detect``. Crops are computed one by one, so that none depends on the others."""
        given = [None] * len(pictures) if boxes is None else boxes
        people: list[list[Detection]] = []
        for picture, some in zip(pictures, given, strict=True):
            found = [self._person(picture, box) for box in (whole_picture(picture) if some is None else some)]
            people.append([person for person in found if person is not None])
        return people

    def _person(self, picture: Pixels, box: Box) -> Detection | None:
        crop, to_picture = self._crop(picture, box)
        normal = (crop[..., ::-1].astype(np.float32) - _MEAN) / _DEVIATION
        along_x, along_y = self._session.run(None, {self._input: np.ascontiguousarray(normal.transpose(2, 0, 1)[None])})
        bins = np.stack([along_x[0].argmax(axis=1), along_y[0].argmax(axis=1)], axis=1).astype(np.float32)
        scores = np.minimum(along_x[0].max(axis=1), along_y[0].max(axis=1))
        keypoints = to_picture(bins / np.float32(_SIMCC_SPLIT)).astype(np.float32)
        confidence = confidences(scores, keypoints, picture.shape, self._least_score)
        return Detection(keypoints, confidence, box, 1.0) if confidence.any() else None

    def _crop(self, picture: Pixels, box: Box) -> tuple[Pixels, Any]:
        """The enlarged box as the network's input, and the map from its points back to the picture's."""
        import cv2

        width, height = self._size
        corner, end = np.array(box[:2], np.float32), np.array(box[2:], np.float32)
        centre = (corner + end) / 2
        wide, high = (end - corner) * np.float32(_BOX_PADDING)
        ratio = np.float32(width / height)
        extent = np.array([wide, wide / ratio] if wide > high * ratio else [high * ratio, high], np.float32)
        # MMPose's convention: the centre goes to half the size, and the scale of the widths serves both axes.
        scale = width / float(extent[0])
        matrix = np.array(
            [[scale, 0, width / 2 - scale * float(centre[0])], [0, scale, height / 2 - scale * float(centre[1])]]
        )
        crop = cv2.warpAffine(picture, matrix, self._size, flags=cv2.INTER_LINEAR)

        def to_picture(points: Float32[np.ndarray, "keypoints 2"]) -> np.ndarray:
            return points / np.array(self._size, np.float32) * extent + centre - extent / 2

        return np.asarray(crop), to_picture
