"""Where rays leave the silhouette of a projected mesh: widths, and the edges of the mesh that end them.

A projected triangle covers an interval of a ray's line. The interval around the origin in the union of all of them is
the silhouette there, so widths are exact for the mesh. Each of its two ends lies on an edge of a triangle. At a rim of
the body that edge is a contour: the silhouette moves with it, and only along its normal.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from engine.picture.outline import OutlineRays
from engine.picture.outline_places import PLACES, SIDES


class Rims(NamedTuple):
    """Ends of the rays of one picture; zeros where a width is NaN."""

    widths: Float[np.ndarray, "places sides"]
    """Distance from the origin; NaN where it lies outside of the silhouette."""
    ends: Int[np.ndarray, "places sides 2"]
    """The vertices of the edge, the smaller number first."""
    shares: Float[np.ndarray, "places sides"]
    """Position along the edge, 0 at its first vertex."""
    normals: Float[np.ndarray, "places sides 2"]
    """Unit vectors across the edge, outwards."""


def find_rims(vertices: Float[np.ndarray, "vertices 2"], faces: Int[np.ndarray, "faces 3"], rays: OutlineRays) -> Rims:
    """The ends of the rays of one picture, in the units of the vertices; widths are not bounded."""
    shape = (len(PLACES), SIDES)
    rims = Rims(np.full(shape, np.nan), np.zeros((*shape, 2), np.int32), np.zeros(shape), np.zeros((*shape, 2)))
    corners = np.ascontiguousarray(faces.T)
    for place in np.flatnonzero(rays.usable):
        apart = vertices - rays.origins[place]
        direction = np.asarray(rays.directions[place])
        along = apart @ direction
        across = apart[:, 0] * direction[1] - apart[:, 1] * direction[0]
        above = across > 0
        first_above, second_above, third_above = (above[corner] for corner in corners)
        crossing = faces[(first_above != second_above) | (second_above != third_above)]
        if not len(crossing):
            continue
        enters, leaves = _crossings(along[crossing], across[crossing])
        starts, ends = enters.min(axis=1), leaves.max(axis=1)
        order = np.argsort(starts, kind="stable")
        reach = np.maximum.accumulate(ends[order])
        # A gap lies where the next triangle begins behind the end of all before.
        first = np.flatnonzero(np.concatenate([[True], starts[order][1:] > reach[:-1]]))
        last = np.concatenate([first[1:], [len(order)]])
        around = np.flatnonzero((starts[order][first] <= 0) & (reach[last - 1] >= 0))
        if not len(around):
            continue
        members = order[first[around[0]] : last[around[0]]]
        for side, sign in enumerate((1, -1)):
            outermost = members[np.argmax(ends[members]) if side == 0 else np.argmin(starts[members])]
            edge = np.argmax(leaves[outermost]) if side == 0 else np.argmin(enters[outermost])
            start, end = sorted((crossing[outermost, edge], crossing[outermost, (edge + 1) % 3]))
            rims.widths[place, side] = ends[outermost] if side == 0 else -starts[outermost]
            rims.ends[place, side] = start, end
            rims.shares[place, side] = across[start] / (across[start] - across[end])
            rims.normals[place, side] = _normal(vertices[end] - vertices[start], sign * direction)
    return rims


def _crossings(
    along: Float[np.ndarray, "faces 3"], across: Float[np.ndarray, "faces 3"]
) -> tuple[Float[np.ndarray, "faces 3"], Float[np.ndarray, "faces 3"]]:
    """Where the line crosses each edge of triangles: plus and minus infinity for edges that it does not cross."""
    other_along, other_across = np.roll(along, -1, axis=1), np.roll(across, -1, axis=1)
    crosses = (across > 0) != (other_across > 0)
    share = across / np.where(crosses, across - other_across, 1.0)
    places = along + share * (other_along - along)
    return np.where(crosses, places, np.inf), np.where(crosses, places, -np.inf)


def _normal(edge: Float[np.ndarray, "2"], outwards: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
    across = np.array([edge[1], -edge[0]]) / max(float(np.hypot(*edge)), 1e-12)
    return across if across @ outwards > 0 else -across
