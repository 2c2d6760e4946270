"""Where rays meet the rim of a mesh's silhouette, exactly and between which vertices.

A rim edge lies between a face that is turned towards the camera and one that is not. Along a line, the number of
surfaces that face the camera changes by one at each rim edge; the silhouette ends where it falls to zero.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from engine.body.schemas import COCO_17
from engine.picture.outline import outline_rays
from engine.picture.outline_places import PLACES, SIDES

RAYS = SIDES * len(PLACES)
_GRAZING = 0.2
"""Rays that meet the rim at a smaller sine are left out: their widths are not linear."""


class Rim(NamedTuple):
    """Where the rays of one picture meet the rim of the silhouette: between two vertices."""

    vertices: Int[np.ndarray, "rays 2"]
    share: Float[np.ndarray, " rays"]
    """Of the second vertex."""
    gain: Float[np.ndarray, "rays 2"]
    """g: growth of the width by a displacement in the picture."""
    point: Float[np.ndarray, "rays 2"]
    seen: Bool[np.ndarray, " rays"]


class Edges(NamedTuple):
    """Edges between two faces of a closed mesh."""

    vertices: Int[np.ndarray, "edges 2"]
    faces: Int[np.ndarray, "edges 2"]


def mesh_edges(faces: Int[np.ndarray, "faces 3"]) -> Edges:
    """All edges that two faces share; others are left out."""
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort((sides[:, 1], sides[:, 0]))
    sides, owner = sides[order], owner[order]
    pairs = np.flatnonzero((sides[1:] == sides[:-1]).all(axis=1))
    return Edges(sides[pairs], np.stack([owner[pairs], owner[pairs + 1]], axis=1))


def find_rim(
    image: Float[np.ndarray, "vertices 2"],
    faces: Int[np.ndarray, "faces 3"],
    edges: Edges,
    points: Float[np.ndarray, "keypoints 2"],
) -> Rim:
    """Where the rays of these keypoints, of COCO-17, leave the silhouette of a closed mesh."""
    rays = outline_rays(points, np.ones(len(points), bool), COCO_17)
    corners = image[faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    front = first[:, 0] * second[:, 1] > first[:, 1] * second[:, 0]
    turned = front[edges.faces]
    rim = np.flatnonzero(turned[:, 0] != turned[:, 1])
    ends = edges.vertices[rim]
    start, along = image[ends[:, 0]], image[ends[:, 1]] - image[ends[:, 0]]
    facing = np.where(turned[rim, 0], edges.faces[rim, 0], edges.faces[rim, 1])
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    # Outwards, away from the face that is turned towards the camera.
    normal *= -np.sign(np.einsum("ec,ec->e", normal, corners[facing].mean(axis=1) - start))[:, None]
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-9)[:, None]
    found = Rim(
        np.zeros((RAYS, 2), np.int32), np.zeros(RAYS), np.zeros((RAYS, 2)), np.zeros((RAYS, 2)),
        np.zeros(RAYS, bool),
    )  # fmt: skip
    for place in np.flatnonzero(rays.usable):
        origin, direction = rays.origins[place], rays.directions[place]
        across = (start - origin) @ [-direction[1], direction[0]]
        change = along @ [-direction[1], direction[0]]
        crossing = np.flatnonzero((across > 0) != (across + change > 0))
        share = -across[crossing] / change[crossing]
        at = (start[crossing] - origin + share[:, None] * along[crossing]) @ direction
        order = np.argsort(at)
        crossing, share, at = crossing[order], share[order], at[order]
        leaves = normal[crossing] @ direction
        covered = np.cumsum(-np.sign(leaves))
        inside = np.searchsorted(at, 0.0)
        if not len(at) or covered[-1] != 0 or inside == 0 or covered[inside - 1] == 0:
            continue
        after = inside + int(np.argmax(covered[inside:] == 0))
        before = int(np.flatnonzero(np.concatenate([[0], covered[: inside - 1]]) == 0)[-1])
        for side, edge, sign in ((0, after, 1.0), (1, before, -1.0)):
            sine = sign * leaves[edge]
            if sine < _GRAZING or abs(at[edge]) > rays.longest:
                continue
            ray = side * len(PLACES) + place
            found.vertices[ray], found.share[ray] = ends[crossing[edge]], share[edge]
            found.gain[ray] = normal[crossing[edge]] / sine
            found.point[ray], found.seen[ray] = origin + at[edge] * direction, True
    return found
