"""Posed fits of whole data sets: every picture its own pose and camera, with the shape given or free.

``fit_poses`` finds pose and camera of each picture for a given shape, ``fit_shapes`` frees the shape of each picture as
well; ``engine.posed_shared`` finds one shape for all references of a person.

A picture whose keypoints say left for right fits badly. The exchanged labels are tried where the fit is bad, and the
flag ``mirrored`` tells where they fit better.
"""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.arrays import AnyArray
from engine.batching import map_samples
from engine.cameras import Lens, weak_perspective
from engine.initialisation import make_start_library
from engine.keypoint_body import KeypointBody
from engine.observations import Observation, observe
from engine.pose_prior import PosePrior, load_pose_prior
from engine.posed_model import make_posed_model
from engine.posed_problem import PictureUnknowns, noise_of
from engine.posed_results import Described, PosedFit, describe
from engine.posed_rounds import TILE, Lanes, Picture, PosedContext, Search, rows
from engine.problem import NoiseModel
from engine.score import MIN_KEYPOINTS
from engine.status import Status

POSED_NOISE = NoiseModel(level=0.01)
"""What detectors do on real pictures: 0.9 to 1.1 % of a person's height."""

_CHUNK = 4096
"""Pictures searched at once: bounds the memory, changes no result."""

# Labels are suspected where the energy is above this many nats per seen keypoint (the right labels cost less than one),
# and called mirrored where exchanging them saves this many nats.
_SUSPICIOUS_PER_KEYPOINT = 2.0
_MIRRORED_MARGIN = 5.0


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
    return map_samples(_observe, context.model.body, pictures, TILE)


def _observe(body: KeypointBody, picture: tuple[Array, Array]) -> Observation:
    return observe(body, *picture)


def fit_poses(
    context: PosedContext,
    observations: Observation,
    betas: Float[AnyArray, "*images betas"],
    lenses: Lens | None = None,
    initial: PictureUnknowns | None = None,
) -> PosedFit:
    """Pose and camera of every picture for a given shape.

    Args:
        betas: one shape for all pictures, or one each.
        lenses: by default weak perspective.
        initial: starts that compete with those found, one per picture: no fit is worse than its start.

    Raises:
        ValueError: shapes do not fit together.
    """
    return _fit(context, observations, betas, lenses, initial, free_betas=False)


def fit_shapes(
    context: PosedContext,
    observations: Observation,
    betas: Float[AnyArray, "*images betas"] | None = None,
    lenses: Lens | None = None,
    initial: PictureUnknowns | None = None,
) -> PosedFit:
    """Pose, camera and shape of every picture on its own, under the prior β ~ N(0, I).

    Args:
        betas: where the shape starts; by default the average.
        lenses: by default weak perspective.
        initial: starts that compete with those found, one per picture, at ``betas``.

    Raises:
        ValueError: shapes do not fit together.
    """
    start = np.zeros(context.model.beta_count) if betas is None else betas
    return _fit(context, observations, start, lenses, initial, free_betas=True)


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


def exchange_labels(context: PosedContext, pictures: Picture, where: Bool[np.ndarray, " images"]) -> Picture:
    """Left for right in some pictures."""
    swap = list(context.model.body.schema.swap)
    observed = pictures.observation
    return eqx.tree_at(
        lambda p: (p.observation.points, p.observation.confidence),
        pictures,
        (
            np.where(where[:, None, None], observed.points[:, swap], observed.points),
            np.where(where[:, None], observed.confidence[:, swap], observed.confidence),
        ),
    )


def _fit(
    context: PosedContext,
    observations: Observation,
    betas: Float[AnyArray, "*images betas"],
    lenses: Lens | None,
    initial: PictureUnknowns | None,
    free_betas: bool,
) -> PosedFit:
    pictures = make_pictures(context, observations, betas, lenses)
    parts = []
    # An empty batch still makes one, empty, chunk.
    for start in range(0, max(len(pictures.betas), 1), _CHUNK):
        at = slice(start, start + _CHUNK)
        own = None if initial is None else rows(initial, at)
        parts.append(_fit_chunk(context, rows(pictures, at), own, free_betas))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _fit_chunk(context: PosedContext, pictures: Picture, initial: PictureUnknowns | None, free_betas: bool) -> PosedFit:
    observed = pictures.observation
    enough = observed.measurable & ((observed.confidence > 0).sum(axis=-1) >= MIN_KEYPOINTS)
    usable = np.flatnonzero(enough)
    tried = rows(pictures, usable)
    best, steps = _search(context, tried, None if initial is None else rows(initial, usable), free_betas)
    mirrored = np.zeros(len(usable), bool)
    seen = (tried.observation.confidence > 0).sum(axis=-1)
    suspects = np.flatnonzero(~(best.energy[:, 0] < _SUSPICIOUS_PER_KEYPOINT * seen))
    if len(suspects):
        exchanged = exchange_labels(context, rows(tried, suspects), np.ones(len(suspects), bool))
        other, more = _search(context, exchanged, None, free_betas)
        steps[suspects] += more
        better = other.energy[:, 0] < best.energy[suspects, 0] - _MIRRORED_MARGIN
        mirrored[suspects[better]] = True
        jax.tree.map(lambda every, new: every.__setitem__(suspects[better], new[better]), best, other)
    return assemble(context, pictures, usable, best, steps, mirrored)


def _search(
    context: PosedContext, pictures: Picture, initial: PictureUnknowns | None, free_betas: bool
) -> tuple[Lanes, np.ndarray]:
    search = Search(context, pictures)
    given = None if initial is None else search.open(jax.tree.map(lambda leaf: leaf[:, None], initial))
    return search.run(free_betas, given), search.steps


def _describe(context: PosedContext, fitted: tuple[Picture, PictureUnknowns]) -> Described:
    return describe(context, *fitted)


def assemble(
    context: PosedContext,
    pictures: Picture,
    usable: Int[np.ndarray, " usable"],
    best: Lanes,
    steps: Int[np.ndarray, " usable"],
    mirrored: Bool[np.ndarray, " usable"],
) -> PosedFit:
    """Rows for all pictures, as given, from one lane for each of those that could be fitted."""
    count = len(pictures.betas)

    def spread(values: AnyArray, missing: float | int) -> np.ndarray:
        whole = np.full((count, *np.shape(values)[1:]), missing, np.asarray(values).dtype)
        whole[usable] = values
        return whole

    unknowns, betas = jax.tree.map(lambda leaf: leaf[:, 0], best.unknowns)
    fitted = eqx.tree_at(lambda p: p.betas, exchange_labels(context, rows(pictures, usable), mirrored), betas)
    described = map_samples(_describe, context, (fitted, unknowns), TILE)
    swap = list(context.model.body.schema.swap)
    residuals = np.where(mirrored[:, None, None], described.residuals[:, swap], described.residuals)
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
        mirrored=spread(mirrored, 0),
    )
