"""Rows between JSON records and tables.

Readers yield one ``Row`` for every person, every picture without one and every record that cannot be read;
``table_of_rows`` turns a bounded number of them into arrays at once.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32

from adapters.keypoints.outlines.mask_arrays import BadMask
from adapters.keypoints.readers.file_rules import DETECTOR_RULES, ReadingOptions, Size, apply_rules
from adapters.keypoints.readers.json_text import shown
from adapters.keypoints.table import KeypointTable
from engine.body.schemas import KeypointSchema
from engine.picture.outline_places import PLACES, SIDES
from engine.scores import Status

_NAN = float("nan")


class Row(NamedTuple):
    """One row of a ``KeypointTable`` as Python numbers."""

    image: str
    instance: int
    points: Sequence[float]
    """x, y of all keypoints in turn; empty unless the status is OK."""
    scores: Sequence[float]
    status: Status = Status.OK
    detail: str | None = None
    place: str = ""
    """Its place in the file, for messages."""
    box: Sequence[float] | None = None
    """x1, y1, x2, y2, if the file has it."""
    flagged: bool = False
    """Its scores come from visibility flags."""
    size: Size | None = None
    """Size of the picture, if the file has it."""
    outline: "Outline | None" = None
    """What gives its outline, if there is a mask."""


class Outline(Protocol):
    """The outline of one row."""

    def measure(
        self,
        points: Float[np.ndarray, "keypoints 2"],
        seen: Bool[np.ndarray, " keypoints"],
        schema: KeypointSchema,
    ) -> Float32[np.ndarray, "places 2"]:
        """Its widths in pixels (``outlines.measure``).

        Raises:
            BadMask: its mask cannot be used.
        """
        ...


class BadRecord(ValueError):
    """One record cannot be read; the message has the reason without the place."""


def no_detection(image: str) -> Row:
    """Nobody was found in that picture."""
    return Row(image, -1, (), (), Status.NO_DETECTION)


def bad_input(image: str, instance: int, detail: str) -> Row:
    """A record that cannot be read."""
    return Row(image, instance, (), (), Status.BAD_INPUT, detail)


def numbers(values: Any, name: str) -> list[float]:
    """A list of numbers in which null is allowed and becomes NaN.

    Raises:
        BadRecord: something else is in it.
    """
    if not isinstance(values, list):
        raise BadRecord(f"{name} is {shown(values)}, expected a list of numbers")
    result = []
    for k, value in enumerate(values):
        if value is None:
            result.append(_NAN)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                result.append(float(value))
            except OverflowError:
                result.append(_NAN)
        else:
            raise BadRecord(f"{name}[{k}] is {shown(value)}, expected a number")
    return result


def required(record: Any, name: str) -> Any:
    """``record[name]``.

    Raises:
        BadRecord: the record is not an object or has no such key.
    """
    if not isinstance(record, dict):
        raise BadRecord(f"{shown(record)} is not an object")
    if name not in record:
        raise BadRecord(f"it has no {name}")
    return record[name]


def mapped(row: Row, columns: Sequence[int]) -> Row:
    """A row in another schema; see ``file_schema.columns_between``."""
    if row.status != Status.OK:
        return row
    points, scores = row.points, row.scores
    return row._replace(
        points=[points[2 * k + axis] if k >= 0 else 0.0 for k in columns for axis in (0, 1)],
        scores=[scores[k] if k >= 0 else 0.0 for k in columns],
    )


def table_of_rows(
    rows: Sequence[Row], schema: KeypointSchema, options: ReadingOptions = DETECTOR_RULES
) -> KeypointTable:
    """A table of the rows; those that are OK have as many keypoints as ``schema``.

    Args:
        options: the rules for values in files; by default no score is too low.
    """
    count, width = len(rows), len(schema)
    status = np.fromiter((row.status for row in rows), np.int8, count)
    good = np.flatnonzero(status == Status.OK)
    people = rows if len(good) == count else [rows[int(k)] for k in good]
    points = np.fromiter(chain.from_iterable(row.points for row in people), np.float64, len(good) * width * 2)
    scores = np.fromiter(chain.from_iterable(row.scores for row in people), np.float64, len(good) * width)
    ruled = apply_rules(
        points.reshape(len(good), width, 2),
        scores.reshape(len(good), width),
        options,
        flagged=np.fromiter((row.flagged for row in people), bool, len(good)),
        size=_optional([row.size for row in people], 2),
        box=_optional([row.box for row in people], 4),
    )
    if len(good) == count:
        keypoints, confidence, box = ruled.keypoints, ruled.confidence, ruled.box
    else:
        keypoints = np.zeros((count, width, 2), np.float32)
        confidence = np.zeros((count, width), np.float32)
        keypoints[good], confidence[good] = ruled.keypoints, ruled.confidence
        box = None if ruled.box is None else np.full((count, 4), np.nan, np.float32)
        if box is not None:
            box[good] = ruled.box
    details = [row.detail for row in rows]
    for number, problem in ruled.problems.items():
        row = int(good[number])
        status[row] = Status.BAD_INPUT
        details[row] = f"{rows[row].place}: {problem}"
    outline_px = _outlines(rows, keypoints, confidence, schema, details) if options.outlines else None
    return KeypointTable(
        schema=schema,
        image=pa.array([row.image for row in rows], pa.string()),
        instance=np.fromiter((row.instance for row in rows), np.int32, count),
        keypoints=keypoints,
        confidence=confidence,
        status=status,
        detail=pa.array(details, pa.string()),
        box=box,
        outline_px=outline_px,
    )


def _outlines(
    rows: Sequence[Row],
    keypoints: Float32[np.ndarray, "images keypoints 2"],
    confidence: Float32[np.ndarray, "images keypoints"],
    schema: KeypointSchema,
    details: list[str | None],
) -> Float32[np.ndarray, "images places 2"] | None:
    """Outlines of the rows that have one; the reason of a bad mask goes into ``details``."""
    measured = [k for k, row in enumerate(rows) if row.outline is not None and details[k] is None]
    if not measured:
        return None
    outline_px = np.full((len(rows), len(PLACES), SIDES), np.nan, np.float32)
    for k in measured:
        outline = rows[k].outline
        assert outline is not None
        try:
            outline_px[k] = outline.measure(keypoints[k], confidence[k] > 0, schema)
        except BadMask as error:
            details[k] = f"{rows[k].place}: its mask is not used: {error}"
    return outline_px


def _optional(values: Sequence[Sequence[float] | None], width: int) -> Float[np.ndarray, "images numbers"] | None:
    """One row for each value, NaN for missing ones; None if all are missing."""
    if all(value is None for value in values):
        return None
    unknown = (np.nan,) * width
    filled = chain.from_iterable(unknown if value is None else value for value in values)
    return np.fromiter(filled, np.float64, len(values) * width).reshape(len(values), width)
