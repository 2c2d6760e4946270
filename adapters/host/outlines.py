"""Outlines and clothes that a host gives with the keypoints of a person (``adapters.host.inputs``).

    {"keypoints": ..., "confidence": ..., "outline": (places, 2), "clothes": "tight"}

``outline`` are widths in pixels at ``engine.picture.outline_places.PLACES``, NaN or None where they were not seen:
results of ``adapters.keypoints.outlines.measure.measure_outline`` for a mask. ``clothes`` is one of
``engine.picture.clothes.CLOTHES``. Both may be absent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from adapters.keypoints.table import FARTHEST_PX
from engine.picture.clothes import thickness_m
from engine.picture.outline_places import PLACES, SIDES


class OutlineColumns(NamedTuple):
    """Columns of ``KeypointTable``; None if nobody has a value."""

    outline_px: Float32[np.ndarray, "images places 2"] | None
    clothes_m: Float32[np.ndarray, " images"] | None
    notes: dict[int, str]
    """By row, why an outline or clothes cannot be used."""


def outline_columns(people: Sequence[Any], rows: Sequence[int], count: int) -> OutlineColumns:
    """The outlines and clothes of people in the rows of a table.

    Args:
        people: each in a form of ``adapters.host.inputs``.
        rows: the row of each.
        count: number of rows of the table.
    """
    notes: dict[int, str] = {}
    widths: dict[int, np.ndarray] = {}
    clothes: dict[int, float] = {}
    for row, person in zip(rows, people, strict=True):
        if not isinstance(person, Mapping):
            continue
        try:
            if person.get("outline") is not None:
                widths[row] = _widths(person["outline"])
            if person.get("clothes") is not None:
                clothes[row] = thickness_m(str(person["clothes"]))
        except (TypeError, ValueError, OverflowError) as error:
            notes[row] = f"its outline is not used: {error}"
            widths.pop(row, None)
    return OutlineColumns(_column(widths, (count, len(PLACES), SIDES)), _column(clothes, (count,)), notes)


def _column(values: Mapping[int, Any], shape: tuple[int, ...]) -> Float32[np.ndarray, "images ..."] | None:
    if not values:
        return None
    column = np.full(shape, np.nan, np.float32)
    for row, value in values.items():
        column[row] = value
    return column


def _widths(values: Any) -> Float32[np.ndarray, "places 2"]:
    plain = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    widths = np.array(plain, np.float64)  # None becomes NaN
    if widths.shape != (len(PLACES), SIDES):
        raise ValueError(f"it has shape {widths.shape}, expected ({len(PLACES)}, {SIDES})")
    with np.errstate(invalid="ignore"):
        return np.where((widths >= 0) & (widths <= FARTHEST_PX), widths, np.nan).astype(np.float32)
