"""The surface of a body for outlines: its mesh with few vertices, rings of the legs for skirts, parts for clothes.

Vertices are merged around a well-spread subset of them (farthest-point sampling by place and skinning weights). A face
of the small mesh stands where three merged groups meet. The mean of a flat face's surface around a vertex lies inside
a curved body, so that merged vertices are moved outwards until the mean of each group is kept: with M the mean over a
vertex and its neighbours, c solves M c = means of groups (an expansion of M⁻¹). All of this is linear in the vertices
and is done once for template, blendshapes and skinning weights.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from engine.batching import AnyArray
from engine.body.model import BodyModel

VERTICES = 1200
_OWN_SHARE = 0.611
"""Mean weight of a vertex over its Voronoi cell in a regular triangle mesh, (1 + 1/2 + 1/3)/3; its neighbours share
the rest."""
_EXPANSIONS = 2
_SKIN_DISTANCE_M = 0.25
"""Distance between vertices of different joints, so that thighs or fingers that nearly touch are not merged."""

PARTS = ("head", "neck", "chest", "belly", "pelvis", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
_PART_OF_JOINT = (
    "pelvis", "thigh", "thigh", "belly", "shin", "shin", "belly", "foot", "foot", "chest", "foot", "foot", "neck",
    "chest", "chest", "head", "upper_arm", "upper_arm", "forearm", "forearm", "hand", "hand", "hand", "hand",
)  # fmt: skip
SKIRT_LEVELS = (0.15, 0.4, 0.65, 0.9, 1.15, 1.4, 1.65, 1.9)
"""Heights of rings: 0 is the hip, 1 the knee, 2 the ankle."""
_DIRECTIONS = 8
_HIPS, _KNEES, _ANKLES = (1, 2), (4, 5), (7, 8)


class Surface(eqx.Module):
    """A coarse mesh in SMPL's layout. ``make_surface`` makes it."""

    vertices: Float[AnyArray, "vertices 3"]
    shapedirs: Float[AnyArray, "coordinates betas"]
    """Rows are the vertices' x, y, z one after another."""
    posedirs: Float[AnyArray, "coordinates pose_features"]
    weights: Float[AnyArray, "vertices joints"]
    normals: Float[AnyArray, "vertices 3"]
    """Unit vectors of the template."""
    parts: Float[AnyArray, "vertices parts"]
    """Share of each of ``PARTS`` in a vertex."""
    left: Float[AnyArray, " vertices"]
    """1 on the body's left, 0 on its right."""
    scalp: Float[AnyArray, " vertices"]
    """1 where hair grows."""
    faces: Int[AnyArray, "faces 3"]
    """Of the vertices, then of the skirt's: left ring, right ring, and the right ring's ends of the cloth between."""
    rings: Int[AnyArray, "legs levels directions"]
    """Vertices around the left and the right leg, at ``SKIRT_LEVELS``, in the same directions."""


def make_surface(body: BodyModel, count: int = VERTICES) -> Surface:
    """Lay out the surface of a body whose joints are SMPL's 24.

    Raises:
        ValueError: the body has no mesh or other joints.
    """
    vertices, weights = np.asarray(body.v_template, np.float64), np.asarray(body.weights, np.float64)
    faces = np.asarray(body.faces)
    if body.joint_count != len(_PART_OF_JOINT) or not len(faces):
        raise ValueError(
            f"body {body.name} has {body.joint_count} joints and {len(faces)} faces; outlines need 24 joints"
        )
    used = np.unique(faces)
    place = np.hstack([vertices, _SKIN_DISTANCE_M * weights])
    group = np.zeros(len(vertices), np.int64)
    group[used] = _groups(place[used], min(count, len(used)))
    count = int(group.max()) + 1
    small = _merged_faces(faces, group)
    members = np.zeros(len(vertices))
    members[used] = 1.0
    share = members / np.bincount(group, members, count)[group]

    def means(values: np.ndarray) -> np.ndarray:
        flat = values.reshape(len(values), -1)
        return np.stack([np.bincount(group, share * column, count) for column in flat.T], axis=1)

    neighbours = _neighbour_means(small, count)

    def sharpened(values: np.ndarray) -> np.ndarray:
        target = means(values)
        found = target
        for _ in range(_EXPANSIONS):
            found = found + target - (_OWN_SHARE * found + (1 - _OWN_SHARE) * (neighbours @ found))
        return found

    normals = means(_vertex_normals(vertices, faces))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    own_weights = means(weights)
    template = sharpened(vertices)
    joints = np.asarray(body.J_regressor, np.float64) @ vertices
    parts = np.zeros((len(joints), len(PARTS)))
    parts[np.arange(len(joints)), [PARTS.index(part) for part in _PART_OF_JOINT]] = 1.0
    own_parts = own_weights @ parts
    head = own_parts[:, PARTS.index("head")] > 0.5
    single = np.float32
    return Surface(
        vertices=template.astype(single),
        shapedirs=sharpened(np.asarray(body.shapedirs)).reshape(3 * count, -1).astype(single),
        posedirs=np.zeros((3 * count, 0), single)
        if not body.posedirs.shape[-1]
        else sharpened(np.asarray(body.posedirs)).reshape(3 * count, -1).astype(single),
        weights=own_weights.astype(single),
        normals=normals.astype(single),
        parts=own_parts.astype(single),
        left=(template[:, 0] > 0).astype(single),
        scalp=(head & (normals[:, 2] < 0.35) & (template[:, 1] > joints[15, 1])).astype(single),
        faces=np.concatenate([small, count + _skirt_faces()]).astype(np.int32),
        rings=_leg_rings(template, own_parts, joints).astype(np.int32),
    )


def _groups(place: Float[np.ndarray, "points n"], count: int) -> Int[np.ndarray, " points"]:
    """The nearest of ``count`` well-spread points."""
    nearest = np.zeros(len(place), np.int64)
    distance = np.full(len(place), np.inf)
    chosen = 0
    for group in range(count):
        apart = np.sum((place - place[chosen]) ** 2, axis=1)
        nearer = apart < distance
        nearest[nearer], distance[nearer] = group, apart[nearer]
        chosen = int(np.argmax(distance))
    return nearest


def _merged_faces(faces: Int[np.ndarray, "faces 3"], group: Int[np.ndarray, " vertices"]) -> np.ndarray:
    merged = group[faces]
    proper = (merged[:, 0] != merged[:, 1]) & (merged[:, 1] != merged[:, 2]) & (merged[:, 2] != merged[:, 0])
    return np.unique(np.sort(merged[proper], axis=1), axis=0)


def _neighbour_means(faces: Int[np.ndarray, "faces 3"], count: int) -> Float[np.ndarray, "vertices vertices"]:
    joined = np.zeros((count, count))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        joined[faces[:, a], faces[:, b]] = joined[faces[:, b], faces[:, a]] = 1.0
    return joined / np.maximum(joined.sum(axis=1, keepdims=True), 1.0)


def _vertex_normals(vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]) -> np.ndarray:
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], normals)
    # Faces may be turned either way: outwards is where the enclosed volume is positive.
    volume = np.sum(corners[:, 0] * np.cross(corners[:, 1], corners[:, 2]))
    return np.sign(volume) * total


def _leg_rings(
    vertices: Float[np.ndarray, "vertices 3"],
    parts: Float[np.ndarray, "vertices parts"],
    joints: Float[np.ndarray, "joints 3"],
) -> Int[np.ndarray, "legs levels directions"]:
    angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    directions = np.stack([np.cos(angles), np.zeros(_DIRECTIONS), np.sin(angles)], axis=1)
    on_leg = parts[:, [PARTS.index(part) for part in ("thigh", "shin", "foot")]].sum(axis=1) > 0.5
    rings = np.zeros((2, len(SKIRT_LEVELS), _DIRECTIONS), np.int64)
    for leg, (hip, knee, ankle) in enumerate(zip(_HIPS, _KNEES, _ANKLES, strict=True)):
        own = np.flatnonzero(on_leg & (np.sign(vertices[:, 0]) == np.sign(joints[hip, 0])))
        for level, height in enumerate(SKIRT_LEVELS):
            start, end = (hip, knee) if height < 1 else (knee, ankle)
            middle = joints[start] + (height % 1.0) * (joints[end] - joints[start])
            away = vertices[own] - middle
            level_gap = np.abs(away[:, 1])
            outwards = away @ directions.T
            # The farthest vertex in each direction among those near the level.
            score = outwards - 2.0 * level_gap[:, None] - 0.7 * np.abs(away @ np.roll(directions, 2, axis=0).T)
            rings[leg, level] = own[np.argmax(score, axis=0)]
    return rings


def _skirt_faces() -> Int[np.ndarray, "faces 3"]:
    """Tubes around both legs, and cloth from each point of the left one to the same point of the right one."""
    left, right, across = np.arange(3 * len(SKIRT_LEVELS) * _DIRECTIONS).reshape(3, len(SKIRT_LEVELS), _DIRECTIONS)
    faces = []
    for first, second in ((left, np.roll(left, -1, axis=1)), (right, np.roll(right, -1, axis=1)), (left, across)):
        upper, lower = (first[:-1], second[:-1]), (first[1:], second[1:])
        faces.append(np.stack([upper[0], upper[1], lower[0]], axis=-1).reshape(-1, 3))
        faces.append(np.stack([upper[1], lower[1], lower[0]], axis=-1).reshape(-1, 3))
    return np.concatenate(faces)
