"""Numbers in records of JSON: coordinates and scores in the shapes that programs write them in, and boxes."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec

from adapters.keypoints.readers.forms.form import decoded
from adapters.keypoints.readers.json_rows import BadRecord, numbers
from adapters.keypoints.readers.json_text import MISFIT, shown
from engine.body.schemas import SCHEMAS

_decode_numbers = msgspec.json.Decoder(list[float]).decode
_decode_points: tuple[tuple[Callable[[msgspec.Raw], list[Any]], int | None], ...] = (
    (_decode_numbers, None),
    (msgspec.json.Decoder(list[tuple[float, float, float]]).decode, 3),
    (msgspec.json.Decoder(list[tuple[float, float]]).decode, 2),
)
"""Lists of numbers or of points, and how many numbers a point has."""
_NUMBERS = frozenset({float, int})
_FLOATS = frozenset({float})
_KNOWN_COUNTS = frozenset(len(schema) for schema in SCHEMAS.values())


def plain_numbers(values: Any, name: str) -> list[float]:
    """A list of numbers, null included, as text or decoded.

    Raises:
        BadRecord: something else.
    """
    if isinstance(values, msgspec.Raw):
        try:
            return _decode_numbers(values)
        except MISFIT:
            values = decoded(values)
    return values if isinstance(values, list) and _is_plain(values) else numbers(values, name)


def _is_plain(values: list[Any]) -> bool:
    """True if all are numbers that fit into an array; ``numbers`` turns whole numbers beyond float64 into NaN."""
    kinds = set(map(type, values))
    return kinds == _FLOATS or (kinds <= _NUMBERS and _is_finite(values))


def _is_finite(values: list[float]) -> bool:
    return not values or (max(values) < 1e300 and min(values) > -1e300)


def split_points(values: Any, name: str, *, y_first: bool = False) -> tuple[list[float], list[float] | None]:
    """Coordinates, and scores if there are any, of a flat list or a list of pairs or triples, as text or decoded.

    If a flat list could be pairs or triples, the one with a known number of keypoints is taken, triples first.

    Raises:
        BadRecord: it is something else.
    """
    flat, step = _flat_points(values, name)
    points = [0.0] * (2 * (len(flat) // step))
    x, y = (1, 0) if y_first else (0, 1)
    points[0::2], points[1::2] = flat[x::step], flat[y::step]
    return points, flat[2::step] if step > 2 else None


def _flat_points(values: Any, name: str) -> tuple[list[float], int]:
    """All numbers in one list, and the count of numbers of each point."""
    if isinstance(values, msgspec.Raw):
        for decode, width in _decode_points:
            try:
                found = decode(values)
            except MISFIT:
                continue
            if (step := width or _step(len(found))) and found:
                return list(chain.from_iterable(found)) if width else found, step
        values = decoded(values)
    if not isinstance(values, list):
        raise BadRecord(f"{name} is {shown(values)}, expected a list of numbers or of points")
    if values and not isinstance(values[0], (int, float)) and any(isinstance(value, list) for value in values):
        return _nested_points(values, name)
    flat = plain_numbers(values, name)
    step = _step(len(flat))
    if step is None:
        raise BadRecord(f"{len(flat)} numbers in {name}, expected x, y, score or x, y for each keypoint")
    return flat, step


def _nested_points(values: list[Any], name: str) -> tuple[list[float], int]:
    """Points that are lists of two, three or four numbers (x, y, score, any), null for a missing point."""
    width = next(len(point) for point in values if isinstance(point, list))
    if width not in (2, 3, 4):
        raise BadRecord(f"{name}: a point has {width} numbers, expected x, y or x, y, score")
    missing: list[float | None] = [None] * width
    whole: list[Any] = [missing if point is None else point for point in values] if None in values else values
    if set(map(type, whole)) != {list} or set(map(len, whole)) != {width}:
        k = next(k for k, point in enumerate(whole) if not isinstance(point, list) or len(point) != width)
        raise BadRecord(f"{name}[{k}] is {shown(whole[k])}, expected {width} numbers")
    flat: list[Any] = list(chain.from_iterable(whole))
    if _is_plain(flat):
        return flat, width
    return list(chain.from_iterable(numbers(point, f"{name}[{k}]") for k, point in enumerate(whole))), width


@cache
def _step(count: int) -> int | None:
    """The count of numbers of each point in a flat list; None if no count fits."""
    fits = [step for step in (3, 2) if count and count % step == 0]
    return next((step for step in fits if count // step in _KNOWN_COUNTS), fits[0] if fits else None)


def all_seen(points: Sequence[float]) -> list[float]:
    """Scores of points that have none: points that are not marked as missing were seen."""
    return [1.0] * (len(points) // 2)


def box_xyxy(value: Any) -> list[float] | None:
    """Corners, also nested once and with a score behind; None for anything else."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, list) or len(value) not in (4, 5) or not _NUMBERS.issuperset(map(type, value)):
        return None
    return value[:4] if _is_finite(value) else None


def box_xywh(value: Any) -> list[float] | None:
    """Corners of a box in COCO's form: corner, width and height."""
    box = box_xyxy(value)
    return None if box is None else [box[0], box[1], box[0] + box[2], box[1] + box[3]]
