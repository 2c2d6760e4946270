"""Compares a picture's outline with the silhouette of a body that was fitted to its keypoints.

Both are measured along the same rays (``engine.picture.outline``, ``engine.posed.outline_rims``). The sum of both sides
is compared: it does not change if the body's axis lies beside the keypoints'.

The body is bare. Clothes, hair and dilated masks make outlines wider than it, at places that nobody knows; so a part
that is wider is a weak hint and one that is narrower a stronger one.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from engine.picture.outline import OutlineRays
from engine.picture.outline_places import PLACES
from engine.posed.outline_rims import find_rims

_CAPPED = 0.98
"""A width above this share of the greatest one is where a ray gave up."""
_LEAST_PLACES = 2

_PARTS: Mapping[str, tuple[str, float, float]] = {
    "chest": ("trunk", 0.12, 0.4),
    "waist": ("trunk", 0.45, 0.8),
    "hips": ("trunk", 0.85, 1.0),
    "upper arms": ("upper_arm", 0.0, 1.0),
    "forearms": ("forearm", 0.0, 1.0),
    "thighs": ("thigh", 0.3, 1.0),
    "shins": ("shin", 0.0, 1.0),
}
"""Places of each part that is named to users: part in the table, and the first and last fraction."""


def mesh_widths(
    vertices_px: Float[np.ndarray, "vertices 2"], faces: Int[np.ndarray, "faces 3"], rays: OutlineRays
) -> Float[np.ndarray, "places 2"]:
    """Widths of a projected mesh along the rays of one picture; NaN where an origin lies outside of it."""
    return np.minimum(find_rims(vertices_px, faces, rays).widths, rays.longest)


def part_differences(
    outline_px: Float[np.ndarray, "places 2"], model_px: Float[np.ndarray, "places 2"], longest_px: float
) -> dict[str, float]:
    """Median over the places of each part of outline/model − 1, left and right together; parts that are hardly seen are
    left out.

    Args:
        model_px: widths of the model along the same rays.
        longest_px: greatest width.
    """
    known = np.isfinite(outline_px) & np.isfinite(model_px)
    known &= (outline_px < _CAPPED * longest_px) & (model_px < _CAPPED * longest_px)
    both = np.asarray(known.all(axis=1))
    ratio = np.where(both, outline_px.sum(axis=1), 1.0) / np.where(both, model_px.sum(axis=1), 1.0)
    found = {}
    parts = [place.part.removeprefix("left_").removeprefix("right_") for place in PLACES]
    for name, (part, first, end) in _PARTS.items():
        chosen = [both[k] and parts[k] == part and first <= place.fraction <= end for k, place in enumerate(PLACES)]
        if sum(chosen) >= _LEAST_PLACES:
            found[name] = float(np.median(ratio[chosen])) - 1.0
    return found
