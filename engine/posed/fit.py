"""Posed fits of whole data sets: every picture has its own pose and camera; the shape is given or free.

``fit_poses`` finds pose and camera of each picture for a given shape, ``fit_shapes`` frees the shape of each picture as
well; ``engine.posed.shared_shape`` finds one shape for all references of a person.

A picture with swapped left and right labels of arms or legs fits badly. If a fit is bad, swapped labels are tried
(``engine.picture.swapped_labels``).
"""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray, map_samples
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import PosePrior, load_pose_prior
from engine.picture.misfit import MIN_KEYPOINTS
from engine.picture.noise import NoiseModel
from engine.picture.observation import Observation, check_keypoints, observe
from engine.picture.swapped_labels import SWAPS, swap_labels, swap_values
from engine.posed.first_order import FirstOrderSearch, posed_loop
from engine.posed.model import make_posed_model
from engine.posed.problem import Picture, PictureUnknowns, PosedProblem, noise_of
from engine.posed.results import PosedFit, describe
from engine.posed.search import TILE_SIZE, Lanes, PosedContext, Search, open_lanes, rows
from engine.posed.starts import make_start_library
from engine.scores import Status
from engine.solvers.first_order import FirstOrderSettings

POSED_NOISE = NoiseModel(level=0.01)
"""Detectors on real pictures are off by 0.9 to 1.1 % of a person's height."""

_CHUNK_SIZE = 4096
"""Pictures searched at once. It bounds the memory and changes no result."""

# Swapped labels are tried if the energy exceeds this many nats per seen keypoint (right labels cost 0.62 in the median
# and 1.21 in the worst hundredth at the assumed noise). They are kept if they reduce the energy by
# ``_SWAP_MARGIN`` nats.
_SUSPICIOUS_PER_KEYPOINT = 1.25
_SWAP_MARGIN = 5.0


def make_context(body: KeypointBody, prior: PosePrior | None = None, noise: NoiseModel = POSED_NOISE) -> PosedContext:
    """Data shared by all posed fits with one body, schema, pose prior (by default the shipped one) and noise.

    The call takes a second or two; make it once.

    Raises:
        ValueError: body and prior are made for different skeletons.
    """
    model = make_posed_model(body, load_pose_prior() if prior is None else prior)
    return PosedContext(PosedProblem(model, noise_of(noise, body.schema)), make_start_library(model))


def observe_pictures(
    context: PosedContext,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    focal_px: Float[AnyArray, "*images"] | float = np.inf,
) -> Observation:
    """Normalise many pictures; columns are those of the body's schema.

    Args:
        focal_px: focal length of the camera in pixels of these pictures, one for all or one each; infinite (weak
            perspective) if it is unknown.

    Raises:
        ValueError: the arrays do not have these columns, or a focal length is not positive.
    """
    dtype = context.model.pose_basis.dtype
    keypoints_px, confidence = np.asarray(keypoints_px, dtype), np.asarray(confidence, dtype)
    body = context.model.body
    check_keypoints(body, keypoints_px, confidence)
    if not np.all(np.asarray(focal_px) > 0):
        raise ValueError(f"a focal length must be positive, in pixels, not {np.min(focal_px)}")
    focal_px = np.broadcast_to(np.asarray(focal_px, dtype), len(confidence))
    return map_samples(_observe, body, (keypoints_px, confidence, focal_px), TILE_SIZE)


def _observe(body: KeypointBody, picture: tuple[Array, Array, Array]) -> Observation:
    return observe(body, *picture)


def fit_poses(
    context: PosedContext,
    observations: Observation,
    betas: Float[AnyArray, "*images betas"],
    initial: PictureUnknowns | None = None,
    solver: str = "auto",
) -> PosedFit:
    """Pose and camera of every picture for a given shape.

    Args:
        betas: one shape for all pictures, or one each.
        initial: starts that compete with those found, one per picture: no fit is worse than its start.
        solver: one of ``engine.posed.first_order.SOLVERS``; they find the same minima, and the default is fastest.

    Raises:
        ValueError: shapes do not fit together, or no such solver.
    """
    how = _Method(posed_loop(solver), free_betas=False)
    return _fit(context, make_pictures(context, observations, betas), how, initial)


def fit_shapes(context: PosedContext, observations: Observation, solver: str = "auto") -> PosedFit:
    """Pose, camera and shape of every picture alone, under the prior β ~ N(0, I), starting at the average shape.

    Args:
        solver: as for ``fit_poses``.

    Raises:
        ValueError: no such solver.
    """
    average = np.zeros(context.model.beta_count)
    how = _Method(posed_loop(solver), free_betas=True)
    return _fit(context, make_pictures(context, observations, average), how)


def make_pictures(context: PosedContext, observations: Observation, betas: Float[AnyArray, "*images betas"]) -> Picture:
    """Pictures with their shapes, as NumPy arrays of the context's precision.

    Raises:
        ValueError: shapes do not fit together.
    """
    dtype = np.dtype(context.model.pose_basis.dtype)
    count = len(observations.confidence)
    shape = (count, context.model.beta_count)
    if np.shape(betas) not in (shape, shape[1:]):
        raise ValueError(f"betas have shape {np.shape(betas)}, expected {shape[1:]} or {shape}")
    every = np.broadcast_to(np.asarray(betas, dtype), shape)
    return jax.tree.map(np.asarray, Picture(observations, every))


@dataclass(frozen=True)
class _Method:
    """Solver and free unknowns of a fit."""

    loop: FirstOrderSettings | None
    """None for Levenberg-Marquardt."""
    free_betas: bool

    def search(
        self, context: PosedContext, pictures: Picture, initial: PictureUnknowns | None
    ) -> tuple[Lanes, Int[np.ndarray, " images"]]:
        """The best lane of each picture, and the steps that all its lanes took."""
        search = Search(context, pictures) if self.loop is None else FirstOrderSearch(context, pictures, self.loop)
        given = None
        if initial is not None:
            given = open_lanes(jax.tree.map(lambda leaf: leaf[:, None], initial), pictures.betas)
        return search.run(self.free_betas, given), search.steps


def _fit(context: PosedContext, pictures: Picture, how: _Method, initial: PictureUnknowns | None = None) -> PosedFit:
    parts = []
    # An empty batch gives one empty chunk.
    for start in range(0, max(len(pictures.betas), 1), _CHUNK_SIZE):
        at = slice(start, start + _CHUNK_SIZE)
        own = None if initial is None else rows(initial, at)
        parts.append(_fit_chunk(context, rows(pictures, at), how, own))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _fit_chunk(context: PosedContext, pictures: Picture, how: _Method, initial: PictureUnknowns | None) -> PosedFit:
    observed = pictures.observation
    enough = observed.measurable & ((observed.confidence > 0).sum(axis=-1) >= MIN_KEYPOINTS)
    usable = np.flatnonzero(enough)
    tried = rows(pictures, usable)
    given = None if initial is None else rows(initial, usable)
    best, steps = how.search(context, tried, given)
    codes = np.zeros(len(usable), np.int8)
    seen = (tried.observation.confidence > 0).sum(axis=-1)
    suspects = np.flatnonzero(~(best.energy[:, 0] < _SUSPICIOUS_PER_KEYPOINT * seen))
    for code in SWAPS if len(suspects) else ():
        given_codes = np.full(len(suspects), code, np.int8)
        suspected = rows(tried, suspects)
        swapped = swap_labels(context.model.body.schema, suspected.observation, given_codes)
        other, more = how.search(context, Picture(swapped, suspected.betas), None)
        steps[suspects] += more
        better = other.energy[:, 0] < best.energy[suspects, 0] - _SWAP_MARGIN
        codes[suspects[better]] = code
        jax.tree.map(lambda every, new, better=better: every.__setitem__(suspects[better], new[better]), best, other)
    return assemble(context, pictures, usable, best, steps, codes)


def assemble(
    context: PosedContext,
    pictures: Picture,
    usable: Int[np.ndarray, " usable"],
    best: Lanes,
    steps: Int[np.ndarray, " usable"],
    codes: Int[np.ndarray, " usable"],
) -> PosedFit:
    """Rows for all given pictures, from one lane for each fitted picture."""
    count = len(pictures.betas)

    def spread(values: AnyArray, missing: float | int) -> np.ndarray:
        whole = np.full((count, *np.shape(values)[1:]), missing, np.asarray(values).dtype)
        whole[usable] = values
        return whole

    unknowns, betas = jax.tree.map(lambda leaf: leaf[:, 0], best.unknowns)
    schema = context.model.body.schema
    fitted = Picture(swap_labels(schema, rows(pictures.observation, usable), codes), betas)
    described = describe(context.problem, fitted, unknowns)
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
