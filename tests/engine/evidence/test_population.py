"""The population as a detector shows it: recovered, as a dense Gaussian, monotone, robust where evidence is weak."""

import numpy as np
import pytest

from engine.evidence.population import Population, body_population, bounded_evidence, covariance_root, whitened
from engine.evidence.population_estimate import Strength, estimate_population, log_likelihood
from engine.evidence.shape_evidence import Evidence

LIKELIHOOD_TOLERANCE = 1e-9
ROUNDING = 1e-6
BETAS = 4
TRUTH = Population(
    np.array([1.5, -1.0, 0.0, 0.5]),
    np.diag([1.5, 0.6, 1.0, 0.8]) + 0.2,
    np.diag([0.3, 0.1, 0.2, 0.4]),
    1.5,
)


def _pictures(people: int, pictures: int, rank: int = 3, roots: float = 3.0) -> tuple[Evidence, np.ndarray]:
    draw = np.random.default_rng(3)
    person = np.repeat(np.arange(people), pictures)
    shapes = draw.multivariate_normal(TRUTH.mean, TRUTH.between, people)[person]
    shapes = shapes + draw.multivariate_normal(np.zeros(BETAS), TRUTH.within, len(person))
    seen = roots * draw.normal(size=(len(person), rank, BETAS)) / np.sqrt(BETAS)
    values = np.einsum("nrb,nb->nr", seen, shapes) + TRUTH.noise_scale * draw.normal(size=(len(person), rank))
    return Evidence(np.einsum("nrb,nrc->nbc", seen, seen), np.einsum("nrb,nr->nb", seen, values)), person


def test_likelihood_is_that_of_the_dense_gaussian() -> None:
    draw = np.random.default_rng(0)
    seen, values = draw.normal(size=(3, 2, BETAS)), draw.normal(size=(3, 2))
    evidence = Evidence(np.einsum("nrb,nrc->nbc", seen, seen), np.einsum("nrb,nr->nb", seen, values))
    noise = np.array([1.0, 2.0, 1.0])
    rows = seen.reshape(6, BETAS)
    covariance = rows @ TRUTH.between @ rows.T + np.diag(np.repeat(TRUTH.noise_scale * noise, 2) ** 2)
    for i in range(3):
        at = slice(2 * i, 2 * i + 2)
        covariance[at, at] += seen[i] @ TRUTH.within @ seen[i].T
    away = values.reshape(-1) - rows @ TRUTH.mean
    expected = -0.5 * (away @ np.linalg.solve(covariance, away) + np.linalg.slogdet(covariance)[1])
    ours = 3 * log_likelihood(evidence, np.zeros(3, int), TRUTH, noise=noise)
    assert ours == pytest.approx(expected, rel=LIKELIHOOD_TOLERANCE)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_penalised_likelihood_never_decreases(labelled) -> None:
    evidence, person = _pictures(people=12, pictures=4)
    weights = np.random.default_rng(1).uniform(0.2, 1.0, len(person))
    found = estimate_population(evidence, person if labelled else None, weights)
    assert len(found.objective) > 5
    assert np.diff(found.objective).min() > -ROUNDING


@pytest.mark.parametrize("seed", [2, 10, 13, 14, 21, 33, 42])
def test_evidence_of_any_rank_and_strength_neither_fails_nor_loses(seed) -> None:
    draw = np.random.default_rng(seed)
    count, betas = int(draw.integers(6, 60)), int(draw.integers(2, 11))
    person, rank = np.arange(count) // int(draw.integers(1, 4)), int(draw.integers(1, betas + 1))
    roots = 10 ** draw.uniform(-3, 5) * draw.normal(size=(count, rank, betas))
    if seed % 3 == 0:
        roots[:, :, -1] = 0
    shapes = draw.normal(size=(count, betas)) * 10 ** draw.uniform(-3, 2)
    values = np.einsum("nrk,nk->nr", roots, shapes) + draw.normal(size=(count, rank)) * 10 ** draw.uniform(-4, 2)
    evidence = Evidence(np.einsum("nra,nrb->nab", roots, roots), np.einsum("nra,nr->na", roots, values))
    found = estimate_population(Evidence(*(part.astype(np.float32) for part in evidence)), person)
    assert np.isfinite(found.objective).all()
    assert np.all(np.diff(found.objective) >= -ROUNDING * np.abs(found.objective).max())
    covariance_root(found.population.between)
    covariance_root(found.population.within)


def test_what_was_put_in_is_found() -> None:
    evidence, person = _pictures(people=400, pictures=6)
    found = estimate_population(evidence, person, iterations=200).population
    np.testing.assert_allclose(found.mean, TRUTH.mean, atol=0.15)
    np.testing.assert_allclose(found.between, TRUTH.between, atol=0.3)
    np.testing.assert_allclose(np.diag(found.within), np.diag(TRUTH.within), atol=0.15)
    assert found.noise_scale == pytest.approx(TRUTH.noise_scale, rel=0.1)


def test_two_hundred_pictures_of_unknown_people_show_the_mean() -> None:
    evidence, _ = _pictures(people=200, pictures=1)
    found = estimate_population(evidence).population
    np.testing.assert_allclose(found.mean, TRUTH.mean, atol=0.35)
    np.testing.assert_array_equal(found.between, np.eye(BETAS))


def test_few_pictures_leave_the_prior_population_nearly_as_it_was() -> None:
    evidence, person = _pictures(people=2, pictures=1)
    found = estimate_population(evidence, person, strength=Strength(mean=200.0, people=200.0)).population
    assert np.abs(found.mean).max() < 0.2
    np.testing.assert_allclose(found.between, np.eye(BETAS), atol=0.2)


def test_evidence_wider_than_the_prior_and_fits_that_failed_do_no_harm() -> None:
    evidence, person = _pictures(people=40, pictures=4)
    precision, information = evidence.precision.copy(), evidence.information.copy()
    precision[0] -= 8 * np.eye(BETAS)
    precision[1], information[1] = 0.0, 1e6
    information[2] *= 1e4
    spoilt = estimate_population(Evidence(precision, information), person)
    assert np.diff(spoilt.objective).min() > -ROUNDING
    whole = estimate_population(evidence, person)
    # One of forty people, ten standard deviations away, may move the mean by a few tenths.
    np.testing.assert_allclose(spoilt.population.mean, whole.population.mean, atol=0.5)
    bounded = bounded_evidence(Evidence(precision, information))
    assert np.linalg.eigvalsh(bounded.precision).min() > -ROUNDING
    assert not bounded.information[1].any()


def test_pictures_that_count_half_are_counted_half() -> None:
    evidence, person = _pictures(people=30, pictures=3)
    twice = Evidence(*(np.repeat(part, 2, axis=0) for part in evidence))
    once = estimate_population(evidence, person)
    halves = estimate_population(twice, np.repeat(person, 2), np.full(2 * len(person), 0.5))
    np.testing.assert_allclose(halves.population.mean, once.population.mean, atol=ROUNDING)
    np.testing.assert_allclose(halves.population.between, once.population.between, atol=ROUNDING)


def test_whitened_evidence_has_the_same_likelihood_ratio() -> None:
    root = covariance_root(TRUTH.between)
    np.testing.assert_allclose(root @ root.T, TRUTH.between, atol=ROUNDING)
    evidence, _ = _pictures(people=1, pictures=1)
    precision, information = (part[0] for part in whitened(evidence, TRUTH.mean, root))
    x = np.array([0.3, -0.2, 1.0, 0.5])

    def log(precision: np.ndarray, information: np.ndarray, at: np.ndarray) -> float:
        return information @ at - 0.5 * at @ precision @ at

    raw = [log(evidence.precision[0], evidence.information[0], TRUTH.mean + root @ at) for at in (x, 0 * x)]
    ours = [log(precision, information, at) for at in (x, 0 * x)]
    assert ours[0] - ours[1] == pytest.approx(raw[0] - raw[1])


def test_a_matrix_that_is_no_covariance_has_no_root() -> None:
    with pytest.raises(ValueError, match="positive definite"):
        covariance_root(np.diag([1.0, -1.0]))


def test_a_person_is_needed_for_every_picture() -> None:
    evidence, person = _pictures(people=3, pictures=2)
    with pytest.raises(ValueError, match="person each"):
        estimate_population(evidence, person[:-1])


def test_calibrations_of_the_embedded_body_start_from_measured_people_and_others_from_their_own(anny) -> None:
    measured = body_population(anny.fingerprint, anny.beta_count)
    covariance_root(measured.between)
    assert 0.3 < np.sqrt(np.diag(measured.between)).min()
    assert np.sqrt(np.diag(measured.between)).max() < 3
    assert np.abs(measured.between - np.eye(anny.beta_count)).max() > 0.1
    np.testing.assert_array_equal(body_population("another body", 10).between, np.eye(10))


def test_many_pictures_of_unknown_people_leave_differences_to_people() -> None:
    evidence, _ = _pictures(people=400, pictures=1)
    exact = Evidence(evidence.precision * 0.1, evidence.information * 0.1)
    prior = Population(np.zeros(BETAS), 0.2 * np.eye(BETAS), 0.02 * np.eye(BETAS))
    found = estimate_population(exact, prior=prior)
    np.testing.assert_array_equal(found.population.within, prior.within)
    np.testing.assert_array_equal(found.population.between, prior.between)
    assert found.population.noise_scale == 1.0
    assert np.diff(found.objective).min() > -ROUNDING
