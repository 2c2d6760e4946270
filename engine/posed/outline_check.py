"""Compares a picture's outline with the silhouette of a body that was fitted to its keypoints.

Both are measured along the same rays (``engine.picture.outline``). A projected triangle of the mesh covers an interval
of a ray's line; the interval around the origin in the union of all of them is the silhouette there, so that widths are
exact for the mesh. The sum of both sides is compared: it does not change if the body's axis lies beside the keypoints'.

The body is bare. Clothes, hair and dilated masks make outlines wider than it, at places that nobody knows; so a part
that is wider is a weak hint and one that is narrower a stronger one.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from engine.picture.outline import OutlineRays
from engine.picture.outline_places import PLACES

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
    widths = np.full((len(PLACES), 2), np.nan)
    corners = np.ascontiguousarray(faces.T)
    for place in np.flatnonzero(rays.usable):
        apart = vertices_px - rays.origins[place]
        direction = rays.directions[place]
        along = apart @ direction
        across = apart[:, 0] * direction[1] - apart[:, 1] * direction[0]
        first_above, second_above, third_above = ((across > 0)[corner] for corner in corners)
        crossing = faces[(first_above != second_above) | (second_above != third_above)]
        starts, ends = _intervals(along[crossing], across[crossing])
        order = np.argsort(starts)
        starts, reach = starts[order], np.maximum.accumulate(ends[order])
        # A gap lies where the next triangle begins behind the end of all before.
        first = np.flatnonzero(np.concatenate([[True], starts[1:] > reach[:-1]])) if len(starts) else np.zeros(0, int)
        last = np.concatenate([first[1:], [len(starts)]]) - 1
        around = np.flatnonzero((starts[first] <= 0) & (reach[last] >= 0)) if len(first) else first
        if len(around):
            piece = around[0]
            widths[place] = reach[last[piece]], -starts[first[piece]]
    return np.minimum(widths, rays.longest)


def _intervals(
    along: Float[np.ndarray, "faces 3"], across: Float[np.ndarray, "faces 3"]
) -> tuple[Float[np.ndarray, " faces"], Float[np.ndarray, " faces"]]:
    """Where the line enters and leaves triangles that it crosses."""
    other_along, other_across = np.roll(along, -1, axis=1), np.roll(across, -1, axis=1)
    crosses = (across > 0) != (other_across > 0)
    share = across / np.where(crosses, across - other_across, 1.0)
    places = along + share * (other_along - along)
    return np.where(crosses, places, np.inf).min(axis=1), np.where(crosses, places, -np.inf).max(axis=1)


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
