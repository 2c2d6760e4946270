"""Rows on their way from JSON records to tables.

Readers yield one ``Row`` for every person, every picture without one and every record that cannot be read;
``table_of_rows`` turns a bounded number of them into arrays at once.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from adapters.keypoints.readers.json_text import shown
from adapters.keypoints.table import KeypointTable, clean_keypoints
from engine.body.schemas import KeypointSchema
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


class BadRecord(ValueError):
    """One record cannot be read; the message says why and not where."""


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
        BadRecord: it is no object or has no such key.
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


def table_of_rows(rows: Sequence[Row], schema: KeypointSchema) -> KeypointTable:
    """A table of the rows; those that are OK have as many keypoints as ``schema``."""
    count, width = len(rows), len(schema)
    status = np.fromiter((row.status for row in rows), np.int8, count)
    good = status == Status.OK
    good_count = int(good.sum())
    points = np.fromiter(chain.from_iterable(row.points for row in rows), np.float64, good_count * width * 2)
    scores = np.fromiter(chain.from_iterable(row.scores for row in rows), np.float64, good_count * width)
    seen, confident = clean_keypoints(points.reshape(good_count, width, 2), scores.reshape(good_count, width))
    if good_count == count:
        keypoints, confidence = seen, confident
    else:
        keypoints = np.zeros((count, width, 2), np.float32)
        confidence = np.zeros((count, width), np.float32)
        keypoints[good], confidence[good] = seen, confident
    return KeypointTable(
        schema=schema,
        image=pa.array([row.image for row in rows], pa.string()),
        instance=np.fromiter((row.instance for row in rows), np.int32, count),
        keypoints=keypoints,
        confidence=confidence,
        status=status,
        detail=pa.array([row.detail for row in rows], pa.string()),
    )
