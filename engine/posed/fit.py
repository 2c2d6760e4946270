"""Posed fits of whole data sets: every picture its own pose and camera, with the shape given or free.

``fit_poses`` finds pose and camera of each picture for a given shape, ``fit_shapes`` frees the shape of each picture as
well; ``engine.posed.shared_shape`` finds one shape for all references of a person.

A picture whose keypoints of arms or legs say left for right fits badly; where a fit is bad, swapped labels are tried
(``engine.picture.swapped_labels``).
"""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray, map_samples
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import PosePrior, load_pose_prior
from engine.picture.cameras import Lens, weak_perspective
from engine.picture.misfit import MIN_KEYPOINTS
from engine.picture.observation import Observation, observe
from engine.picture.swapped_labels import SWAPS, swap_labels, swap_values
from engine.posed.first_order import FirstOrderSearch, posed_loop
from engine.posed.model import make_posed_model
from engine.posed.problem import PictureUnknowns, noise_of
from engine.posed.results import Described, PosedFit, describe
from engine.posed.search import TILE_SIZE, Lanes, Picture, PosedContext, Search, open_lanes, rows
from engine.posed.starts import make_start_library
from engine.rest.problem import NoiseModel
from engine.scores import Status
from engine.solvers.first_order import FirstOrderSettings

POSED_NOISE = NoiseModel(level=0.01)
"""What detectors do on real pictures: 0.9 to 1.1 % of a person's height."""

_CHUNK_SIZE = 4096
"""Pictures searched at once: bounds the memory, changes no result."""

# Labels are suspected where the energy is above this many nats per seen keypoint (right labels cost 0.62 in the median
# and 1.21 in the worst hundredth at the assumed noise), and called swapped where that saves this many nats.
_SUSPICIOUS_PER_KEYPOINT = 1.25
_SWAP_MARGIN = 5.0


def make_context(body: KeypointBody, prior: PosePrior | None = None, noise: NoiseModel = POSED_NOISE) -> PosedContext:
    """What all posed fits with one body, schema, pose prior (by default the shipped one) and noise share.

    Takes a second or two; make it once.

    Raises:
        ValueError: body and prior are made for different skeletons.
    """
    model = make_posed_model(body, load_pose_prior() if prior is None else prior)
    return PosedContext(model, make_start_library(model), noise_of(noise, body.schema))


def observe_pictures(
    context: PosedContext,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
) -> Observation:
    """Normalise many pictures; columns are those of the body's schema.

    Raises:
        ValueError: the arrays do not have these columns.
    """
    dtype = context.model.pose_basis.dtype
    pictures = (np.asarray(keypoints_px, dtype), np.asarray(confidence, dtype))
    keypoints = len(context.model.body.schema)
    if pictures[0].shape[1:] != (keypoints, 2) or pictures[1].shape != pictures[0].shape[:-1]:
        raise ValueError(
            f"keypoints {pictures[0].shape} and confidence {pictures[1].shape} do not fit: expected (images, "
            f"{keypoints}, 2) and (images, {keypoints}) for schema {context.model.body.schema.name}"
        )
    return map_samples(_observe, context.model.body, pictures, TILE_SIZE)


def _observe(body: KeypointBody, picture: tuple[Array, Array]) -> Observation:
    return observe(body, *picture)


def fit_poses(
    context: PosedContext,
    observations: Observation,
    betas: Float[AnyArray, "*images betas"],
    lenses: Lens | None = None,
    initial: PictureUnknowns | None = None,
    solver: str = "auto",
) -> PosedFit:
    """Pose and camera of every picture for a given shape.

    Args:
        betas: one shape for all pictures, or one each.
        lenses: by default weak perspective.
        initial: starts that compete with those found, one per picture: no fit is worse than its start.
        solver: one of ``engine.posed.first_order.SOLVERS``; they find the same minima, the default in the least time.

    Raises:
        ValueError: shapes do not fit together, or no such solver.
    """
    return _fit(context, observations, betas, lenses, initial, False, posed_loop(solver))


def fit_shapes(
    context: PosedContext,
    observations: Observation,
    betas: Float[AnyArray, "*images betas"] | None = None,
    lenses: Lens | None = None,
    initial: PictureUnknowns | None = None,
    solver: str = "auto",
) -> PosedFit:
    """Pose, camera and shape of every picture on its own, under the prior β ~ N(0, I).

    Args:
        betas: where the shape starts; by default the average.
        lenses: by default weak perspective.
        initial: starts that compete with those found, one per picture, at ``betas``.
        solver: as for ``fit_poses``.

    Raises:
        ValueError: shapes do not fit together, or no such solver.
    """
    start = np.zeros(context.model.beta_count) if betas is None else betas
    return _fit(context, observations, start, lenses, initial, True, posed_loop(solver))


def make_pictures(
    context: PosedContext, observations: Observation, betas: Float[AnyArray, "*images betas"], lenses: Lens | None
) -> Picture:
    """Pictures with their shapes and lenses, as NumPy arrays of the context's precision.

    Raises:
        ValueError: shapes do not fit together.
    """
    dtype = np.dtype(context.model.pose_basis.dtype)
    count = len(observations.confidence)
    shape = (count, context.model.beta_count)
    if np.shape(betas) not in (shape, shape[1:]):
        raise ValueError(f"betas have shape {np.shape(betas)}, expected {shape[1:]} or {shape}")
    every = np.broadcast_to(np.asarray(betas, dtype), shape)
    return jax.tree.map(np.asarray, Picture(observations, lenses or weak_perspective(count, dtype), every))


def _fit(
    context: PosedContext,
    observations: Observation,
    betas: Float[AnyArray, "*images betas"],
    lenses: Lens | None,
    initial: PictureUnknowns | None,
    free_betas: bool,
    loop: FirstOrderSettings | None,
) -> PosedFit:
    pictures = make_pictures(context, observations, betas, lenses)
    parts = []
    # An empty batch still makes one, empty, chunk.
    for start in range(0, max(len(pictures.betas), 1), _CHUNK_SIZE):
        at = slice(start, start + _CHUNK_SIZE)
        own = None if initial is None else rows(initial, at)
        parts.append(_fit_chunk(context, rows(pictures, at), own, free_betas, loop))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _fit_chunk(
    context: PosedContext,
    pictures: Picture,
    initial: PictureUnknowns | None,
    free_betas: bool,
    loop: FirstOrderSettings | None,
) -> PosedFit:
    observed = pictures.observation
    enough = observed.measurable & ((observed.confidence > 0).sum(axis=-1) >= MIN_KEYPOINTS)
    usable = np.flatnonzero(enough)
    tried = rows(pictures, usable)
    given = None if initial is None else rows(initial, usable)
    best, steps = _search(context, tried, given, free_betas, loop)
    codes = np.zeros(len(usable), np.int8)
    seen = (tried.observation.confidence > 0).sum(axis=-1)
    suspects = np.flatnonzero(~(best.energy[:, 0] < _SUSPICIOUS_PER_KEYPOINT * seen))
    for code in SWAPS if len(suspects) else ():
        given_codes = np.full(len(suspects), code, np.int8)
        swapped = swap_labels(context.model.body.schema, rows(tried, suspects), given_codes)
        other, more = _search(context, swapped, None, free_betas, loop)
        steps[suspects] += more
        better = other.energy[:, 0] < best.energy[suspects, 0] - _SWAP_MARGIN
        codes[suspects[better]] = code
        jax.tree.map(lambda every, new, better=better: every.__setitem__(suspects[better], new[better]), best, other)
    return assemble(context, pictures, usable, best, steps, codes)


def _search(
    context: PosedContext,
    pictures: Picture,
    initial: PictureUnknowns | None,
    free_betas: bool,
    loop: FirstOrderSettings | None,
) -> tuple[Lanes, np.ndarray]:
    search = Search(context, pictures) if loop is None else FirstOrderSearch(context, pictures, loop)
    given = None if initial is None else open_lanes(jax.tree.map(lambda leaf: leaf[:, None], initial), pictures.betas)
    return search.run(free_betas, given), search.steps


def _describe(context: PosedContext, fitted: tuple[Picture, PictureUnknowns]) -> Described:
    return describe(context, *fitted)


def assemble(
    context: PosedContext,
    pictures: Picture,
    usable: Int[np.ndarray, " usable"],
    best: Lanes,
    steps: Int[np.ndarray, " usable"],
    codes: Int[np.ndarray, " usable"],
) -> PosedFit:
    """Rows for all pictures, as given, from one lane for each of those that could be fitted."""
    count = len(pictures.betas)

    def spread(values: AnyArray, missing: float | int) -> np.ndarray:
        whole = np.full((count, *np.shape(values)[1:]), missing, np.asarray(values).dtype)
        whole[usable] = values
        return whole

    unknowns, betas = jax.tree.map(lambda leaf: leaf[:, 0], best.unknowns)
    schema = context.model.body.schema
    fitted = eqx.tree_at(lambda p: p.betas, swap_labels(schema, rows(pictures, usable), codes), betas)
    described = map_samples(_describe, context, (fitted, unknowns), TILE_SIZE)
    residuals = swap_values(schema, described.residuals, codes)
    whole = jax.tree.map(np.array, pictures)
    jax.tree.map(lambda every, new: every.__setitem__(usable, new), whole, fitted)
    status = np.full(count, Status.TOO_FEW_KEYPOINTS, np.int8)
    status[usable] = np.where(best.converged[:, 0], Status.OK, Status.NOT_CONVERGED)
    return PosedFit(
        pictures=whole,
        unknowns=jax.tree.map(lambda leaf: spread(leaf, np.nan), unknowns),
        pose=spread(described.pose, np.nan),
        camera=jax.tree.map(lambda leaf: spread(leaf, np.nan), described.camera),
        camera_px=jax.tree.map(lambda leaf: spread(leaf, np.nan), described.camera_px),
        residuals=spread(residuals, np.nan),
        energy=spread(best.energy[:, 0], np.nan),
        data_energy=spread(described.data_energy, np.nan),
        steps=spread(steps, 0),
        status=status,
        swapped_labels=spread(codes, 0),
    )
