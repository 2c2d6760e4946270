"""Reason for a picture's rank: the proportion of the body that differs most from the reference's, in words.

A proportion is a ratio of two lengths of the body, such as "shoulders to hips". Its logarithm has the gradient g at the
reference β. The most probable change of the body with the proportion lies in the direction u = g / gᵀg, given the
population β ~ N(0, I). A calibration may move the population, β = μ + R x with x ~ N(0, I); the formulas then apply to
x. The picture has the evidence Λ, h and the reference the posterior N(m, C):

    M = (Λ⁻¹ + C)⁻¹,   h' = M Λ⁻¹ h,   δ = uᵀ(h' − M m) / uᵀM u,   z = uᵀ(h' − M m) / √(uᵀM u)

δ is the change of the logarithm that explains the picture best, and z is δ in standard deviations: the score test of
"this proportion is the reference's". Unlike a comparison of most probable bodies (``report.limbs``), it has no bias
towards the average person, so a picture with little information has a small z and gets no reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from adapters.results.vocabulary import Kind
from engine.body.keypoint_body import KeypointBody
from engine.evidence.shape_evidence import Evidence

Pairs = tuple[tuple[int, int], ...]

_SHOULDERS, _HIPS = ((16, 17),), ((1, 2),)
_TRUNK, _HEAD = ((0, 12),), ((12, 15),)
_THIGHS, _CALVES = ((1, 4), (2, 5)), ((4, 7), (5, 8))
_UPPER_ARMS, _FOREARMS = ((16, 18), (17, 19)), ((18, 20), (19, 21))


@dataclass(frozen=True)
class Proportion:
    """A ratio of two lengths; pairs of joints in SMPL's layout, those of both sides averaged."""

    larger: str
    """Words for a ratio that is larger than the reference's."""
    smaller: str
    part: Sequence[Pairs]
    """Lengths whose sum is the numerator."""
    whole: Sequence[Pairs]


PROPORTIONS: tuple[Proportion, ...] = (
    Proportion("shoulders wide for the hips", "shoulders narrow for the hips", [_SHOULDERS], [_HIPS]),
    Proportion("shoulders wide for the trunk", "shoulders narrow for the trunk", [_SHOULDERS], [_TRUNK]),
    Proportion("legs long for the trunk", "legs short for the trunk", [_THIGHS, _CALVES], [_TRUNK]),
    Proportion("arms long for the trunk", "arms short for the trunk", [_UPPER_ARMS, _FOREARMS], [_TRUNK]),
    Proportion("arms long for the legs", "arms short for the legs", [_UPPER_ARMS, _FOREARMS], [_THIGHS, _CALVES]),
    Proportion("lower legs long for the thighs", "lower legs short for the thighs", [_CALVES], [_THIGHS]),
    Proportion("forearms long for the upper arms", "forearms short for the upper arms", [_FOREARMS], [_UPPER_ARMS]),
    Proportion("hips wide for the legs", "hips narrow for the legs", [_HIPS], [_THIGHS, _CALVES]),
    Proportion("head high above the shoulders", "head low above the shoulders", [_HEAD], [_TRUNK]),
)

LEAST_DEVIATIONS = 1.0
"""Least difference for a reason: two of three pictures of the reference person differ by less."""

_RIDGE = 1e-6
# This is added to gᵀg, because a proportion that no β changes has no direction.
_LEAST_SLOPE = 1e-12


class Differences(NamedTuple):
    """Differences of each picture's proportions from its reference's."""

    change: Float[np.ndarray, "images proportions"]
    """δ; 0.05 means a ratio five per cent above the reference's."""
    deviations: Float[np.ndarray, "images proportions"]
    """z"""


def compare_proportions(
    body: KeypointBody,
    evidence: Evidence,
    reference_evidence: Evidence,
    mean: Float[np.ndarray, " betas"],
    root: Float[np.ndarray, "betas betas"],
) -> Differences:
    """Proportions of each picture against its reference's.

    Args:
        evidence: calibrated, without the shape prior, one row per picture; likewise for the reference.
        mean: μ of the calibration's coordinates β = μ + R x, in which the evidence is given; ``root`` is R.
    """
    precision, information = (np.asarray(part, float) for part in evidence)
    known_precision, known_information = (np.asarray(part, float) for part in reference_evidence)
    identity = np.eye(precision.shape[-1])
    covariance = np.linalg.inv(known_precision + identity)
    reference = np.einsum("nab,nb->na", covariance, known_information)
    slope = _slopes(body, mean + reference @ root.T) @ root
    direction = slope / (np.sum(slope**2, axis=-1, keepdims=True) + _LEAST_SLOPE)
    # (Λ⁻¹ + C)⁻¹ = (I + ΛC)⁻¹ Λ needs no inverse of Λ, which a picture with a hidden limb does not have.
    weakening = np.linalg.inv(identity + precision @ covariance)
    weakened = weakening @ precision
    unexplained = np.einsum("nab,nb->na", weakening, information) - np.einsum("nab,nb->na", weakened, reference)
    score = np.einsum("npb,nb->np", direction, unexplained)
    certainty = np.maximum(np.einsum("npa,nab,npb->np", direction, weakened, direction), 0)
    known = certainty > _RIDGE
    certainty = np.where(known, certainty, 1)
    return Differences(np.where(known, score / certainty, 0), np.where(known, score / np.sqrt(certainty), 0))


def reasons_of(deviations: Float[np.ndarray, "rows proportions"], kinds: UInt8[np.ndarray, " rows"]) -> list[str]:
    """Each row's reason; empty for rows of the same body, and if nothing was compared.

    Args:
        kinds: ``vocabulary.Kind`` of the rows.
    """
    if not deviations.shape[1]:
        return [""] * len(deviations)
    same = kinds == Kind.SAME_BODY
    return ["" if alike else reason(row) for row, alike in zip(deviations, same, strict=True)]


def reason(deviations: Float[np.ndarray, " proportions"]) -> str:
    """The proportion that differs most, in words; empty if no proportion differs enough."""
    largest = int(np.argmax(np.abs(deviations)))
    if not abs(deviations[largest]) >= LEAST_DEVIATIONS:
        return ""
    proportion = PROPORTIONS[largest]
    return proportion.larger if deviations[largest] > 0 else proportion.smaller


def _slopes(body: KeypointBody, betas: Float[np.ndarray, "images betas"]) -> Float[np.ndarray, "images proportions b"]:
    """The gradient of the logarithm of each proportion by β."""
    directions = np.asarray(body.joint_shapedirs, float)
    joints = np.asarray(body.joints, float) + np.einsum("jcb,nb->njc", directions, betas)

    def log_slope(lengths: Sequence[Pairs]) -> np.ndarray:
        total, slope = 0.0, 0.0
        for pairs in lengths:
            start, end = np.array(pairs).T
            bones = joints[:, end] - joints[:, start]
            length = np.linalg.norm(bones, axis=-1)
            along = np.einsum("npc,pcb->npb", bones / length[..., None], directions[end] - directions[start])
            total, slope = total + length.mean(axis=1), slope + along.mean(axis=1)
        return slope / np.asarray(total)[:, None]

    return np.stack([log_slope(one.part) - log_slope(one.whole) for one in PROPORTIONS], axis=1)
