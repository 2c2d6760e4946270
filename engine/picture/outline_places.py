"""The table of places at which outlines are measured (``engine.picture.outline``). It needs no JAX, so readers of files
start fast."""

from typing import NamedTuple

import numpy as np

SIDES = 2


class Place(NamedTuple):
    """A place between two ends; an end is the middle of two keypoints, which may be the same."""

    part: str
    """For example ``trunk`` or ``left_thigh``."""
    start: tuple[str, str]
    end: tuple[str, str]
    fraction: float
    """Position between start (0) and end (1)."""


def _table() -> tuple[Place, ...]:
    shoulders, hips, ears = ((f"left_{name}", f"right_{name}") for name in ("shoulder", "hip", "ear"))
    places = [Place("trunk", shoulders, hips, level / 8) for level in range(9)]
    places += [Place("neck", shoulders, ears, 0.55), Place("head", shoulders, ears, 1.0)]
    places += [Place("head", ("neck", "neck"), ("head", "head"), fraction) for fraction in (0.5, 0.75)]
    for part, start, end in (
        ("upper_arm", "shoulder", "elbow"), ("forearm", "elbow", "wrist"), ("thigh", "hip", "knee"),
        ("shin", "knee", "ankle"),
    ):  # fmt: skip
        for side in ("left", "right"):
            first, second = f"{side}_{start}", f"{side}_{end}"
            places += [
                Place(f"{side}_{part}", (first, first), (second, second), fraction) for fraction in (0.2, 0.4, 0.6, 0.8)
            ]
    return tuple(places)


PLACES = _table()


def _mirrored_name(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


def _mirrored_places() -> np.ndarray:
    column = {(place.part, place.start, place.fraction): p for p, place in enumerate(PLACES)}

    def partner(place: Place) -> int:
        first, second = (_mirrored_name(name) for name in place.start)
        same_order = (_mirrored_name(place.part), (first, second), place.fraction)
        return column[same_order if same_order in column else (same_order[0], (second, first), same_order[2])]

    return np.array([partner(place) for place in PLACES], np.int32)


MIRRORED_PLACES = _mirrored_places()
"""The place that each one becomes in a mirror; an involution."""
