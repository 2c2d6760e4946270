"""Scores of posed fits: does the reference person's body explain this picture as well as the picture's own best body?

Every picture is fitted twice: with its own free shape, and, starting from that pose, with the reference shape.

    excess      = energy at the reference shape − energy at the picture's own shape, shape prior left out, in nats
    consistency = exp(−excess / threshold)

The bare error at the reference shape would be a poor measure: pose bends to make up for a wrong shape, and some poses
and views are hard for any shape. What the picture says about the shape (``engine.evidence``) is compared with what the
references said: the Bayes factor of "one body" against "two bodies", and its probability.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.arrays import AnyArray
from engine.batching import map_samples
from engine.evidence import ShapeEvidence, information_bits, log_bayes_factor, same_body_probability
from engine.observations import Observation
from engine.posed_fit import fit_shapes, observe_pictures
from engine.posed_problem import PictureUnknowns
from engine.posed_results import Described, PosedFit, describe, shape_evidence
from engine.posed_rounds import TILE, Picture, PosedContext, Search
from engine.score import object_keypoint_similarity
from engine.status import Status

EXCESS_THRESHOLD = 1.0
"""Nats of excess energy at which consistency has fallen to 1/e (benchmarks/results.md, "Posed scores")."""

LOW_INFORMATION_BITS = 0.3
"""A picture that says less about the body than this is scored, and its status says that it cannot decide."""

PRIOR_PROBABILITY = 0.5
"""Of "same body", before looking."""

_PICTURES_PER_TILE = 1024


class ReferencePerson(NamedTuple):
    """Whom the pictures are compared with."""

    betas: Float[AnyArray, " betas"]
    evidence: ShapeEvidence


class OwnFits(NamedTuple):
    """Pictures fitted with their own shapes: what every person is compared with."""

    fit: PosedFit
    evidence: ShapeEvidence
    """Raw: of the picture alone, zeros where it could not be fitted."""


class PosedScore(eqx.Module):
    """One row of results per picture. NaN in rows that could not be fitted."""

    consistency: Float[AnyArray, " images"]
    """0..1"""
    same_body_probability: Float[AnyArray, " images"]
    log_bayes_factor: Float[AnyArray, " images"]
    """Nats."""
    information_bits: Float[AnyArray, " images"]
    """How much the picture can say about the body at all."""
    reprojection_error: Float[AnyArray, " images"]
    """At the reference shape, person heights."""
    reprojection_error_px: Float[AnyArray, " images"]
    oks: Float[AnyArray, " images"]
    """At the reference shape."""
    scale: Float[AnyArray, " images"]
    """Pixels per metre, at the reference shape."""
    translation_x: Float[AnyArray, " images"]
    """Where the body's origin is seen, in pixels from the left..."""
    translation_y: Float[AnyArray, " images"]
    """...and from the top."""
    status: Int[AnyArray, " images"]
    mirrored: AnyArray
    """Left and right are exchanged in the picture's labels; they were put right for the scores."""


def score_posed_pictures(
    context: PosedContext,
    person: ReferencePerson,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
) -> PosedScore:
    """Score every picture against one person.

    Args:
        threshold: nats of excess at which consistency is 1/e.
        prior_probability: of "same body", before looking.

    Raises:
        ValueError: arrays do not fit the body, or a parameter is out of range.
    """
    return compare(context, person, fit_own(context, keypoints_px, confidence), threshold, prior_probability)


def fit_own(
    context: PosedContext,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
) -> OwnFits:
    """Fit every picture with its own shape, and keep what it says about that shape.

    Raises:
        ValueError: arrays do not fit the body.
    """
    fit = fit_shapes(context, observe_pictures(context, keypoints_px, confidence))
    return OwnFits(fit, shape_evidence(context, fit))


def compare(
    context: PosedContext,
    person: ReferencePerson,
    pictures: OwnFits,
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
) -> PosedScore:
    """Score pictures whose own shapes are fitted already; see ``score_posed_pictures``.

    Raises:
        ValueError: a parameter is out of range.
    """
    if not threshold > 0:
        raise ValueError(f"the threshold must be positive, not {threshold}")
    if not 0 < prior_probability < 1:
        raise ValueError(f"a probability lies between 0 and 1, not {prior_probability}")
    own = pictures.fit
    energy, at_reference = _refit(context, own, person.betas)
    log_bayes, bits = map_samples(_weigh, person.evidence, pictures.evidence, _PICTURES_PER_TILE, concurrent=False)
    own_energy = own.energy - 0.5 * np.sum(np.square(own.betas), axis=-1)
    # The own shape is drawn to the mean person by its prior, so the reference may even do a little better.
    excess = np.maximum(energy - own_energy, 0.0)
    observation = own.pictures.observation
    error, oks = map_samples(_misfit, context, (observation, at_reference.residuals), _PICTURES_PER_TILE)
    status = np.where(
        (own.status == Status.OK) & (bits < LOW_INFORMATION_BITS), Status.LOW_INFORMATION, own.status
    ).astype(np.int8)
    fitted = np.isfinite(own.energy)

    def known(values: AnyArray) -> np.ndarray:
        return np.where(fitted, values, np.nan).astype(np.float32)

    return PosedScore(
        consistency=known(np.exp(-excess / threshold)),
        same_body_probability=known(same_body_probability(log_bayes, prior_probability)),
        log_bayes_factor=known(log_bayes),
        information_bits=known(bits),
        reprojection_error=known(error),
        reprojection_error_px=known(error * observation.person_height_px),
        oks=known(oks),
        scale=known(at_reference.camera_px.scale),
        translation_x=known(at_reference.camera_px.translation[:, 0]),
        translation_y=known(at_reference.camera_px.translation[:, 1]),
        status=status,
        mirrored=own.mirrored,
    )


def _refit(
    context: PosedContext, own: PosedFit, betas: Float[AnyArray, " betas"]
) -> tuple[Float[AnyArray, " images"], Described]:
    """Energy and fit of every picture at one shape, starting from the pose that goes with its own shape.

    Staying near that pose is what is wanted: the excess shall measure the change of shape, not of the pose's basin.
    """
    every = np.broadcast_to(np.asarray(betas, own.betas.dtype), own.betas.shape)
    pictures = Picture(own.pictures.observation, own.pictures.lens, every)
    # Pictures that could not be fitted come along as some pose of nobody; their rows are masked by the caller.
    unknowns = jax.tree.map(lambda leaf: np.nan_to_num(leaf)[:, None], own.unknowns)
    search = Search(context, pictures)
    lanes = search.finish(search.open(unknowns), free_betas=False)
    found = jax.tree.map(lambda leaf: leaf[:, 0], lanes.unknowns.picture)
    return lanes.energy[:, 0], map_samples(_describe, context, (pictures, found), TILE)


def _describe(context: PosedContext, fitted: tuple[Picture, PictureUnknowns]) -> Described:
    return describe(context, *fitted)


def _weigh(reference: ShapeEvidence, picture: ShapeEvidence) -> tuple[Float[Array, ""], Float[Array, ""]]:
    return log_bayes_factor(reference, picture), information_bits(picture)


def _misfit(
    context: PosedContext, fitted: tuple[Observation, Float[Array, "keypoints 2"]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    observation, residuals = fitted
    total = jnp.sum(observation.confidence)
    mean_square = jnp.sum(observation.confidence * jnp.sum(residuals**2, axis=-1)) / jnp.where(total > 0, total, 1.0)
    similarity = object_keypoint_similarity(context.model.body, observation, observation.points - residuals)
    return jnp.sqrt(mean_square), similarity
