"""Kinds of clothes, by their thickness: what may be known about people who are seen with an outline.

The evidence network was trained on simulated people in these kinds (``engine.simulation.settings.ClothesSettings``),
and was told the kind of half of those who wore one kind without a skirt or a coat.
"""

from typing import Literal, get_args

import numpy as np

Clothes = Literal["unknown", "none", "tight", "ordinary", "loose"]
CLOTHES: tuple[Clothes, ...] = get_args(Clothes)
THICKNESS_M: dict[Clothes, float] = {"unknown": np.nan, "none": 0.0, "tight": 0.003, "ordinary": 0.015, "loose": 0.03}
"""Standard deviation of the half-normal thickness, metres; NaN if it is not known."""


def thickness_m(clothes: str) -> float:
    """The thickness of a kind of clothes.

    Raises:
        ValueError: there is no such kind.
    """
    if clothes not in CLOTHES:
        raise ValueError(f"there are no clothes {clothes[:40]!a}; give one of {', '.join(CLOTHES)}")
    return THICKNESS_M[clothes]
