"""The stages of a score, and the data that pass between them.

    1. evidence      keypoints -> ``PictureEvidence``: raw evidence of each picture about its own body
    2. comparison    evidence, shapes, calibration -> ``Comparison``: Bayes factor, probability, bits, best match
    3. fit           keypoints at the best shape -> the columns of a fit (``engine.posed.scoring``)

Stage 1 has several implementations (``EvidenceStage``): fits of each picture's own shape, or a network. Stage 2 is here
and needs nothing but evidence, so every implementation of stage 1 gets the same comparison and the same calibration.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int8, Int32

from engine.batching import AnyArray
from engine.evidence.calibration import Calibration, calibrated, calibrated_pictures
from engine.evidence.comparison import best_matches, factors_of, marginals
from engine.evidence.limbs import limb_evidence
from engine.evidence.shape_evidence import Evidence
from engine.scores import Status
from engine.shape import Shape

LOW_INFORMATION_BITS = 0.3
"""Least information of a decisive picture, bits. Below it, a picture is scored with status ``low_information``."""

PRIOR_PROBABILITY = 0.5
"""Prior probability of "same body"."""


class PictureEvidence(NamedTuple):
    """Evidence of pictures about their own bodies."""

    evidence: Evidence
    """Raw evidence of each picture alone, with that of limbs if the calibration has a model of them; zeros if it is not
    ``known``."""
    status: Int[AnyArray, " images"]
    """``OK``, ``TOO_FEW_KEYPOINTS`` or ``NOT_CONVERGED``."""
    swapped_labels: Int[AnyArray, " images"]
    """Limbs whose left and right labels were swapped back, as the code of ``engine.picture.swapped_labels``."""
    known: Bool[AnyArray, " images"]
    """True for pictures that have evidence."""
    fit: Any = None
    """The ``PosedFit`` behind the evidence, if it comes from fits."""
    outlined: Bool[AnyArray, " images"] | None = None
    """True for pictures whose outline is in the evidence; None if that is so for no picture."""


class EvidenceStage(Protocol):
    """Stage 1."""

    def __call__(
        self,
        keypoints_px: Float[AnyArray, "images keypoints 2"],
        confidence: Float[AnyArray, "images keypoints"],
        outline_px: Float[AnyArray, "images places 2"] | None = None,
        clothes_m: Float[AnyArray, " images"] | None = None,
    ) -> PictureEvidence:
        """Evidence of every picture, independent of the other pictures.

        Args:
            outline_px: widths at ``engine.picture.outline.PLACES``, NaN if not seen; fits alone do not use them.
            clothes_m: thickness of the clothes in them (``engine.picture.clothes``), NaN if not known.

        Raises:
            ValueError: the arrays do not have the body's columns.
        """
        ...


class Comparison(NamedTuple):
    """Pictures compared with shapes; NaN in rows without evidence."""

    status: Int8[np.ndarray, " images"]
    same_body_probability: Float32[np.ndarray, " images"]
    """Probability that the picture shows the best match."""
    log_bayes_factor: Float32[np.ndarray, " images"]
    """Log Bayes factor of the best match against a stranger, nats."""
    information_bits: Float32[np.ndarray, " images"]
    best: Int32[np.ndarray, " images"]
    """Number of the shape that matches best."""
    margin: Float32[np.ndarray, " images"]
    """Distance to the second best shape, nats; infinite if there is one shape."""


def compare_evidence(
    pictures: PictureEvidence,
    shapes: Sequence[Shape],
    calibration: Calibration,
    prior_probability: float = PRIOR_PROBABILITY,
) -> Comparison:
    """Compare every picture with every shape.

    Args:
        shapes: a single shape may lack evidence (β alone); then factor and probability are NaN.
        prior_probability: probability that a picture shows any of the shapes, all equally likely.

    Raises:
        ValueError: no shapes, several shapes one of which has no evidence, or a probability out of range.
    """
    if not shapes:
        raise ValueError("there is nobody to compare with; give at least one shape")
    if not 0 < prior_probability < 1:
        raise ValueError(f"a probability lies between 0 and 1, not {prior_probability}")
    evidence = calibrated_pictures(pictures.evidence, calibration)
    alone = len(shapes) == 1 and shapes[0].evidence is None
    people = _no_evidence(shapes[0]) if alone else calibrated_people(shapes, calibration)
    own = marginals(evidence)
    matches = best_matches(factors_of(evidence, own.log_marginal, people), 1 - prior_probability)
    bits = own.information_bits
    unsure = (pictures.status == Status.OK) & (bits < LOW_INFORMATION_BITS)

    def known(values: AnyArray, these: AnyArray = pictures.known) -> np.ndarray:
        return np.where(these, values, np.nan).astype(np.float32)

    compared = pictures.known & (not alone)
    return Comparison(
        status=np.where(unsure, Status.LOW_INFORMATION, pictures.status).astype(np.int8),
        same_body_probability=known(matches.probability, compared),
        log_bayes_factor=known(matches.log_bayes_factor, compared),
        information_bits=known(bits),
        best=matches.best,
        margin=known(matches.margin, compared),
    )


def calibrated_people(shapes: Sequence[Shape], calibration: Calibration) -> Evidence:
    """Calibrated evidence of each person, one row per person.

    Raises:
        ValueError: a shape has no evidence.
    """
    each = []
    for shape in shapes:
        if shape.evidence is None:
            raise ValueError("a shape has no evidence to compare with; fit it with --pose free")
        evidence = _with_own_limbs(shape.evidence, shape, calibration)
        each.append(calibrated(evidence, calibration, shape.used_references))
    return Evidence(*(np.stack(parts) for parts in zip(*each, strict=True)))


def _with_own_limbs(evidence: Evidence, shape: Shape, calibration: Calibration) -> Evidence:
    if calibration.limbs is None:
        return evidence
    limbs = limb_evidence(calibration.limbs, shape.limb_logs)
    return Evidence(
        *(
            (np.asarray(part, float) + more.sum(axis=0)).astype(np.float32)
            for part, more in zip(evidence, limbs, strict=True)
        )
    )


def _no_evidence(shape: Shape) -> Evidence:
    count = len(shape.betas)
    return Evidence(np.zeros((1, count, count), np.float32), np.zeros((1, count), np.float32))
