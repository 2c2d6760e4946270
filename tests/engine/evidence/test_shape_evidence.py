"""Evidence: Gaussian integrals against numerical ones, and the algebra of fusing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from engine.evidence.shape_evidence import (
    Evidence,
    fuse,
    information_bits,
    log_bayes_factor,
    log_marginal,
    posterior,
    same_body_probability,
    weaken,
)

CLOSED_FORM_TOLERANCE = 2e-4


def _evidence(seed: int, strength: float = 1.0, betas: int = 10) -> Evidence:
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(betas, betas)) * np.sqrt(strength)
    precision = root @ root.T
    return Evidence(
        jnp.asarray(precision, jnp.float32), jnp.asarray(precision @ generator.normal(size=betas), jnp.float32)
    )


_NOTHING = Evidence(jnp.zeros((10, 10)), jnp.zeros(10))


def test_log_marginal_is_the_integral_over_shapes() -> None:
    precision, information = 3.7, 1.9
    density = scipy.stats.norm.pdf

    def integrand(beta: float) -> float:
        return np.exp(information * beta - 0.5 * precision * beta**2) * density(beta)

    integral, _ = scipy.integrate.quad(integrand, -10, 10)
    evidence = Evidence(jnp.array([[precision]]), jnp.array([information]))
    assert float(log_marginal(evidence)) == pytest.approx(np.log(integral), abs=CLOSED_FORM_TOLERANCE)


def test_a_picture_that_says_nothing_changes_nothing() -> None:
    evidence = _evidence(0)
    assert float(log_marginal(_NOTHING)) == 0
    assert float(information_bits(_NOTHING)) == 0
    assert float(log_bayes_factor(evidence, _NOTHING)) == pytest.approx(0, abs=1e-5)
    np.testing.assert_array_equal(posterior(_NOTHING).mean, np.zeros(10))


def test_bayes_factor_is_symmetric_and_order_of_fusing_is_free() -> None:
    one, two = _evidence(1), _evidence(2)
    assert float(log_bayes_factor(one, two)) == pytest.approx(float(log_bayes_factor(two, one)), rel=1e-5)
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), one, two)
    swapped = jax.tree.map(lambda *parts: jnp.stack(parts), two, one)
    np.testing.assert_allclose(fuse(stacked).precision, fuse(swapped).precision)


def test_agreeing_pictures_speak_for_one_body_and_disagreeing_against() -> None:
    precision = 50 * jnp.eye(10)
    shape = jnp.linspace(-1, 1, 10)
    reference = Evidence(precision, precision @ shape)
    assert float(log_bayes_factor(reference, reference)) > 5
    assert float(log_bayes_factor(reference, Evidence(precision, -precision @ shape))) < -5


def test_bayes_factor_of_samples_is_calibrated() -> None:
    """Among pairs with log B near a value, the odds of a same pair are exp(that value): it is a likelihood ratio."""
    generator = np.random.default_rng(3)
    precision = np.diag([2.0, 1.0, 0.5])
    noise = np.linalg.inv(precision)
    count = 40_000
    reference, other = generator.normal(size=(2, count, 3))
    same = np.arange(count) % 2 == 0
    truth = np.where(same[:, None], reference, other)
    seen = [shape + generator.multivariate_normal(np.zeros(3), noise, count) for shape in (reference, truth)]
    stacked = np.broadcast_to(precision, (count, 3, 3)).astype(np.float32)
    pair = [Evidence(stacked, (shape @ precision).astype(np.float32)) for shape in seen]
    probability = np.asarray(same_body_probability(jax.jit(jax.vmap(log_bayes_factor))(*pair)))
    edges = np.linspace(0, 1, 11)
    for low, high in itertools.pairwise(edges):
        inside = (probability >= low) & (probability < high)
        if inside.sum() > 500:
            assert abs(same[inside].mean() - probability[inside].mean()) < 0.06


def test_weakening_is_the_precision_of_two_noises_in_a_row() -> None:
    evidence, within = _evidence(5), jnp.diag(jnp.linspace(0.1, 1, 10))
    weakened = weaken(evidence, within)
    expected = np.linalg.inv(np.linalg.inv(np.asarray(evidence.precision, float)) + np.asarray(within, float))
    np.testing.assert_allclose(weakened.precision, expected, atol=1e-3)
    assert float(information_bits(weakened)) < float(information_bits(evidence))


def test_weakening_by_nothing_changes_nothing_and_bears_singular_evidence() -> None:
    evidence = Evidence(jnp.zeros((10, 10)).at[0, 0].set(4.0), jnp.zeros(10).at[0].set(2.0))
    same = weaken(evidence, jnp.zeros((10, 10)))
    np.testing.assert_allclose(same.precision, evidence.precision)
    assert np.isfinite(weaken(evidence, jnp.eye(10)).precision).all()


def test_posterior_shrinks_towards_the_mean_person() -> None:
    evidence = Evidence(3.0 * jnp.eye(10), 3.0 * jnp.ones(10))
    np.testing.assert_allclose(posterior(evidence).mean, np.full(10, 0.75), rtol=1e-5)
    np.testing.assert_allclose(posterior(evidence).covariance, np.eye(10) / 4, rtol=1e-5, atol=1e-7)
