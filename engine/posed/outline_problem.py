"""The outline of one picture as residuals of the posed problem, and their analytic derivatives.

A ray ends at the rim of the bare body's silhouette: on an edge of the mesh, at x = (1 − s) a + s b for vertices a and b
with the edge's outward normal n in the picture (``engine.posed.outline_rims``). While edge and share are held, the
silhouette moves with x along n, to first order exactly. The seen boundary on the same ray is y, and

    r = n·(y − project(x)) = clothes + noise of the boundary.

Clothes are a half-normal thickness, unknown but shared by the places of one part of a picture: mean m = √(2/π) σ_c and
variance v = (1 − 2/π) σ_c². Integrated out as a Gaussian with these moments, the residuals of a part with weights
w = 1/σ² have the precision

    W − W1 1ᵀW v/(1 + v 1ᵀw) = U (I − (1 − λ) û ûᵀ) U,   u = √w, U = diag(u), û = u/|u|, λ = 1/(1 + v |u|²)

whose symmetric root is (I − (1 − √λ) û ûᵀ) U. So a part that is wider than the body costs little, and differences
between places of a part cost as much as ever.

A vertex is a sum over joints of turned offsets (linear blend skinning), so its motion by pose, shape and camera is that
of a keypoint (``engine.posed.jacobian``), but with other weights in every picture.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray
from engine.body.rotations import left_jacobian, rotation_matrix, skew
from engine.picture.cameras import IMAGE_AXES, image_plane, pinhole_depth_factor
from engine.picture.outline_places import PLACES, SIDES
from engine.posed.model import PosedModel, descendant_matrix
from engine.posed.problem import Picture, PictureUnknowns, PosedBody, compose, pose_model, seen_at
from engine.simulation.surface import Surface

WEIGHT = 1 / 1.5
"""Factor of whitened residuals: neighbouring places share errors of the boundary. Factors of 1, 1/1.5, 1/2 and 1/3 were
compared (benchmarks/results.md, "Outlines")."""
CLOTHES_MEAN, CLOTHES_DEVIATION = float(np.sqrt(2 / np.pi)), float(np.sqrt(1 - 2 / np.pi))
"""Mean and standard deviation of a half-normal thickness of scale 1."""
_CHEST_END = 0.45
"""Places of the trunk above this fraction are the chest, the others belly and hips."""
_GROUP_NAMES = [
    ("chest" if place.fraction < _CHEST_END else "belly") if place.part == "trunk" else place.part for place in PLACES
]
_GROUP_OF_PLACE = np.unique(_GROUP_NAMES, return_inverse=True)[1]
_GROUPS = np.repeat(_GROUP_OF_PLACE, SIDES)
"""Group of each end of a ray that shares one thickness of clothes."""
_MEMBERS = (np.arange(_GROUPS.max() + 1)[:, None] == _GROUPS).astype(float)


class OutlineBody(eqx.Module):
    """The coarse mesh behind silhouettes. ``make_outline_body`` makes it."""

    vertices: Float[AnyArray, "vertices 3"]
    shapedirs: Float[AnyArray, "vertices 3 betas"]
    posedirs: Float[AnyArray, "vertices 3 pose_features"]
    weights: Float[AnyArray, "vertices joints"]
    faces: Int[np.ndarray, "faces 3"]


def make_outline_body(surface: Surface) -> OutlineBody:
    """The bare body of a surface."""
    count = len(surface.vertices)
    faces = np.asarray(surface.faces)
    return OutlineBody(
        vertices=np.asarray(surface.vertices),
        shapedirs=np.asarray(surface.shapedirs).reshape(count, 3, -1),
        posedirs=np.asarray(surface.posedirs).reshape(count, 3, surface.posedirs.shape[-1]),
        weights=np.asarray(surface.weights),
        faces=faces[(faces < count).all(axis=1)],
    )


class Boundary(NamedTuple):
    """The seen boundary of one picture, and the mesh's edges that it is compared with. Lengths in person heights."""

    ends: Float[AnyArray, "*images ends 2"]
    """Numbers of the vertices of each edge."""
    shares: Float[AnyArray, "*images ends"]
    normals: Float[AnyArray, "*images ends 2"]
    points: Float[AnyArray, "*images ends 2"]
    """y, where rays leave the mask."""
    exactness: Float[AnyArray, "*images ends"]
    """√w = 1/σ, reduced where the boundary is far off; 0 if an end is not used."""
    clothes: Float[AnyArray, "*images"]
    """σ_c."""


class OutlineRows(NamedTuple):
    """The linear model of an outline, in the chart of ``engine.posed.problem.apply_step``."""

    residuals: Float[Array, " ends"]
    by_whitened: Float[Array, "ends latents"]
    by_dense: Float[Array, "ends dense"]
    """Turn, log scale, translation, β."""


class _Rim(NamedTuple):
    """Points on the rim, in metres and in the camera's orientation."""

    points: Float[Array, "ends 3"]
    parts: Float[Array, "ends joints 3"]
    """Part of each point that each joint carries."""
    weights: Float[Array, "ends 2 joints"]
    """Skinning weights of both vertices, times their share."""
    vertices: Int[Array, "ends 2"]
    """Numbers of both vertices."""


def picture_vertices(
    body: OutlineBody, model: PosedModel, picture: Picture, unknowns: PictureUnknowns
) -> Float[Array, "vertices 2"]:
    """All vertices of the mesh in the picture, person heights."""
    betas = picture.betas
    posed = pose_model(model, betas, unknowns)
    rest = _rest_vertices(body, slice(None), posed, betas)
    blended = jnp.einsum("vj,jab->vab", jnp.asarray(body.weights), posed.rotations)
    points = jnp.einsum("vab,vb->va", blended, rest) + body.weights @ _joint_offsets(model, posed, betas)
    return seen_at(unknowns, picture.observation.lens, points)


def outline_residuals(
    body: OutlineBody,
    model: PosedModel,
    picture: Picture,
    unknowns: PictureUnknowns,
    boundary: Boundary,
) -> Float[Array, " ends"]:
    """Whitened residuals; 0 for ends that are not used."""
    rim = _rim(body, model, pose_model(model, picture.betas, unknowns), picture.betas, boundary)
    seen = seen_at(unknowns, picture.observation.lens, rim.points)
    return _whitened(_distances(boundary, seen)[:, None], boundary)[:, 0]


def linearise_outline(
    body: OutlineBody,
    model: PosedModel,
    picture: Picture,
    unknowns: PictureUnknowns,
    boundary: Boundary,
) -> OutlineRows:
    """``outline_residuals`` with their derivatives."""
    betas, lens = picture.betas, picture.observation.lens
    posed = pose_model(model, betas, unknowns)
    rim = _rim(body, model, posed, betas, boundary)
    scale = jnp.exp(unknowns.log_scale)
    plane = image_plane(rim.points)
    factor, slope = pinhole_depth_factor(lens, scale, rim.points[:, 2])
    from_axis = unknowns.translation + scale * plane - lens.principal_point
    seen = lens.principal_point + from_axis * factor[:, None]
    normals = jnp.asarray(boundary.normals)
    # ∂r/∂point: along the picture's axes, and in depth through the lens.
    in_depth = jnp.sum(normals * from_axis, axis=1) * slope * scale
    flat = normals * (scale * factor)[:, None] * jnp.array(IMAGE_AXES, seen.dtype)
    gains = -jnp.concatenate([flat, in_depth[:, None]], axis=1)
    by_scale = -jnp.sum(normals * plane, axis=1) * scale * factor - in_depth * rim.points[:, 2]
    rows = [
        _distances(boundary, seen)[:, None],
        _latent_rows(body, model, posed, rim, gains),
        jnp.cross(rim.points - posed.positions[0], gains),
        by_scale[:, None],
        -normals * factor[:, None],
        _shape_rows(body, model, posed, rim, gains),
    ]
    whitened = _whitened(jnp.concatenate(rows, axis=1), boundary)
    first = 1 + model.latent_count
    return OutlineRows(whitened[:, 0], whitened[:, 1:first], whitened[:, first:])


def _distances(boundary: Boundary, seen: Float[AnyArray, "ends 2"]) -> Float[Array, " ends"]:
    """Distance of the seen boundary from the rim in ordinary clothes, along the rim's normal."""
    return jnp.sum(boundary.normals * (boundary.points - seen), axis=1) - CLOTHES_MEAN * boundary.clothes


def _whitened(rows: Float[Array, "ends n"], boundary: Boundary) -> Float[Array, "ends n"]:
    exactness = jnp.asarray(boundary.exactness)
    members = jnp.asarray(_MEMBERS, rows.dtype)
    squared = members @ exactness**2
    remaining = 1 / jnp.sqrt(1 + (CLOTHES_DEVIATION * boundary.clothes) ** 2 * squared)
    unit = exactness / jnp.sqrt(jnp.where(squared > 0, squared, 1.0))[_GROUPS]
    scaled = jnp.where(exactness[:, None] > 0, rows, 0.0) * exactness[:, None]
    common = members @ (unit[:, None] * scaled)
    return WEIGHT * (scaled - ((1 - remaining)[_GROUPS] * unit)[:, None] * common[_GROUPS])


def _rest_vertices(
    body: OutlineBody, chosen: Int[Array, "*n"] | slice, posed: PosedBody, betas: Float[AnyArray, " betas"]
) -> Float[Array, "*n 3"]:
    """Vertices with their shape and pose blendshapes, not turned."""
    rest = jnp.asarray(body.vertices)[chosen] + jnp.asarray(body.shapedirs)[chosen] @ betas
    if not body.posedirs.shape[-1]:
        return rest
    features = (jax.vmap(rotation_matrix)(posed.vectors) - jnp.eye(3, dtype=rest.dtype)).reshape(-1)
    return rest + jnp.asarray(body.posedirs)[chosen] @ features


def _joint_offsets(model: PosedModel, posed: PosedBody, betas: Float[AnyArray, " betas"]) -> Float[Array, "joints 3"]:
    """p_j − R_j J_j."""
    rest = model.body.joints + model.body.joint_shapedirs @ betas
    return posed.positions - jnp.einsum("jab,jb->ja", posed.rotations, rest)


def _rim(
    body: OutlineBody, model: PosedModel, posed: PosedBody, betas: Float[AnyArray, " betas"], boundary: Boundary
) -> _Rim:
    ends = jnp.asarray(boundary.ends).astype(jnp.int32)
    shares = jnp.stack([1 - boundary.shares, boundary.shares], axis=1)
    weights = jnp.asarray(body.weights)[ends] * shares[..., None]
    turned = jnp.einsum("jab,nsb->nsja", posed.rotations, _rest_vertices(body, ends, posed, betas))
    parts = jnp.sum(weights[..., None] * (turned + _joint_offsets(model, posed, betas)), axis=1)
    return _Rim(jnp.sum(parts, axis=1), parts, weights, ends)


def _shape_rows(
    body: OutlineBody,
    model: PosedModel,
    posed: PosedBody,
    rim: _Rim,
    gains: Float[Array, "ends 3"],
) -> Float[Array, "ends betas"]:
    directions = model.body.joint_shapedirs
    parents = np.array(model.parents[1:])
    turned = compose(posed.rotations[parents], directions[1:] - directions[parents])
    positions = [directions[0]]
    for joint, parent in enumerate(model.parents[1:], start=1):
        positions.append(positions[parent] + turned[joint - 1])
    offsets = jnp.stack(positions) - compose(posed.rotations, directions)
    by_joint = jnp.einsum("nj,jab->nab", jnp.sum(rim.weights, axis=1), offsets)
    own = jnp.einsum("nsb,nsbc->nc", _turned_back(posed, rim, gains), jnp.asarray(body.shapedirs)[rim.vertices])
    return own + jnp.einsum("na,nac->nc", gains, by_joint)


def _turned_back(posed: PosedBody, rim: _Rim, gains: Float[Array, "ends 3"]) -> Float[Array, "ends 2 3"]:
    """∂r by the rest place of both vertices."""
    return jnp.einsum("nsj,jab,na->nsb", rim.weights, posed.rotations, gains)


def _latent_rows(
    body: OutlineBody,
    model: PosedModel,
    posed: PosedBody,
    rim: _Rim,
    gains: Float[Array, "ends 3"],
) -> Float[Array, "ends latents"]:
    joints = np.arange(1, len(model.parents))
    parents = np.array(model.parents)[joints]
    below = jnp.asarray(descendant_matrix(model.parents)[joints].T, gains.dtype)
    sums = jnp.einsum("nia,ij->nja", rim.parts, below)
    carried = jnp.sum(rim.weights, axis=1) @ below
    levers = sums - carried[..., None] * posed.positions[joints]
    coefficients = jnp.cross(levers, gains[:, None])
    turned = compose(posed.rotations[parents], jax.vmap(left_jacobian)(posed.vectors))
    rows = jnp.einsum("nja,jab->njb", coefficients, turned)
    if body.posedirs.shape[-1]:
        moved = jnp.einsum("nsb,nsbf->nf", _turned_back(posed, rim, gains), jnp.asarray(body.posedirs)[rim.vertices])
        rows = rows + jnp.einsum("njad,jadc->njc", moved.reshape(len(gains), -1, 3, 3), _feature_motion(posed))
    return rows.reshape(len(gains), -1) @ model.pose_basis.reshape(3 * len(joints), -1)


def _feature_motion(posed: PosedBody) -> Float[Array, "posed_joints 3 3 3"]:
    """Change of each rotation matrix by its vector."""

    def change(vector: Float[Array, "3"]) -> Float[Array, "3 3 3"]:
        turns = jax.vmap(skew, in_axes=1, out_axes=2)(left_jacobian(vector))
        return jnp.einsum("abc,bd->adc", turns, rotation_matrix(vector))

    return jax.vmap(change)(posed.vectors)
