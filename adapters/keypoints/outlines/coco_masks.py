"""Masks in COCO's JSON (cocodataset.org, "data format"): polygons and run lengths, compressed or not.

    polygons      [[x, y, x, y, ...], ...]        a mask is the union of its polygons
    run lengths   {"size": [height, width], "counts": [n, n, ...] or a text}

Runs go down the columns, from the left to the right, and alternate between outside and inside, outside first. The text
holds each run length in characters of six bits, from "0": five bits of the number, lowest first, and one that tells
whether more follow; numbers are signed, and from the fourth on they are differences to the last but one.

Coordinates of polygons count from the upper left corner of the first pixel, as in COCO's own tools.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from adapters.keypoints.outlines.mask_arrays import BadMask, Mask, check_size

_MOST_CROSSINGS = 20_000_000
_LONGEST_TEXT = 4_000_000


def mask_of_segmentation(segmentation: Any, size: tuple[float, float] | None) -> Mask:
    """The mask of one record.

    Args:
        segmentation: decoded JSON.
        size: width and height of the picture, if they are known. Polygons need it to tell where the picture ends;
            without it, they end inside of it.

    Raises:
        BadMask: it is something else, is broken or empty, or has another size than the picture.
    """
    if isinstance(segmentation, dict):
        return _of_runs(segmentation, size)
    if not isinstance(segmentation, list) or not segmentation:
        raise BadMask("segmentation is neither polygons nor run lengths")
    polygons = [_corners(polygon) for polygon in segmentation]
    if size is None:
        end = np.max([polygon.max(axis=0) for polygon in polygons], axis=0)
        # One more pixel on each side keeps the border of the mask apart from that of the picture.
        width, height = (math.ceil(value) + 2 for value in np.clip(end, 0, 1e6))
    else:
        width, height = round(size[0]), round(size[1])
    return polygon_mask(polygons, height, width)


def polygon_mask(polygons: list[Float[np.ndarray, "corners 2"]], height: int, width: int) -> Mask:
    """The pixels whose centres lie in one of the polygons, by the even-odd rule.

    Raises:
        BadMask: the mask is too large or empty, or a polygon is too long.
    """
    check_size(height, width)
    inside = np.zeros((height, width), bool)
    for polygon in polygons:
        rows, columns = _crossings(polygon - 0.5, height, width)
        if not len(rows):
            continue
        (top, left), (bottom, right) = ((int(edge(rows)), int(edge(columns))) for edge in (np.min, np.max))
        toggles = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
        np.add.at(toggles, (rows - top, columns - left), np.uint8(1))
        # An odd number of crossings on the left means inside; nothing is inside from the last crossing on.
        odd = np.add.accumulate(toggles[:, :-1], axis=1, dtype=np.uint8) & 1
        inside[top : bottom + 1, left:right] |= odd.astype(bool)
    if not inside.any():
        raise BadMask("its polygons hold no pixel of the picture")
    return inside.astype(np.uint8) * np.uint8(255)


def _crossings(
    polygon: Float[np.ndarray, "corners 2"], height: int, width: int
) -> tuple[Int[np.ndarray, " crossings"], Int[np.ndarray, " crossings"]]:
    """Row and column of the first pixel behind each crossing of an edge with the middle of a row."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first, last = (np.clip(np.ceil(values), 0, height).astype(np.int64) for values in (low, high))
    count = last - first
    if count.sum() > _MOST_CROSSINGS:
        raise BadMask("a polygon with too many long edges")
    edge = np.repeat(np.arange(len(polygon)), count)
    rows = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    # An edge along a row has no crossing, so no height is zero here.
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + (rows - start[edge, 1]) * slope
    return rows, np.clip(np.ceil(x), 0, width).astype(np.int64)


def _corners(polygon: Any) -> Float[np.ndarray, "corners 2"]:
    try:
        flat = np.array(polygon, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadMask("a polygon is no list of numbers") from None
    if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2:
        raise BadMask("a polygon has fewer than three corners, or half a corner")
    if not (np.abs(flat) < 1e6).all():
        raise BadMask("a corner of a polygon is no place in a picture")
    return flat.reshape(-1, 2)


def _of_runs(segmentation: dict[str, Any], size: tuple[float, float] | None) -> Mask:
    shape, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(side) is int for side in shape)):
        raise BadMask("run lengths without the size of the mask")
    height, width = shape
    check_size(height, width)
    if size is not None and (width, height) != (round(size[0]), round(size[1])):
        raise BadMask(f"its mask has {width} × {height} pixels, the picture {size[0]:.0f} × {size[1]:.0f}")
    if isinstance(counts, str):
        runs = _runs_of_text(counts)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= height * width for count in counts):
        runs = np.array(counts, np.int64)
    else:
        raise BadMask("run lengths are no list of counts")
    if (runs < 0).any() or runs.sum() != height * width:
        raise BadMask(f"run lengths of {runs.sum()} pixels for a mask of {width} × {height}")
    values = np.zeros(len(runs), np.uint8)
    values[1::2] = 255
    mask = np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)
    if not mask.any():
        raise BadMask("its mask is empty")
    return mask


def _runs_of_text(text: str) -> Int[np.ndarray, " runs"]:
    if len(text) > _LONGEST_TEXT:
        raise BadMask("a text of run lengths that is too long")
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64 or shift > 30:
            raise BadMask("a text that does not hold run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return np.array(runs, np.int64)
