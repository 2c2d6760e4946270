"""One person or several: against a dense Gaussian, on mixtures that are known, and references that do not belong."""

import jax.numpy as jnp
import numpy as np
import pytest

from engine.evidence.one_person import OUTLIER, OnePersonTally, against_the_others, one_against_several
from engine.evidence.shape_evidence import Evidence, log_bayes_factor

ROUNDING = 1e-9
SINGLE_PRECISION = 1e-4
BETAS = 5


def _pictures(shapes: np.ndarray, precision: float, seed: int = 0) -> Evidence:
    """One picture of each shape, all components seen with the same precision."""
    draw = np.random.default_rng(seed)
    seen = shapes + draw.normal(size=shapes.shape) / np.sqrt(precision)
    return Evidence(precision * np.tile(np.eye(BETAS), (len(shapes), 1, 1)), precision * seen)


def _people(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, BETAS))


def test_two_pictures_of_strangers_or_of_one_are_told_as_by_the_bayes_factor_of_the_pair() -> None:
    evidence = _pictures(_people(2, 1), precision=4.0)
    dense = []
    for scatter in (0.0, 0.5, 2 / 3, 1.0):
        common = (1 - scatter) * np.ones((2, 2)) + scatter * np.eye(2)
        covariance = np.kron(common, np.eye(BETAS)) + np.eye(2 * BETAS) / 4
        values = (evidence.information / 4).reshape(-1)
        dense.append(-0.5 * (values @ np.linalg.solve(covariance, values) + np.linalg.slogdet(covariance)[1]))
    expected = dense[0] - np.logaddexp.reduce(dense[1:]) + np.log(3)
    assert one_against_several(evidence) == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("seed", range(5))
def test_one_person_is_told_from_two_and_from_three(seed) -> None:
    people = _people(3, seed)
    for shown, one in (((0, 0, 0, 0, 0, 0), True), ((0, 0, 0, 1, 1, 1), False), ((0, 0, 1, 1, 2, 2), False)):
        found = one_against_several(_pictures(people[list(shown)], precision=20.0, seed=seed))
        assert (found > 0) == one
        assert abs(found) > 1


def test_pictures_without_information_change_nothing_and_one_picture_is_one_person() -> None:
    evidence = _pictures(_people(1, 2), precision=3.0)
    assert one_against_several(evidence) == pytest.approx(0.0, abs=ROUNDING)
    nothing = Evidence(np.zeros((4, BETAS, BETAS)), np.zeros((4, BETAS)))
    tally = OnePersonTally(BETAS)
    for piece in (evidence, nothing, _pictures(_people(2, 3), precision=3.0)):
        tally.add(piece)
    parts = (evidence, _pictures(_people(2, 3), precision=3.0))
    together = Evidence(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    assert tally.log_bayes_factor() == pytest.approx(one_against_several(together), rel=ROUNDING)


def test_a_reference_of_somebody_else_is_named_and_the_others_are_not() -> None:
    people = _people(2, 4)
    evidence = _pictures(people[[0, 0, 1, 0, 0]], precision=20.0)
    found = against_the_others(evidence)
    assert (found < OUTLIER).tolist() == [False, False, True, False, False]
    rest = Evidence(*(jnp.asarray(part[[0, 1, 3, 4]].sum(axis=0), jnp.float32) for part in evidence))
    own = Evidence(*(jnp.asarray(part[2], jnp.float32) for part in evidence))
    assert found[2] == pytest.approx(float(log_bayes_factor(rest, own)), rel=SINGLE_PRECISION)
    assert against_the_others(Evidence(*(part[:1] for part in evidence)))[0] == pytest.approx(0.0, abs=ROUNDING)
