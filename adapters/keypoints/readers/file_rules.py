"""Rules that turn numbers of files into keypoints: a least score, the picture's border, pixels.

- A score below ``min_score`` (0.3 of 1, as for the detectors of ``samebody detect``) means not seen: top-down models
  give a place for every keypoint, even if the picture does not show it. Visibility flags are not scores.
- A point outside of the picture was not seen. The left and upper borders are known (0, less half a pixel); the others
  are known if the size of the picture is.
- Coordinates of a person that all lie within two units of the origin are fractions of the picture, not pixels. Then x
  and y have different units, and a shape fitted to them is wrong. They are multiplied by the size of the picture if it
  is known; otherwise the row is bad input. So is a row whose points mostly have a negative coordinate.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from adapters.keypoints.table import clean_keypoints
from engine.picture.clothes import Clothes, thickness_m

MIN_SCORE = 0.3
"""Default least score, 0..1; detectors have the same (``detectors.confidences.LEAST_SCORE``)."""

NORMALISED = (
    "its coordinates look normalised (the largest is {largest:.3g}), expected pixels; multiply them by the width and "
    "height of the picture, or give --image-size WIDTHxHEIGHT"
)
CENTRED = (
    "{negative} of its {seen} points have a negative coordinate; expected pixels counted from the upper left corner of "
    "the picture"
)

_LARGEST_FRACTION = 2.0
# Pixel centres are whole numbers, so a picture reaches half a pixel beyond the first and the last.
_BORDER_PX = 0.5

Size = tuple[float, float]
"""Width and height of a picture in pixels."""


@dataclass(frozen=True)
class ReadingOptions:
    """Facts about files that the caller knows and the files do not contain."""

    min_score: float = MIN_SCORE
    """Scores below it mean not seen; 0..1."""
    image_size: Size | None = None
    """Size of pictures whose size the file does not give; used if coordinates are fractions of it."""
    judge: bool = False
    """Rows that cannot be a person get the status IMPLAUSIBLE (``adapters.keypoints.plausibility``)."""
    outlines: bool = True
    """Outlines and masks in the files are read."""
    clothes: Clothes = "unknown"
    """What everybody in the pictures wears; it acts on people with an outline."""

    def __post_init__(self) -> None:
        thickness_m(self.clothes)
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}, expected 0 to 1")
        if self.image_size is not None and not all(0 < side < 1e6 for side in self.image_size):
            raise ValueError(f"image_size is {self.image_size}, expected width and height in pixels")


FILE_RULES = ReadingOptions()
DETECTOR_RULES = ReadingOptions(min_score=0.0)
"""Detectors have applied their own least score."""


def parse_image_size(text: str) -> Size:
    """``1920x1080`` as width and height.

    Raises:
        ValueError: it is something else.
    """
    width, cross, height = text.lower().replace("×", "x").partition("x")
    if not (cross and width.strip().isascii() and width.strip().isdigit() and height.strip().isdigit()):
        raise ValueError(f"image size {text!r}; expected WIDTHxHEIGHT in pixels, for example 1920x1080")
    return float(width), float(height)


@dataclass(frozen=True)
class RuledKeypoints:
    """Keypoints by the rules of this module, in pixels."""

    keypoints: Float32[np.ndarray, "images keypoints 2"]
    confidence: Float32[np.ndarray, "images keypoints"]
    box: Float32[np.ndarray, "images 4"] | None
    problems: dict[int, str]
    """Reasons of unusable rows, by row number; their keypoints are zeros."""


def apply_rules(
    keypoints: Float[np.ndarray, "images keypoints 2"],
    scores: Float[np.ndarray, "images keypoints"],
    options: ReadingOptions,
    *,
    flagged: Bool[np.ndarray, " images"] | None = None,
    size: Float[np.ndarray, "images 2"] | None = None,
    box: Float[np.ndarray, "images 4"] | None = None,
) -> RuledKeypoints:
    """Apply the rules of this module and of ``keypoint_table``.

    Args:
        flagged: rows whose scores come from visibility flags.
        size: sizes of the pictures from the file; NaN if it does not give them.
        box: boxes from the file; scaled with the keypoints.
    """
    points, confidence = clean_keypoints(keypoints, scores)
    low = (confidence < np.float32(options.min_score)) & (confidence > 0)
    if flagged is not None:
        low &= ~flagged[:, None]
    if low.any():
        confidence = np.where(low, np.float32(0), confidence)
    seen = confidence > 0
    largest = np.where(seen, np.maximum(np.abs(points[..., 0]), np.abs(points[..., 1])), 0).max(axis=1, initial=0)
    normalised = seen.any(axis=1) & (largest <= _LARGEST_FRACTION)
    problems: dict[int, str] = {}
    if normalised.any():
        points, box, size = _scaled(points, box, normalised, size, options.image_size)
        unknown = np.flatnonzero(normalised & np.isnan(size).any(axis=1))
        problems = {int(row): NORMALISED.format(largest=largest[row]) for row in unknown}
    confidence = _inside(points, confidence, size, problems)
    if problems:
        bad = list(problems)
        points, confidence = points.copy(), confidence.copy()
        points[bad], confidence[bad] = 0, 0
    return RuledKeypoints(points, confidence, None if box is None else box.astype(np.float32, copy=False), problems)


def _scaled(
    points: Float32[np.ndarray, "images keypoints 2"],
    box: Float[np.ndarray, "images 4"] | None,
    rows: Bool[np.ndarray, " images"],
    size: Float[np.ndarray, "images 2"] | None,
    given: Size | None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Coordinates of some rows in pixels, and the sizes of all pictures; NaN for unknown sizes."""
    size = np.full((len(points), 2), np.nan) if size is None else size.copy()
    if given is not None:
        size[rows & np.isnan(size).any(axis=1)] = given
    scaled = np.flatnonzero(rows & ~np.isnan(size).any(axis=1))
    points = points.copy()
    points[scaled] *= size[scaled][:, None].astype(np.float32)
    if box is not None:
        fraction = scaled[(np.abs(box[scaled]) <= _LARGEST_FRACTION).all(axis=1)]
        box = box.copy()
        box[fraction] *= np.tile(size[fraction], 2)
    return points, box, size


def _inside(
    points: np.ndarray, confidence: np.ndarray, size: np.ndarray | None, problems: dict[int, str]
) -> Float32[np.ndarray, "images keypoints"]:
    seen = confidence > 0
    before = seen & ((points[..., 0] < -_BORDER_PX) | (points[..., 1] < -_BORDER_PX))
    outside = before
    if size is not None:
        # NaN, an unknown size, fails the comparison.
        end = size[:, None] - _BORDER_PX
        outside = before | (seen & ((points[..., 0] > end[..., 0]) | (points[..., 1] > end[..., 1])))
    if not outside.any():
        return confidence
    negative, count = before.sum(axis=1), seen.sum(axis=1)
    for row in np.flatnonzero(2 * negative > count):
        problems.setdefault(int(row), CENTRED.format(negative=negative[row], seen=count[row]))
    return np.where(outside, np.float32(0), confidence)
