"""Photographs for tests, and a detector that needs no weights."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from adapters.keypoints.detectors.protocol import Box, Detection, Pixels
from engine.body.schemas import COCO_17

MAN = Path(__file__).parent / "data" / "man.jpg"
"""Cut from a video of the PyPI package pose2sim (BSD-3, see NOTICE), 244 × 420; the face is hidden there already."""


class SpotDetector:
    """Sees a person wherever a picture is pure red, all keypoints in the middle of the red; counts its pictures."""

    schema = COCO_17
    batch_size = 3

    def __init__(self, identity: str = "spots 1") -> None:
        self.identity = identity
        self.seen = 0

    def detect(
        self, pictures: Sequence[Pixels], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Detection]]:
        assert len(pictures) <= self.batch_size
        self.seen += len(pictures)
        given = [None] * len(pictures) if boxes is None else boxes
        return [self._spot(picture, some) for picture, some in zip(pictures, given, strict=True)]

    def _spot(self, picture: Pixels, boxes: Sequence[Box] | None) -> list[Detection]:
        assert picture.dtype == np.uint8
        blue, green, red = np.moveaxis(picture.astype(int), -1, 0)
        y, x = np.nonzero((red > 150) & (blue < 100) & (green < 100))
        if not len(x):
            return []
        middle = np.array([(x.min() + x.max()) / 2, (y.min() + y.max()) / 2], np.float32)
        box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        return [
            Detection(np.tile(middle, (17, 1)), np.full(17, 0.5, np.float32), box if some is None else some, 1.0)
            for some in (boxes or [None])
        ]


def spot_pixels(size: tuple[int, int] = (120, 80), spot: tuple[int, int, int, int] = (20, 10, 40, 30)) -> np.ndarray:
    """Grey, with a red rectangle (left, top, right, bottom): its middle is at (29.5, 19.5)."""
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    left, top, right, bottom = spot
    pixels[top:bottom, left:right] = (255, 0, 0)
    return pixels


def save_spot(path: Path, **settings) -> Path:
    Image.fromarray(spot_pixels()).save(path, **settings)
    return path


def printed_by_processes(detector: str, count: int = 5) -> set[bytes]:
    """What so many processes print of all bits that a detector finds on the photograph, and of its identity.

    Args:
        detector: an expression for it, with its imports before a semicolon.
    """
    imports, expression = detector.rsplit(";", 1)
    script = f"""
{imports}
import numpy as np
from PIL import Image
detector = {expression}
(people,) = detector.detect([np.ascontiguousarray(np.asarray(Image.open({str(MAN)!r}))[..., ::-1])])
assert people
print([person.keypoints.tobytes().hex() + person.confidence.tobytes().hex() for person in people], detector.identity)
"""
    command = [sys.executable, "-c", script]
    return {subprocess.run(command, capture_output=True, check=True).stdout for _ in range(count)}
