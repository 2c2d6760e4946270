"""Differences of limbs between a picture's own body and the reference's, in per cent of the limb, with uncertainty.

One picture does not show stature, so overall size is removed: a limb counts as a share of the sum of all limbs,

    change_i = (l_i(β) / L(β)) / (l_i(β_ref) / L(β_ref)) − 1,    L = Σ l_i,

where l_i is the distance of two joints, left and right averaged. Joints are linear in β, so the derivative of
log(l_i / L) is exact. It propagates the covariances of both shapes, (I + Λ)⁻¹ each, to a standard deviation of the
change. An uninformative picture has a large one: its own body is then mostly the average person. The average person may
differ clearly from an unusual reference, but the picture does not show that difference. Each limb therefore has the
share of the variance between people that the picture removes,
1 − (variance after the picture)/(variance between people).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from engine.body.keypoint_body import KeypointBody
from engine.evidence.shape_evidence import Evidence

LIMBS: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("thighs", ((1, 4), (2, 5))),
    ("lower legs", ((4, 7), (5, 8))),
    ("trunk", ((0, 12),)),
    ("neck and head", ((12, 15),)),
    ("shoulder width", ((16, 17),)),
    ("hip width", ((1, 2),)),
    ("upper arms", ((16, 18), (17, 19))),
    ("forearms", ((18, 20), (19, 21))),
)
"""Pairs of joints in SMPL's layout; left and right are averaged."""


class LimbChanges(NamedTuple):
    """Changes in many pictures, as fractions of the reference's limb: 0.05 is five per cent longer for its body."""

    change: Float[np.ndarray, "images limbs"]
    deviation: Float[np.ndarray, "images limbs"]
    """One standard deviation."""
    shown: Float[np.ndarray, "images limbs"]
    """0..1: the share of the own limb that comes from the picture; the rest is the average person's."""


def compare_limbs(
    body: KeypointBody,
    own_betas: Float[np.ndarray, "images betas"],
    own_evidence: Evidence,
    reference_betas: Float[np.ndarray, "images betas"],
    reference_evidence: Evidence,
    root: Float[np.ndarray, "betas betas"] | None = None,
) -> LimbChanges:
    """Limbs of each picture's own body against those of its reference body.

    Args:
        own_evidence: calibrated, without the shape prior, one row per picture; the reference's likewise.
        root: R, if the calibration has β = μ + R x and the evidence is about x.
    """
    own, own_slope = _log_shares(body, np.asarray(own_betas, float))
    reference, reference_slope = _log_shares(body, np.asarray(reference_betas, float))
    if root is not None:
        own_slope, reference_slope = own_slope @ root, reference_slope @ root
    left = _variance(own_slope, own_evidence)
    variance = left + _variance(reference_slope, reference_evidence)
    return LimbChanges(np.expm1(own - reference), np.sqrt(variance), 1 - left / np.sum(own_slope**2, axis=-1))


def _variance(slope: Float[np.ndarray, "images limbs betas"], evidence: Evidence) -> np.ndarray:
    precision = np.asarray(evidence.precision, float)
    covariance = np.linalg.inv(precision + np.eye(precision.shape[-1]))
    return np.einsum("nla,nab,nlb->nl", slope, covariance, slope)


def _log_shares(body: KeypointBody, betas: Float[np.ndarray, "images betas"]) -> tuple[np.ndarray, np.ndarray]:
    """log(l_i / L) and its derivative by β."""
    directions = np.asarray(body.joint_shapedirs, float)
    joints = np.asarray(body.joints, float) + np.einsum("jcb,nb->njc", directions, betas)
    lengths, slopes = [], []
    for _, pairs in LIMBS:
        start, end = np.array(pairs).T
        bones = joints[:, end] - joints[:, start]
        length = np.linalg.norm(bones, axis=-1)
        slope = np.einsum("npc,pcb->npb", bones / length[..., None], directions[end] - directions[start])
        lengths.append(length.mean(axis=1))
        slopes.append(slope.mean(axis=1))
    length, slope = np.stack(lengths, axis=1), np.stack(slopes, axis=1)
    total = length.sum(axis=1, keepdims=True)
    relative = slope / length[..., None] - slope.sum(axis=1, keepdims=True) / total[..., None]
    return np.log(length / total), relative
