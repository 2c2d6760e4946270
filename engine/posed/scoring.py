"""Scores of posed fits: does the reference person's body explain this picture as well as the picture's own best body?

Every picture is fitted twice: with its own free shape, and, starting from that pose, with the reference shape.

    excess      = energy at the reference shape − energy at the picture's own shape, shape prior left out, in nats
    consistency = exp(−excess / threshold)

The bare error at the reference shape would be a poor measure: pose bends to make up for a wrong shape, and some poses
and views are hard for any shape. What the picture says about the shape (``engine.evidence.shape_evidence``) is compared
with what the references said: the Bayes factor of "one body" against "two bodies", and its probability. Evidence is
kept raw and calibrated here, on use (``engine.evidence.calibration``).

With several people a picture is compared with all of them, and its row is about the one that matches best.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray, map_samples
from engine.evidence.calibration import Calibration, calibrated, calibrated_pictures
from engine.evidence.calibration_file import default_calibration
from engine.evidence.comparison import Matches, best_matches, log_bayes_factors
from engine.evidence.shape_evidence import Evidence, information_bits
from engine.picture.misfit import object_keypoint_similarity
from engine.picture.observation import Observation
from engine.posed.fit import fit_shapes, observe_pictures
from engine.posed.problem import Picture, PictureUnknowns
from engine.posed.results import Described, PosedFit, describe, posed_energies, shape_evidence
from engine.posed.search import PosedContext, Search, open_lanes
from engine.scores import Status
from engine.shape import Shape

EXCESS_THRESHOLD = 1.5
"""Nats of excess energy at which consistency has fallen to 1/e: at 0.3 % noise one of four references scores 0.9 in the
median, and a body that is two standard deviations off in every component 0.16 (benchmarks/results.md, "Identity",
"Laws")."""

LOW_INFORMATION_BITS = 0.3
"""A picture that says less about the body than this is scored, and its status says that it cannot decide."""

PRIOR_PROBABILITY = 0.5
"""Of "same body", before looking."""

_TILE_SIZE = 1024


class OwnFits(NamedTuple):
    """Pictures fitted with their own shapes: what every person is compared with."""

    fit: PosedFit
    evidence: Evidence
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
    swapped_labels: Int[AnyArray, " images"]
    """Limbs whose labels say left for right, as the code of ``engine.picture.swapped_labels``; put right for the
    scores."""


def score_posed_pictures(
    context: PosedContext,
    person: Shape,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
    calibration: Calibration | None = None,
) -> PosedScore:
    """Score every picture against one person.

    Args:
        threshold: nats of excess at which consistency is 1/e.
        prior_probability: of "same body", before looking.
        calibration: of the detector; by default the one that is shipped.

    Raises:
        ValueError: arrays do not fit the body, or a parameter is out of range.
    """
    pictures = fit_own(context, keypoints_px, confidence)
    return compare(context, person, pictures, threshold, prior_probability, calibration)


def fit_own(
    context: PosedContext,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    solver: str = "auto",
    focal_px: Float[AnyArray, "*images"] | float = np.inf,
) -> OwnFits:
    """Fit every picture with its own shape, and keep what it says about that shape.

    Args:
        solver: one of ``engine.posed.first_order.SOLVERS``.
        focal_px: as for ``engine.posed.fit.observe_pictures``.

    Raises:
        ValueError: arrays do not fit the body, a focal length is not positive, or no such solver.
    """
    fit = fit_shapes(context, observe_pictures(context, keypoints_px, confidence, focal_px), solver)
    return OwnFits(fit, shape_evidence(context, fit))


def compare(
    context: PosedContext,
    person: Shape,
    pictures: OwnFits,
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
    calibration: Calibration | None = None,
) -> PosedScore:
    """Score pictures whose own shapes are fitted already; see ``score_posed_pictures``.

    Raises:
        ValueError: a parameter is out of range.
    """
    return compare_people(context, [person], pictures, threshold, prior_probability, calibration)[0]


def compare_people(
    context: PosedContext,
    people: Sequence[Shape],
    pictures: OwnFits,
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
    calibration: Calibration | None = None,
) -> tuple[PosedScore, Matches]:
    """Score every picture against the person that matches it best.

    Args:
        prior_probability: that a picture shows any of the people, each as likely as the others.

    Returns:
        The scores, whose probability is that of the best match, and who that is.

    Raises:
        ValueError: nobody to compare with, or a parameter is out of range.
    """
    if not people:
        raise ValueError("there is nobody to compare with; give at least one person")
    if not threshold > 0:
        raise ValueError(f"the threshold must be positive, not {threshold}")
    if not 0 < prior_probability < 1:
        raise ValueError(f"a probability lies between 0 and 1, not {prior_probability}")
    own = pictures.fit
    trusted = default_calibration() if calibration is None else calibration
    evidence = calibrated_pictures(pictures.evidence, trusted)
    table = log_bayes_factors(evidence, calibrated_people(people, trusted))
    matches = best_matches(table, 1 - prior_probability)
    betas = np.stack([np.asarray(person.betas, own.betas.dtype) for person in people])[matches.best]
    excess, at_reference = excess_energy(context, own, betas)
    bits = map_samples(_bits, None, evidence, _TILE_SIZE, concurrent=False)
    observation = own.pictures.observation
    error, oks = map_samples(_misfit, context, (observation, at_reference.residuals), _TILE_SIZE)
    status = np.where(
        (own.status == Status.OK) & (bits < LOW_INFORMATION_BITS), Status.LOW_INFORMATION, own.status
    ).astype(np.int8)
    fitted = np.isfinite(own.energy)

    def known(values: AnyArray) -> np.ndarray:
        return np.where(fitted, values, np.nan).astype(np.float32)

    scores = PosedScore(
        consistency=known(np.exp(-excess / threshold)),
        same_body_probability=known(matches.probability),
        log_bayes_factor=known(matches.log_bayes_factor),
        information_bits=known(bits),
        reprojection_error=known(error),
        reprojection_error_px=known(error * observation.person_height_px),
        oks=known(oks),
        scale=known(at_reference.camera_px.scale),
        translation_x=known(at_reference.camera_px.translation[:, 0]),
        translation_y=known(at_reference.camera_px.translation[:, 1]),
        status=status,
        swapped_labels=own.swapped_labels,
    )
    return scores, matches


def calibrated_people(people: Sequence[Shape], calibration: Calibration) -> Evidence:
    """What is known of each person, one row per person.

    Raises:
        ValueError: a shape has no evidence.
    """
    each = [
        calibrated(Evidence(*map(jnp.asarray, _known(person))), calibration, person.used_references)
        for person in people
    ]
    return Evidence(*(np.stack([np.asarray(part) for part in parts]) for parts in zip(*each, strict=True)))


def _known(person: Shape) -> Evidence:
    if person.evidence is None:
        raise ValueError("a shape has no evidence to compare with; fit it with --pose free")
    return person.evidence


def excess_energy(
    context: PosedContext, own: PosedFit, betas: Float[AnyArray, "images betas"]
) -> tuple[Float[AnyArray, " images"], Described]:
    """How much worse each picture is explained by a given shape than by its own, in nats, and its fit at that shape.

    Args:
        own: fits with free shapes.
        betas: one for each picture.
    """
    refitted = _refit(context, own, betas)
    pictures, unknowns = own.pictures, jax.tree.map(np.nan_to_num, own.unknowns)
    problem = context.problem
    excess = posed_energies(problem, *refitted, exact=True) - posed_energies(problem, pictures, unknowns, exact=True)
    # The own shape is drawn to the mean person by its prior, so the given one may even do a little better.
    return np.maximum(excess, 0.0).astype(own.energy.dtype), describe(problem, *refitted)


def _refit(
    context: PosedContext, own: PosedFit, betas: Float[AnyArray, "images betas"]
) -> tuple[Picture, PictureUnknowns]:
    """Fit of every picture at a given shape, starting from the pose that goes with its own shape.

    Staying near that pose is what is wanted: the excess shall measure the change of shape, not of the pose's basin.
    """
    pictures = Picture(own.pictures.observation, betas)
    # Pictures that could not be fitted come along as some pose of nobody; their rows are masked by the caller.
    unknowns = jax.tree.map(lambda leaf: np.nan_to_num(leaf)[:, None], own.unknowns)
    search = Search(context, pictures)
    lanes = search.finish(open_lanes(unknowns, betas), free_betas=False)
    return pictures, jax.tree.map(lambda leaf: leaf[:, 0], lanes.unknowns.picture)


def _bits(_: None, evidence: Evidence) -> Float[Array, ""]:
    return information_bits(evidence)


def _misfit(
    context: PosedContext, fitted: tuple[Observation, Float[Array, "keypoints 2"]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    observation, residuals = fitted
    total = jnp.sum(observation.confidence)
    mean_square = jnp.sum(observation.confidence * jnp.sum(residuals**2, axis=-1)) / jnp.where(total > 0, total, 1.0)
    similarity = object_keypoint_similarity(context.model.body, observation, observation.points - residuals)
    return jnp.sqrt(mean_square), similarity
