"""The interface of detectors: decoded pictures in, people with keypoints out.

A detector of your own is any object with these attributes; no inheritance is needed (docs/detectors.md has an example).
The result for a picture must not depend on the other pictures of a batch: results are kept by the content of a picture,
and the same picture must always give the same bits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from engine.body.schemas import KeypointSchema

Pixels = UInt8[np.ndarray, "height width 3"]
"""A decoded picture, upright, channels in the order blue, green, red (OpenCV's and MMPose's)."""

Box = tuple[float, float, float, float]
"""x and y of the upper left, x and y of the lower right corner, in pixels."""


class DetectorError(ValueError):
    """A detector cannot be made or used as asked; the message has the remedy."""


@dataclass(frozen=True)
class Detection:
    """One person in one picture."""

    keypoints: Float32[np.ndarray, "keypoints 2"]
    """Pixels of the given picture; the centre of its first pixel is (0, 0)."""
    confidence: Float32[np.ndarray, " keypoints"]
    """0 (not seen) to 1; each detector documents the conversion from its scores."""
    box: Box
    box_score: float
    """0 to 1; 1 if the box was given."""
    outline_px: Float32[np.ndarray, "places 2"] | None = None
    """Widths of the person's mask (``outlines.measure``), in pixels of the given picture; None without a mask."""


class Detector(Protocol):
    """Finds people and their keypoints."""

    @property
    def schema(self) -> KeypointSchema:
        """The schema of a person's keypoints."""
        ...

    @property
    def identity(self) -> str:
        """Everything that may change a result: library, version, weights, options. Results are kept under it."""
        ...

    @property
    def batch_size(self) -> int:
        """The best number of pictures for one call."""
        ...

    def detect(
        self, pictures: Sequence[Pixels], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Detection]]:
        """The people of each picture; an empty list if nobody is seen.

        Args:
            boxes: the boxes of people in each picture; None lets the detector find them.
        """
        ...


def surrounding_box(keypoints: Float32[np.ndarray, "keypoints 2"], seen: np.ndarray) -> Box:
    """The smallest box around the keypoints that are seen; at least one is."""
    low, high = keypoints[seen].min(axis=0), keypoints[seen].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def whole_picture(picture: Pixels) -> list[Box]:
    """One box around everything."""
    height, width = picture.shape[:2]
    return [(0.0, 0.0, float(width), float(height))]


def file_digest(path: str) -> str:
    """A short hash of a file, for a detector's identity."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
