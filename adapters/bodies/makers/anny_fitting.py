"""From many bodies to the arrays of one body in SMPL's layout: symmetry, sparse regressors, shape components.

Mirroring maps vertex v to ``Mirror.vertices[v]``, joint j to ``Mirror.joints[j]`` and x to −x. Every array made here is
exactly symmetric under it, in floating point and on the integer grid that body files are written on.

A point p (a joint, a keypoint) is regressed as p = Σ_v a_v v with a ≥ 0 and Σ a = 1: non-negative least squares over
many bodies (Lawson and Hanson, 1974, chapter 23), pruned to few vertices. With Σ a = 1 the fit does not depend on where
the bodies stand.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.optimize import nnls
from scipy.spatial import KDTree

_FLIP = np.array([-1.0, 1.0, 1.0])
_INT16_MAX = 32767


class Mirror(NamedTuple):
    """The mirror images of vertices and joints, as involutions."""

    vertices: Int[np.ndarray, " vertices"]
    joints: Int[np.ndarray, " joints"]

    @property
    def middle(self) -> Bool[np.ndarray, " vertices"]:
        """Vertices on the plane of symmetry."""
        return self.vertices == np.arange(len(self.vertices))


class ShapeSpace(NamedTuple):
    """Mean and principal components of a set of bodies; scores have unit variance over that set."""

    template: Float[np.ndarray, "vertices 3"]
    shapedirs: Float[np.ndarray, "vertices 3 betas"]
    explained: Float[np.ndarray, " betas"]
    """Share of the variance that each component carries."""


def swapped_names(names: tuple[str, ...]) -> Int[np.ndarray, " names"]:
    """The index of each name's left/right counterpart."""
    place = {name: k for k, name in enumerate(names)}
    counterparts = {"left": "right", "right": "left"}

    def counterpart(name: str) -> str:
        side, _, part = name.partition("_")
        return f"{counterparts[side]}_{part}" if side in counterparts else name

    return np.array([place[counterpart(name)] for name in names])


def find_mirror(template: Float[np.ndarray, "vertices 3"], joint_names: tuple[str, ...]) -> Mirror:
    """The mirror map of a mesh whose template is exactly symmetric about x = 0.

    Raises:
        ValueError: the template is not symmetric.
    """
    distance, nearest = KDTree(template).query(template * _FLIP)
    partner = np.asarray(nearest)
    if distance.max() > 0 or np.any(partner[partner] != np.arange(len(partner))):
        raise ValueError(f"the mesh is not symmetric: a mirrored vertex misses by {distance.max():.2g} m")
    return Mirror(partner, swapped_names(joint_names))


def symmetrised(
    points: Float[np.ndarray, "*bodies points 3"], partner: Int[np.ndarray, " points"]
) -> Float[np.ndarray, "*bodies points 3"]:
    """The mean of each body and its mirror image, symmetric to the last bit."""
    return (points + points[..., partner, :] * _FLIP.astype(points.dtype)) / 2


def symmetric_skinning(
    weights: Float[np.ndarray, "vertices joints"], mirror: Mirror, most: int = 4
) -> Float[np.ndarray, "vertices joints"]:
    """Skinning weights made symmetric and cut to the ``most`` largest per vertex, each row summing to one."""
    weights = (weights + weights[mirror.vertices][:, mirror.joints]) / 2
    kept = np.zeros_like(weights)
    largest = np.argsort(-weights, axis=1, kind="stable")[:, :most]
    np.put_along_axis(kept, largest, np.take_along_axis(weights, largest, axis=1), axis=1)
    # The smaller vertex number of a pair decides, so that ties are cut alike on both sides. On the plane of symmetry a
    # weight stays only if its counterpart stays.
    follows = mirror.vertices < np.arange(len(weights))
    kept[follows] = kept[mirror.vertices[follows]][:, mirror.joints]
    kept[mirror.middle] *= kept[mirror.middle][:, mirror.joints] > 0
    return kept / kept.sum(axis=1, keepdims=True)


def sparse_regressor(
    vertices: Float[np.ndarray, "bodies vertices 3"],
    targets: Float[np.ndarray, "bodies 3"],
    candidates: Int[np.ndarray, " candidates"],
    most: int,
    mirror: Mirror | None,
) -> Float[np.ndarray, " vertices"]:
    """Weights of at most ``most`` vertices, none negative, whose weighted mean comes closest to the targets.

    Args:
        candidates: the vertices to choose from.
        mirror: for a point on the plane of symmetry: vertices are taken in mirrored pairs of equal weight.
    """
    partners = candidates if mirror is None else mirror.vertices[candidates]
    cost = np.where(partners == candidates, 1, 2)
    differences = (vertices[:, candidates].astype(np.float64) + vertices[:, partners]) / 2 - targets[:, None]
    rows = differences.transpose(0, 2, 1).reshape(-1, len(candidates))
    # One heavy equation keeps the sum at one: its residual is small beside the centimetres of the others.
    unit = np.sqrt(len(rows))
    system = np.vstack([rows, np.full((1, len(candidates)), unit)])
    right = np.concatenate([np.zeros(len(rows)), [unit]])
    active = np.arange(len(candidates))
    while True:
        weights, _ = nnls(system[:, active], right, maxiter=100 * len(active))
        used = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights)]
        spent = np.cumsum(cost[active[used]])
        if spent[-1] <= most:
            break
        active = np.sort(active[used[spent <= max(most, 0.7 * spent[-1])]])
    row = np.zeros(vertices.shape[1])
    row[candidates[active[used]]] = weights[used]
    if mirror is not None:
        row = (row + row[mirror.vertices]) / 2
    return row / row.sum()


def shape_components(bodies: Float[np.ndarray, "bodies vertices 3"], mirror: Mirror, count: int) -> ShapeSpace:
    """Principal component analysis of symmetric bodies, every vertex counting alike.

    A component is the displacement of the vertices per standard deviation of its score; its sign makes the body taller.
    """
    template = symmetrised(bodies.mean(axis=0, dtype=np.float64), mirror.vertices)
    # One half determines a symmetric body; its vertices off the plane of symmetry count for their partners too.
    half = np.flatnonzero(mirror.vertices >= np.arange(len(template)))
    root = np.sqrt(np.where(mirror.middle[half], 1, 2))
    scaled = ((bodies[:, half] - template[half]) * root[:, None]).reshape(len(bodies), -1)
    variances, vectors = np.linalg.eigh(scaled @ scaled.T)
    scores = vectors[:, ::-1][:, :count]
    displacements = np.stack(
        [np.einsum("b,bvc->vc", score, bodies, dtype=np.float64, optimize=True) for score in scores.T], axis=-1
    )
    # The scores sum to zero, so subtracting the template is not necessary; it avoids a loss of digits.
    displacements -= template[..., None] * scores.sum(axis=0)
    displacements /= np.sqrt(len(bodies))
    taller = displacements[template[:, 1].argmax(), 1] - displacements[template[:, 1].argmin(), 1]
    shapedirs = displacements * np.where(taller < 0, -1.0, 1.0)
    shapedirs = np.moveaxis(symmetrised(np.moveaxis(shapedirs, -1, 0), mirror.vertices), 0, -1)
    return ShapeSpace(template, shapedirs, variances[::-1][:count] / variances.sum())


def regressor_on_grid(rows: Float[np.ndarray, "rows vertices"]) -> Float[np.ndarray, "rows vertices"]:
    """The rows as read back from a quantised body file: proportional integers, divided by their sum."""
    integers = np.rint(rows * _INT16_MAX)
    return integers / integers.sum(axis=1, keepdims=True)


def displacements_on_grid(
    displacements: Shaped[np.ndarray, "vertices 3 *betas"],
    pelvis: Float[np.ndarray, " vertices"],
    mirror: Mirror,
    resolution_m: float,
) -> Shaped[np.ndarray, "vertices 3 *betas"]:
    """Rounded to the int16 grid that a quantised body file uses, the pelvis joint at the origin to the last grid step.

    Args:
        pelvis: regressor of the pelvis joint; its vertices move by single steps until it is at the origin.
        resolution_m: values are first rounded to multiples of this, which lets the file compress better.
    """
    axes = (0, 1) if displacements.ndim == 3 else None
    coarse = np.rint(displacements / resolution_m) * resolution_m
    step = np.abs(coarse).max(axis=axes) / _INT16_MAX
    integers = np.rint(coarse / step).astype(np.int64)
    weights = np.rint(pelvis * _INT16_MAX).astype(np.int64)
    support = np.flatnonzero((weights > 0) & (mirror.vertices >= np.arange(len(weights))))
    support = support[np.argsort(-weights[support], kind="stable")]
    # x is zero by symmetry. Each vertex, from the heaviest to the lightest, removes as much of the rest as it can.
    rest = np.tensordot(weights, integers, axes=(0, 0))
    for vertex in support:
        partner = mirror.vertices[vertex]
        pull = weights[vertex] + (weights[partner] if partner != vertex else 0)
        steps = np.rint(rest[1:] / pull).astype(np.int64)
        for v in {int(vertex), int(partner)}:
            integers[v, 1:] -= steps
        rest[1:] -= pull * steps
    return integers * step
