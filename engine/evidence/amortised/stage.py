"""The network as the evidence stage of a score, and the consistency that goes with it.

Without a fit there is no energy at the reference shape. The evidence is a quadratic in β, and

    excess = ½ (β_ref − m)ᵀ Λ (β_ref − m),   m = (I + Λ)⁻¹ h the picture's own shape,

is the loss of log likelihood from the picture's own shape to the reference shape, in nats: 0 for the picture that the
reference shape was made from. Consistency is exp(−excess / threshold).

An outline determines more of the shape, and more exactly, so the same distance between two shapes costs more nats.
Views of one person differ by about as much in β as without outlines, because clothes and detectors err. The threshold
of a picture with an outline therefore grows with its information, to

    threshold · tr Λ / ``KEYPOINT_INFORMATION``.

Excess over tr Λ is half the mean squared distance of the components, weighted by the information about each.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from engine.batching import AnyArray
from engine.body.schemas import KeypointSchema
from engine.evidence.amortised.evidence import AmortisedModel, amortised_evidence
from engine.evidence.comparison import marginals
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PictureEvidence
from engine.picture.noise import NoiseModel
from engine.scores import Status

JOINT_SHARE = 0.6
"""1/(1 + ρ) for the correlation ρ = 2/3 of the errors of fits and of the network: two equally informative sources are
worth 2/(1 + ρ) of one (Kish, "Survey sampling", 1965, section 5.4). Shares of 0.5 and 0.6 were compared
(benchmarks/results.md, "Evidence by simulation")."""


KEYPOINT_INFORMATION = 1.9
"""Median of tr Λ of pictures with 17 keypoints at 1 % noise, for which the threshold was chosen. Excess over tr Λ has
the same median with and without outlines, in all clothes but tubes; other measures of information do worse
(benchmarks/results.md, "Consistency with outlines")."""


def picture_evidence(
    model: AmortisedModel,
    schema: KeypointSchema,
    noise: NoiseModel,
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    outline_px: Float[AnyArray, "images places 2"] | None = None,
    clothes_m: Float[AnyArray, " images"] | None = None,
) -> PictureEvidence:
    """Evidence of every picture (``engine.evidence.stages.EvidenceStage`` once model, schema and noise are given).

    Raises:
        ValueError: the arrays do not have the schema's columns.
    """
    evidence = amortised_evidence(model, schema, noise, keypoints_px, confidence, outline_px, clothes_m)
    known = np.any(evidence.precision != 0, axis=(1, 2))
    outlined = None
    if outline_px is not None and model.network.sees_outlines:
        outlined = known & np.any(np.isfinite(np.asarray(outline_px)), axis=(1, 2))
    return PictureEvidence(
        evidence=evidence,
        status=np.where(known, Status.OK, Status.TOO_FEW_KEYPOINTS).astype(np.int8),
        swapped_labels=np.zeros(len(known), np.int8),
        known=known,
        outlined=outlined,
    )


def joint_evidence(
    fits: PictureEvidence, network: PictureEvidence, alone: Bool[AnyArray, " images"] | None = None
) -> PictureEvidence:
    """Evidence of fits and of the network about the same pictures, together.

    A fit covers one mode of the pose exactly, the network covers all poses approximately; their errors differ. Pictures
    without evidence of the network keep that of their fit.

    Args:
        alone: pictures that have the evidence of the network alone.
    """
    both = np.asarray(fits.known) & np.asarray(network.known)
    joined = join_evidence(fits.evidence, network.evidence, both)
    if alone is not None:
        joined = Evidence(*(
            np.where(np.asarray(alone).reshape(-1, *[1] * (np.ndim(part) - 1)), own, part)
            for part, own in zip(joined, network.evidence, strict=True)
        ))  # fmt: skip
    return fits._replace(evidence=joined)


def join_evidence(first: Evidence, second: Evidence, both: Bool[AnyArray, " images"]) -> Evidence:
    """Joint evidence of two sources with correlated errors, with ``JOINT_SHARE``; ``first`` alone if not ``both``."""
    parts = []
    for one, other in zip(first, second, strict=True):
        one = np.asarray(one, np.float32)
        chosen = np.asarray(both).reshape(-1, *(1,) * (one.ndim - 1))
        parts.append(np.where(chosen, np.float32(JOINT_SHARE) * (one + np.asarray(other, np.float32)), one))
    return Evidence(*parts)


def consistency(
    pictures: PictureEvidence, betas: Float[AnyArray, "images betas"], threshold: float
) -> Float32[np.ndarray, " images"]:
    """Consistency of each picture with a given shape, by its evidence; NaN without evidence.

    Args:
        betas: one shape for each picture.
        threshold: nats of excess at which consistency is 1/e, for a picture without an outline.
    """
    level: Any = threshold
    if pictures.outlined is not None:
        information = np.trace(np.asarray(pictures.evidence.precision), axis1=1, axis2=2)
        grown = np.float32(threshold / KEYPOINT_INFORMATION) * information
        level = np.where(pictures.outlined, grown, np.float32(threshold))
    return np.where(pictures.known, np.exp(-quadratic_excess(pictures.evidence, betas) / level), np.float32(np.nan))


def quadratic_excess(evidence: Evidence, betas: Float[AnyArray, "images betas"]) -> Float32[np.ndarray, " images"]:
    """Loss of log likelihood from each picture's own shape to a given shape, by its evidence, in nats.

    Args:
        betas: one shape for each picture.
    """
    apart = np.asarray(betas, np.float32) - marginals(evidence).mean
    squared = apart[:, None] @ np.asarray(evidence.precision, np.float32) @ apart[:, :, None]
    return np.maximum(np.float32(0.5) * squared[:, 0, 0], 0)
