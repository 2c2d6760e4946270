"""Elimination without LAPACK against LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.solvers.small_systems import (
    log_gaussian_integral,
    lower_triangle,
    positive_diagonal,
    solve_and_log_determinant,
    solve_and_weigh,
    solve_positive,
    whitening_factor,
)

SIZES = (1, 2, 7, 40)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _positive(size: int) -> np.ndarray:
    """Eigenvalues over six decades."""
    generator = np.random.default_rng(size)
    axes, _ = np.linalg.qr(generator.normal(size=(size, size)))
    return (axes * np.geomspace(1e-3, 1e3, size)) @ axes.T


@pytest.mark.parametrize("size", SIZES)
def test_solution_is_that_of_lapack(size: int) -> None:
    matrix, right = _positive(size), np.random.default_rng(0).normal(size=(size, 3))
    expected = np.linalg.solve(matrix, right)
    np.testing.assert_allclose(solve_positive(jnp.asarray(matrix), jnp.asarray(right)), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("size", SIZES)
def test_solution_and_log_determinant_are_those_of_lapack(size: int) -> None:
    matrix, right = _positive(size), np.random.default_rng(0).normal(size=(size, 3))
    solved, log_determinant = solve_and_log_determinant(jnp.asarray(matrix), jnp.asarray(right), jnp.asarray(1e-4))
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, right), rtol=1e-8, atol=1e-8)
    assert float(log_determinant) == pytest.approx(np.linalg.slogdet(matrix)[1], abs=1e-9)


def test_pivots_do_not_fall_below_the_smallest_eigenvalue() -> None:
    rounded = jnp.array([[1.0, 1.0], [1.0, 1.0 - 1e-12]])
    _, log_determinant = solve_and_log_determinant(rounded, jnp.ones((2, 1)), jnp.asarray(1e-6))
    assert float(log_determinant) == pytest.approx(np.log(1e-6))


@pytest.mark.parametrize("size", SIZES[:3])
def test_gaussian_integral_is_that_of_lapack(size: int) -> None:
    matrix, right = np.eye(size) + _positive(size), np.random.default_rng(0).normal(size=size)
    expected = 0.5 * (right @ np.linalg.solve(matrix, right) - np.linalg.slogdet(matrix)[1])
    entries = {entry: jnp.asarray(matrix[entry]) for entry in lower_triangle(size)}
    assert float(log_gaussian_integral(entries, list(jnp.asarray(right)))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_factor_whitens(size: int) -> None:
    matrix = _positive(size)
    factor = np.asarray(whitening_factor(jnp.asarray(matrix)))
    np.testing.assert_allclose(factor.T @ matrix @ factor, np.eye(size), atol=1e-9)
    np.testing.assert_allclose(factor, np.linalg.inv(np.linalg.cholesky(matrix)).T, rtol=1e-6, atol=1e-8)


def test_a_matrix_that_is_not_positive_has_no_factor() -> None:
    assert not np.isfinite(whitening_factor(jnp.diag(jnp.array([1.0, -1.0])))).all()


def test_unknowns_that_nothing_depends_on_stay() -> None:
    matrix = positive_diagonal(jnp.diag(jnp.array([2.0, 0.0])))
    np.testing.assert_array_equal(solve_positive(matrix, jnp.array([[4.0], [0.0]])), [[2.0], [0.0]])


def test_solution_quadratic_and_determinant_of_a_loop() -> None:
    draw = np.random.default_rng(3)
    root, right = draw.normal(size=(6, 6)), draw.normal(size=6)
    matrix = np.eye(6) + root @ root.T
    solved, quadratic, log_determinant = solve_and_weigh(jnp.asarray(matrix), jnp.asarray(right))
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, right), rtol=1e-9)
    assert float(quadratic) == pytest.approx(right @ np.linalg.solve(matrix, right), rel=1e-9)
    assert float(log_determinant) == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-9)
