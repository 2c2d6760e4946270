"""Laws of rotations, and scipy and the power series as oracles; always near zero, at the branch and at π too."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy.spatial.transform import Rotation

from engine.body.rotations import _SMALL_ANGLE_SQUARED, left_jacobian, rotation_matrix, skew

BRANCH = math.sqrt(_SMALL_ANGLE_SQUARED)
ANGLES = {
    "zero": 0.0,
    "1e-30": 1e-30,
    "1e-8": 1e-8,
    "1e-4": 1e-4,
    "below branch": BRANCH * (1 - 1e-6),
    "above branch": BRANCH * (1 + 1e-6),
    "generic": 1.234,
    "below π": math.pi - 1e-6,
    "π": math.pi,
    "above π": math.pi + 1e-6,
    "2π": 2 * math.pi,
    "several turns": 20.0,
}
AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, -0.8], [2.0, -3.0, 6.0], [-1.0, 1.0, 1.0]])
AXES /= np.linalg.norm(AXES, axis=1, keepdims=True)
UNIT_ROUNDOFF = {np.float32: 2.0**-24, np.float64: 2.0**-53}

FORWARD, REVERSE = jax.jacfwd(rotation_matrix), jax.jacrev(rotation_matrix)
SECOND, LEFT_FORWARD = jax.jacfwd(REVERSE), jax.jacfwd(left_jacobian)

angles = pytest.mark.parametrize("angle", ANGLES.values(), ids=ANGLES.keys())
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@functools.cache
def _compiled(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return jax.jit(jax.vmap(function))


def _at(function: Callable[[Array], Array], vectors: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """A function of one rotation vector at many, computed in ``dtype``."""
    with jax.enable_x64(dtype == np.float64):
        result = np.asarray(_compiled(function)(jnp.asarray(vectors, dtype)))
    assert result.dtype == dtype
    return result


def _power_series(vector: np.ndarray, first_factorial: int) -> np.ndarray:
    """Σ [r]ⁿ / (n + first_factorial)!: the rotation for 0, its left Jacobian for 1."""
    cross = np.cross(np.eye(3), -vector).T
    term, total = np.eye(3), np.zeros((3, 3))
    for n in range(60):
        total += term / math.factorial(n + first_factorial)
        term = term @ cross
    return total


@angles
@dtypes
def test_matrices_are_scipys(angle, dtype):
    # A vector that is rounded to float32 turns by another angle; the oracle gets the rounded one.
    vectors = (angle * AXES).astype(dtype)
    expected = Rotation.from_rotvec(vectors.astype(np.float64)).as_matrix()
    error = np.abs(_at(rotation_matrix, vectors, dtype) - expected).max()
    assert error <= (8 + 2 * angle) * UNIT_ROUNDOFF[dtype]


@angles
@dtypes
def test_matrices_are_rotations(angle, dtype):
    matrices = _at(rotation_matrix, angle * AXES, dtype).astype(np.float64)
    tolerance = 16 * UNIT_ROUNDOFF[dtype]
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=tolerance)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=tolerance)


@angles
@pytest.mark.parametrize("other", [0.0, 1e-4, BRANCH, 0.5, -2.0])
def test_turns_about_one_axis_add(angle, other):
    product = _at(rotation_matrix, angle * AXES) @ _at(rotation_matrix, other * AXES)
    np.testing.assert_allclose(product, _at(rotation_matrix, (angle + other) * AXES), rtol=0, atol=1e-14)


@angles
def test_the_opposite_vector_turns_back(angle):
    forth, back = _at(rotation_matrix, angle * AXES), _at(rotation_matrix, -angle * AXES)
    np.testing.assert_array_equal(forth, back.transpose(0, 2, 1))


@angles
def test_the_axis_stays(angle):
    turned = np.einsum("nab,nb->na", _at(rotation_matrix, angle * AXES), AXES)
    np.testing.assert_allclose(turned, AXES, rtol=0, atol=1e-15)


@pytest.mark.parametrize("angle", [angle for angle in ANGLES.values() if angle < 4])
@dtypes
def test_left_jacobian_is_its_power_series(angle, dtype):
    vectors = (angle * AXES).astype(dtype)
    expected = np.stack([_power_series(vector.astype(np.float64), 1) for vector in vectors])
    np.testing.assert_allclose(_at(left_jacobian, vectors, dtype), expected, rtol=0, atol=16 * UNIT_ROUNDOFF[dtype])


@angles
@pytest.mark.parametrize("derivative_of", [FORWARD, REVERSE], ids=["forward", "reverse"])
def test_left_jacobian_is_the_derivative_of_the_matrix(angle, derivative_of):
    # Column k of J is the axis of (∂R/∂r_k) Rᵀ.
    derivative = _at(derivative_of, angle * AXES)
    spin = np.einsum("nabk,ncb->nack", derivative, _at(rotation_matrix, angle * AXES))
    columns = np.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]], axis=1)
    np.testing.assert_allclose(columns, _at(left_jacobian, angle * AXES), rtol=0, atol=1e-13)


@angles
def test_derivatives_are_finite_and_differences_confirm_them(angle):
    step = 1e-5
    exact = _at(FORWARD, angle * AXES)
    for k in range(3):
        difference = step * np.eye(3)[k]
        plus, minus = (_at(rotation_matrix, angle * AXES + sign * difference) for sign in (1, -1))
        np.testing.assert_allclose(exact[..., k], (plus - minus) / (2 * step), rtol=0, atol=1e-9)


@angles
@dtypes
def test_second_derivatives_are_finite(angle, dtype):
    assert np.isfinite(_at(SECOND, angle * AXES, dtype)).all()
    assert np.isfinite(_at(LEFT_FORWARD, angle * AXES, dtype)).all()


@pytest.mark.parametrize(
    "function", [rotation_matrix, left_jacobian, FORWARD], ids=["matrix", "jacobian", "derivative"]
)
@dtypes
def test_nothing_jumps_at_the_branch(function, dtype):
    # Ten neighbouring angles on each side: they differ by less than rounding, and so must the results.
    eps = 2 * UNIT_ROUNDOFF[dtype]
    around = BRANCH * (1 + eps * np.arange(-10, 11))
    sides = [_at(function, np.outer(around, axis), dtype) for axis in AXES]
    for values in sides:
        assert np.ptp(values, axis=0).max() <= 40 * eps


def test_float32_derivatives_keep_their_digits_around_the_branch():
    for angle in np.geomspace(BRANCH / 4, BRANCH * 4, 17):
        vectors = (angle * AXES).astype(np.float32)
        low, high = (_at(FORWARD, vectors, dtype) for dtype in (np.float32, np.float64))
        np.testing.assert_allclose(low, high, rtol=0, atol=3e-7)


def test_skew_is_the_cross_product():
    a, b = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_allclose(skew(jnp.asarray(a)) @ b, np.cross(a, b), rtol=1e-6)
