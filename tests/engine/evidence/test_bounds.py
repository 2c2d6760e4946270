"""Numbers that no body, picture or detector has are refused before they become scores."""

import numpy as np
import pytest

from engine.evidence.bounds import check_betas, check_evidence, check_factor, check_semidefinite

ROOT = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
PRECISION = ROOT @ ROOT.T
INFORMATION = np.ones(4, np.float32)


def test_evidence_of_pictures_passes() -> None:
    check_betas(np.array([-13.2, 17.1], np.float32))
    check_evidence(PRECISION, INFORMATION, 4)
    check_evidence(np.zeros((4, 4), np.float32), np.zeros(4, np.float32), 4)
    # One direction only, as single pictures have it: the other eigenvalues are rounding errors of either sign.
    check_evidence(np.outer(ROOT[0], ROOT[0]) * np.float32(1e6), INFORMATION, 4)


@pytest.mark.parametrize("betas", [[20.5], [np.nan], [np.inf], [3e38, 0]])
def test_impossible_betas_are_refused(betas: list[float]) -> None:
    with pytest.raises(ValueError, match="beta"):
        check_betas(np.array(betas, np.float32))


IMPOSSIBLE = {
    "negative": -PRECISION,
    "huge": PRECISION * np.float32(1e13),
    "beyond float32": np.full((4, 4), 3e38, np.float32),
    "not symmetric": PRECISION + np.triu(np.ones((4, 4), np.float32), 1),
    "nan": np.where(np.eye(4) > 0, np.float32(np.nan), PRECISION),
    "another size": PRECISION[:3, :3],
    "complex": PRECISION + 0j,
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_evidence_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match="precision"):
        check_evidence(IMPOSSIBLE[case], INFORMATION, 4)


@pytest.mark.parametrize("information", [np.ones(3), np.full(4, np.nan), np.full(4, 1e13), np.ones(4) + 0j])
def test_impossible_information_is_refused(information: np.ndarray) -> None:
    with pytest.raises(ValueError, match="information"):
        check_evidence(PRECISION, information, 4)


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf, 1e-9, 1e9])
def test_impossible_noise_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="noise_scale"):
        check_factor(factor, "noise_scale")


def test_a_negative_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="within_person is not positive"):
        check_semidefinite(np.diag([1.0, -5.0]), 2, 400.0, "within_person")
