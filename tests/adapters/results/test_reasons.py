"""Why a picture differs, in words: proportions of bodies whose difference is known."""

import numpy as np
import pytest

from adapters.results.reasons import PROPORTIONS, compare_proportions, reason
from engine.body.keypoint_body import KeypointBody
from engine.evidence.shape_evidence import Evidence

_SHOULDERS_TO_HIPS = 0


def _length(body: KeypointBody, betas: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> float:
    joints = np.asarray(body.joints, float) + np.asarray(body.joint_shapedirs, float) @ betas
    return float(np.mean([np.linalg.norm(joints[end] - joints[start]) for start, end in pairs]))


def _log_ratio(body: KeypointBody, betas: np.ndarray, number: int) -> float:
    one = PROPORTIONS[number]
    part, whole = (sum(_length(body, betas, pairs) for pairs in lengths) for lengths in (one.part, one.whole))
    return float(np.log(part / whole))


def _gradient(body: KeypointBody, betas: np.ndarray, number: int, step: float = 1e-4) -> np.ndarray:
    return np.array(
        [
            (_log_ratio(body, betas + step * axis, number) - _log_ratio(body, betas - step * axis, number)) / (2 * step)
            for axis in np.eye(10)
        ]
    )


def _certain(count: int, strength: float) -> np.ndarray:
    return np.broadcast_to(strength * np.eye(10), (count, 10, 10))


@pytest.mark.parametrize("number", range(len(PROPORTIONS)))
def test_the_proportion_that_differs_is_named(coco_body: KeypointBody, number: int) -> None:
    reference = np.random.default_rng(1).normal(0, 0.7, 10)
    gradient = _gradient(coco_body, reference, number)
    direction = gradient / (gradient @ gradient)
    wanted = np.array([0.03, -0.03, 0.0])
    betas = reference + wanted[:, None] * direction
    precision = _certain(3, 1e5)
    pictures = Evidence(precision, np.einsum("nab,nb->na", precision, betas))
    theirs = Evidence(precision, np.tile(1e5 * reference, (3, 1)))
    found = compare_proportions(coco_body, pictures, theirs, np.zeros(10), np.eye(10))
    np.testing.assert_allclose(found.change[:, number], wanted, atol=2e-4)
    assert reason(found.deviations[0]) == PROPORTIONS[number].larger
    assert reason(found.deviations[1]) == PROPORTIONS[number].smaller
    assert reason(found.deviations[2]) == ""


def test_deviations_of_the_same_person_are_standard_normal(coco_body: KeypointBody) -> None:
    draw = np.random.default_rng(2)
    count = 4000
    reference = draw.normal(0, 1, 10)
    root = draw.normal(0, 1, (10, 6))  # four directions of the body are not seen at all
    precision, known = root @ root.T, 3 * np.eye(10)
    person = reference + draw.normal(0, 1, (count, 10)) @ np.linalg.cholesky(np.linalg.inv(known + np.eye(10))).T
    noise = draw.normal(0, 1, (count, 6)) @ root.T
    pictures = Evidence(np.broadcast_to(precision, (count, 10, 10)), person @ precision + noise)
    theirs = Evidence(np.broadcast_to(known, (count, 10, 10)), np.tile(reference @ (known + np.eye(10)), (count, 1)))
    found = compare_proportions(coco_body, pictures, theirs, np.zeros(10), np.eye(10))
    np.testing.assert_allclose(found.deviations.std(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(found.deviations.mean(axis=0), 0, atol=0.08)


def test_a_picture_without_evidence_has_no_reason(coco_body: KeypointBody) -> None:
    nothing = Evidence(np.zeros((1, 10, 10)), np.zeros((1, 10)))
    known = Evidence(_certain(1, 10.0), np.full((1, 10), 20.0))
    found = compare_proportions(coco_body, nothing, known, np.zeros(10), np.eye(10))
    assert reason(found.deviations[0]) == ""
    assert np.isfinite(found.change).all()


def test_axes_of_a_calibration_turn_evidence_back(coco_body: KeypointBody) -> None:
    """β = μ + R x: the evidence of x is Rᵀ Λ R, Rᵀ (h − Λ μ). With R orthogonal people differ as before."""
    draw = np.random.default_rng(4)
    root = np.linalg.qr(draw.normal(0, 1, (10, 10)))[0]
    precision = draw.normal(0, 2, (1, 10, 8))
    pictures = Evidence(precision @ precision.transpose(0, 2, 1), draw.normal(0, 1, (1, 10)))
    theirs = Evidence(5 * np.eye(10)[None], draw.normal(0, 5, (1, 10)))

    def turned(evidence: Evidence) -> Evidence:
        return Evidence(root.T @ evidence.precision @ root, evidence.information @ root)

    plain = compare_proportions(coco_body, pictures, theirs, np.zeros(10), np.eye(10))
    moved = compare_proportions(coco_body, turned(pictures), turned(theirs), np.zeros(10), root)
    np.testing.assert_allclose(moved.deviations, plain.deviations, rtol=1e-9)
