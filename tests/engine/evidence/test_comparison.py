"""Many pictures against many people: float64 algebra and hand-made cases are the oracles."""

import jax
import numpy as np
import pytest

from engine.evidence.comparison import best_matches, fuse_groups, log_bayes_factors, match_people
from engine.evidence.shape_evidence import Evidence, fuse, log_bayes_factor

DOUBLE_PRECISION_TOLERANCE = 2e-4
"""Nats, absolute and relative to the larger of the marginals that cancel."""


def _evidence(count: int, strength: float, seed: int) -> Evidence:
    """Observations of random shapes with as many directions as components, of very different strengths."""
    draw = np.random.default_rng(seed)
    roots = strength * draw.normal(size=(count, 10, 10)) * np.geomspace(1, 0.03, 10)[:, None]
    precision = np.einsum("nki,nkj->nij", roots, roots)
    information = np.einsum("nij,nj->ni", precision, draw.normal(size=(count, 10)))
    information += np.einsum("nki,nk->ni", roots, draw.normal(size=(count, 10)))
    return Evidence(precision.astype(np.float32), information.astype(np.float32))


def _log_marginal(precision: np.ndarray, information: np.ndarray) -> np.ndarray:
    whole = precision.astype(float) + np.eye(10)
    solved = np.linalg.solve(whole, information.astype(float)[..., None])[..., 0]
    return 0.5 * np.sum(information * solved, axis=-1) - 0.5 * np.linalg.slogdet(whole)[1]


@pytest.mark.parametrize("strength", [0.3, 3.0, 30.0])
def test_pairs_are_those_of_double_precision(strength) -> None:
    """From single weak pictures to fused ones with a hundred keypoints at 0.1 % noise."""
    pictures, people = _evidence(70, strength, 0), _evidence(66, 2 * strength, 1)
    together = _log_marginal(
        pictures.precision[:, None].astype(float) + people.precision,
        pictures.information[:, None].astype(float) + people.information,
    )
    alone = _log_marginal(*pictures)[:, None] + _log_marginal(*people)
    ours = log_bayes_factors(pictures, people)
    assert (np.abs(ours - (together - alone)) <= DOUBLE_PRECISION_TOLERANCE * np.maximum(1, np.abs(alone))).all()


def test_pairs_are_those_of_one_pair_at_a_time() -> None:
    pictures, people = _evidence(5, 0.5, 2), _evidence(3, 1.0, 3)
    table = log_bayes_factors(pictures, people)
    for i, j in np.ndindex(5, 3):
        pair = (jax.tree.map(lambda part, k=k: part[k], side) for side, k in ((people, j), (pictures, i)))
        assert table[i, j] == pytest.approx(float(log_bayes_factor(*pair)), abs=DOUBLE_PRECISION_TOLERANCE)


def test_a_pair_gets_the_same_bits_in_any_company() -> None:
    pictures, people = _evidence(1030, 0.5, 4), _evidence(70, 1.0, 5)
    company = ((people, [69, 0, 64, 2, 33]), (Evidence(*(part[:3] for part in people)), [1]))
    for everyone, chosen in company:
        whole = log_bayes_factors(pictures, everyone)
        some = log_bayes_factors(*(Evidence(*(part[at] for part in side)) for side, at in
                                   ((pictures, [1029, 3]), (everyone, chosen))))  # fmt: skip
        np.testing.assert_array_equal(some, whole[np.ix_([1029, 3], chosen)])


def test_best_match_margin_and_probabilities_by_hand() -> None:
    odds = np.array([[8.0, 2.0, 1.0], [0.1, 0.1, 0.1]])
    found = best_matches(np.log(odds).astype(np.float32), none_prior=0.4)
    assert found.best.tolist() == [0, 0]
    np.testing.assert_allclose(found.margin, [np.log(4), 0], atol=1e-6)
    total = 0.4 + 0.2 * odds.sum(axis=1)
    np.testing.assert_allclose(found.probability, 0.2 * odds[:, 0] / total, rtol=1e-5)
    np.testing.assert_allclose(found.none_probability, 0.4 / total, rtol=1e-5)


def test_probabilities_bear_any_bayes_factor() -> None:
    found = best_matches(np.array([[500.0, -500.0], [-500.0, -900.0]], np.float32))
    np.testing.assert_allclose(found.probability, [1, 0], atol=1e-6)
    np.testing.assert_allclose(found.none_probability, [0, 1], atol=1e-6)
    assert best_matches(np.array([[-3.0]], np.float32), none_prior=0.0).probability[0] == 1


def test_people_are_found_again() -> None:
    people = _evidence(6, 20.0, 6)
    found = match_people(people, people)
    assert found.best.tolist() == list(range(6))
    assert (found.margin > 5).all()
    assert (found.probability > 0.99).all()


def test_one_person_has_no_rival() -> None:
    found = match_people(_evidence(4, 1.0, 7), _evidence(1, 1.0, 8))
    assert (found.best == 0).all()
    assert np.isposinf(found.margin).all()


def test_a_picture_that_says_nothing_keeps_the_prior() -> None:
    nothing = Evidence(np.zeros((1, 10, 10), np.float32), np.zeros((1, 10), np.float32))
    found = match_people(nothing, _evidence(4, 2.0, 9), none_prior=0.5)
    assert found.margin[0] == pytest.approx(0, abs=1e-4)
    assert found.probability[0] == pytest.approx(0.125, abs=1e-4)


def test_frames_of_one_clip_count_as_one_picture_and_pictures_on_their_own_add_up() -> None:
    pictures = _evidence(6, 1.0, 10)
    group = np.array([0, 0, 0, 1, 2, 3])
    apart = fuse_groups(pictures, np.arange(6))
    np.testing.assert_allclose(apart.precision, fuse(pictures).precision, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fuse_groups(pictures, group, 0.0).information, apart.information, rtol=1e-5)
    one = fuse_groups(pictures, group, 1.0)
    expected = pictures.information[:3].mean(axis=0) + pictures.information[3:].sum(axis=0)
    np.testing.assert_allclose(one.information, expected, rtol=1e-4, atol=1e-5)


def test_the_discount_is_exact_for_errors_that_are_equally_correlated() -> None:
    """The sum of n equally precise observations with correlation ρ, as generalised least squares weighs it."""
    count, correlation, seen = 5, 0.6, np.array([0.3, -0.2, 0.9, 0.4, 0.1])
    covariance = (1 - correlation) * np.eye(count) + correlation
    ones = np.linalg.solve(covariance, np.ones(count))
    pictures = Evidence(np.ones((count, 1, 1), np.float32), seen[:, None].astype(np.float32))
    ours = fuse_groups(pictures, np.zeros(count, int), correlation)
    assert ours.precision[0, 0] == pytest.approx(ones.sum(), rel=1e-5)
    assert ours.information[0] == pytest.approx(ones @ seen, rel=1e-5)


def test_a_picture_that_says_nothing_costs_its_group_nothing() -> None:
    pictures = _evidence(3, 1.0, 11)
    blank = Evidence(*(np.concatenate([part, 0 * part[:2]]) for part in pictures))
    whole, part = fuse_groups(blank, np.zeros(5, int)), fuse_groups(pictures, np.zeros(3, int))
    np.testing.assert_array_equal(whole.precision, part.precision)


def test_mistakes_are_named() -> None:
    pictures = _evidence(2, 1.0, 12)
    with pytest.raises(ValueError, match="at least one person"):
        best_matches(np.zeros((2, 0), np.float32))
    with pytest.raises(ValueError, match="none of them"):
        best_matches(np.zeros((2, 1), np.float32), none_prior=1.0)
    with pytest.raises(ValueError, match="correlation"):
        fuse_groups(pictures, np.zeros(2, int), 1.5)
    with pytest.raises(ValueError, match="group number"):
        fuse_groups(pictures, np.zeros(3, int))
