"""Scores of posed fits: does the reference person's body explain this picture as well as the picture's own best body?

Every picture is fitted twice: with its own free shape, and, starting from that pose, with the reference shape.

    excess      = energy at the reference shape − energy at the picture's own shape, shape prior left out, in nats
    consistency = exp(−excess / threshold)

The error at the reference shape alone would be a poor measure: pose compensates for a wrong shape, and some poses and
views are hard for any shape. The evidence of the picture about the shape (``engine.evidence.shape_evidence``) is
compared with that of the references: the Bayes factor of "one body" against "two bodies", and its probability.
Evidence is stored raw and calibrated here on use (``engine.evidence.calibration``).

If there are several people, a picture is compared with all of them, and its row describes the best match.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int8, Int32

from engine.batching import AnyArray, map_samples
from engine.body.keypoint_body import KeypointBody
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import default_calibration
from engine.evidence.stages import PRIOR_PROBABILITY, PictureEvidence, compare_evidence
from engine.picture.cameras import WeakPerspective
from engine.picture.misfit import object_keypoint_similarity, reprojection_error
from engine.picture.observation import Observation
from engine.posed.fit import fit_poses, fit_shapes, observe_pictures
from engine.posed.problem import Picture, PictureUnknowns
from engine.posed.results import Described, PosedFit, describe, posed_energies, shape_evidence
from engine.posed.search import PosedContext, Search, open_lanes
from engine.shape import Shape

EXCESS_THRESHOLD = 1.5
"""Nats of excess energy at which consistency has fallen to 1/e. At 0.3 % noise one of four references scores 0.9 in the
median, and a body that is two standard deviations off in every component 0.16; with the network's evidence, which knows
more poses that explain a picture, 0.80 and 0.44 (benchmarks/results.md, "Identity", "Laws")."""

_TILE_SIZE = 1024


class FreeScores(NamedTuple):
    """The columns of comparison and fit, one row per picture."""

    status: Int8[np.ndarray, " images"]
    consistency: Float32[np.ndarray, " images"]
    same_body_probability: Float32[np.ndarray, " images"]
    log_bayes_factor: Float32[np.ndarray, " images"]
    information_bits: Float32[np.ndarray, " images"]
    best: Int32[np.ndarray, " images"]
    margin: Float32[np.ndarray, " images"]
    reprojection_error: Float32[np.ndarray, " images"]
    reprojection_error_px: Float32[np.ndarray, " images"]
    oks: Float32[np.ndarray, " images"]
    scale: Float32[np.ndarray, " images"]
    translation_x: Float32[np.ndarray, " images"]
    translation_y: Float32[np.ndarray, " images"]
    swapped_labels: Int[AnyArray, " images"]


def score_posed_pictures(
    context: PosedContext,
    person: Shape,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
    calibration: Calibration | None = None,
) -> FreeScores:
    """Score every picture against one person.

    Args:
        threshold: nats of excess at which consistency is 1/e.
        prior_probability: prior probability of "same body".
        calibration: calibration of the detector; by default the shipped one.

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
) -> PictureEvidence:
    """The evidence stage by fits: every picture is fitted with its own shape.

    Args:
        solver: one of ``engine.posed.first_order.SOLVERS``.
        focal_px: as for ``engine.posed.fit.observe_pictures``.

    Raises:
        ValueError: arrays do not fit the body, a focal length is not positive, or no such solver.
    """
    fit = fit_shapes(context, observe_pictures(context, keypoints_px, confidence, focal_px), solver)
    return PictureEvidence(shape_evidence(context, fit), fit.status, fit.swapped_labels, np.isfinite(fit.energy), fit)


class ReferenceFits(NamedTuple):
    """Result of the fit stage: pictures fitted at the shape that matches best. Rows that could not be fitted have
    NaN."""

    consistency: Float32[np.ndarray, " images"]
    reprojection_error: Float32[np.ndarray, " images"]
    reprojection_error_px: Float32[np.ndarray, " images"]
    oks: Float32[np.ndarray, " images"]
    scale: Float32[np.ndarray, " images"]
    translation_x: Float32[np.ndarray, " images"]
    translation_y: Float32[np.ndarray, " images"]


def fit_at_shapes(
    context: PosedContext,
    own: PosedFit,
    betas: Float[AnyArray, "images betas"],
    threshold: float = EXCESS_THRESHOLD,
) -> ReferenceFits:
    """The fit stage.

    Args:
        own: every picture's own fit.
        betas: the shape that matches each picture best.
        threshold: nats of excess at which consistency is 1/e.

    Raises:
        ValueError: the threshold is not positive.
    """
    if not threshold > 0:
        raise ValueError(f"the threshold must be positive, not {threshold}")
    excess, at_reference = excess_energy(context, own, betas)
    consistency = np.exp(-excess / threshold)
    return _columns(context, own, consistency, at_reference.residuals, at_reference.camera_px)


def fit_to_shapes(
    context: PosedContext,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    betas: Float[AnyArray, "images betas"],
) -> ReferenceFits:
    """The fit stage for pictures without their own fit. Consistency needs two fits, so it is NaN.

    Raises:
        ValueError: arrays do not fit the body.
    """
    fit = fit_poses(context, observe_pictures(context, keypoints_px, confidence), betas)
    unknown = np.full(len(fit.energy), np.nan, np.float32)
    return _columns(context, fit, unknown, fit.residuals, fit.camera_px)


def fit_near(context: PosedContext, fit: PosedFit, betas: Float[AnyArray, "images betas"]) -> Described:
    """Fits of pictures at given shapes, starting from the poses of their fits at other shapes and staying near them.

    Rows that could not be fitted hold placeholders.
    """
    return describe(context.problem, *_refit(context, fit, betas))


def _columns(
    context: PosedContext, fit: PosedFit, consistency: np.ndarray, residuals: AnyArray, camera: WeakPerspective
) -> ReferenceFits:
    observation = fit.pictures.observation
    error, oks = map_samples(_misfit, context.model.body, (observation, residuals), _TILE_SIZE)
    fitted = np.isfinite(fit.energy)
    columns = (
        consistency,
        error,
        error * observation.person_height_px,
        oks,
        camera.scale,
        camera.translation[:, 0],
        camera.translation[:, 1],
    )
    return ReferenceFits(*(np.where(fitted, values, np.nan).astype(np.float32) for values in columns))


def compare(
    context: PosedContext,
    person: Shape,
    pictures: PictureEvidence,
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
    calibration: Calibration | None = None,
) -> FreeScores:
    """Score pictures whose own shapes have been fitted; see ``score_posed_pictures``.

    Raises:
        ValueError: a parameter is out of range.
    """
    return compare_people(context, [person], pictures, threshold, prior_probability, calibration)


def compare_people(
    context: PosedContext,
    people: Sequence[Shape],
    pictures: PictureEvidence,
    threshold: float = EXCESS_THRESHOLD,
    prior_probability: float = PRIOR_PROBABILITY,
    calibration: Calibration | None = None,
) -> FreeScores:
    """Score every picture against the person that matches it best.

    Args:
        prior_probability: probability that a picture shows any of the people, all equally likely.

    Raises:
        ValueError: nobody to compare with, or a parameter is out of range.
    """
    used = default_calibration() if calibration is None else calibration
    compared = compare_evidence(pictures, people, used, prior_probability)
    betas = np.stack([np.asarray(person.betas, pictures.fit.betas.dtype) for person in people])
    fits = fit_at_shapes(context, pictures.fit, betas[compared.best], threshold)
    return FreeScores(**compared._asdict(), **fits._asdict(), swapped_labels=pictures.swapped_labels)


def excess_energy(
    context: PosedContext, own: PosedFit, betas: Float[AnyArray, "images betas"]
) -> tuple[Float[AnyArray, " images"], Described]:
    """Excess energy of each picture at a given shape over its own shape, in nats, and its fit at the given shape.

    Args:
        own: fits with free shapes.
        betas: one shape for each picture.
    """
    refitted = _refit(context, own, betas)
    pictures, unknowns = own.pictures, jax.tree.map(np.nan_to_num, own.unknowns)
    problem = context.problem
    excess = posed_energies(problem, *refitted, exact=True) - posed_energies(problem, pictures, unknowns, exact=True)
    # The prior shifts the own shape towards the mean person, so the given one may even fit slightly better.
    return np.maximum(excess, 0.0).astype(own.energy.dtype), describe(problem, *refitted)


def _refit(
    context: PosedContext, own: PosedFit, betas: Float[AnyArray, "images betas"]
) -> tuple[Picture, PictureUnknowns]:
    """Fit of every picture at a given shape, starting from the pose that goes with its own shape.

    The fit stays near that pose, so that the excess measures the change of shape and not a jump to another pose.
    """
    pictures = Picture(own.pictures.observation, betas)
    # Pictures that could not be fitted get a placeholder pose; the caller masks their rows.
    unknowns = jax.tree.map(lambda leaf: np.nan_to_num(leaf)[:, None], own.unknowns)
    search = Search(context, pictures)
    lanes = search.finish(open_lanes(unknowns, betas), free_betas=False)
    return pictures, jax.tree.map(lambda leaf: leaf[:, 0], lanes.unknowns.picture)


def _misfit(
    body: KeypointBody, fitted: tuple[Observation, Float[Array, "keypoints 2"]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    observation, residuals = fitted
    similarity = object_keypoint_similarity(body, observation, observation.points - residuals)
    return reprojection_error(observation.confidence, residuals), similarity
