"""Unit quaternions against scipy, near zero and at π too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from engine.body import quaternions

TOLERANCE = 1e-10
ANGLES = (0.0, 1e-12, 1e-4, 0.0316, 0.0317, 1.3, np.pi - 1e-9, np.pi)
AXES = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [2.0, -3.0, 6.0], [-1.0, 1.0, 1.0]])
VECTORS = np.array([angle * axis / np.linalg.norm(axis) for angle in ANGLES for axis in AXES])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _scalar_first(rotation: Rotation) -> np.ndarray:
    return rotation.as_quat(scalar_first=True)


def _same_rotation(first: np.ndarray, second: np.ndarray) -> None:
    sign = np.sign(np.sum(first * second, axis=-1, keepdims=True))
    np.testing.assert_allclose(first, sign * second, atol=TOLERANCE)


def test_conversions_agree_with_scipy() -> None:
    oracle = Rotation.from_rotvec(VECTORS)
    made = np.asarray(jax.vmap(quaternions.from_rotation_vector)(jnp.asarray(VECTORS)))
    _same_rotation(made, _scalar_first(oracle))
    np.testing.assert_allclose(jax.vmap(quaternions.to_matrix)(made), oracle.as_matrix(), atol=TOLERANCE)
    _same_rotation(np.asarray(jax.vmap(quaternions.from_matrix)(jnp.asarray(oracle.as_matrix()))), made)


def test_rotation_vectors_survive_the_way_there_and_back() -> None:
    back = jax.vmap(lambda v: quaternions.to_rotation_vector(quaternions.from_rotation_vector(v)))(VECTORS)
    # At π the vector and its opposite are one rotation.
    _same_rotation(_scalar_first(Rotation.from_rotvec(np.array(back))), _scalar_first(Rotation.from_rotvec(VECTORS)))
    assert (np.linalg.norm(back, axis=1) <= np.pi + TOLERANCE).all()


def test_product_is_composition() -> None:
    first, second = Rotation.random(20, rng=1), Rotation.random(20, rng=2)
    product = jax.vmap(quaternions.multiply)(jnp.asarray(_scalar_first(first)), jnp.asarray(_scalar_first(second)))
    _same_rotation(np.asarray(product), _scalar_first(first * second))


def test_length_and_sign_do_not_matter() -> None:
    given = _scalar_first(Rotation.random(20, rng=3))
    matrices = jax.vmap(quaternions.to_matrix)(jnp.asarray(given))
    np.testing.assert_allclose(jax.vmap(quaternions.to_matrix)(jnp.asarray(-7 * given)), matrices, atol=TOLERANCE)


def test_zero_counts_as_no_rotation_and_has_finite_derivatives() -> None:
    zero = jnp.zeros(4)
    np.testing.assert_array_equal(quaternions.to_matrix(zero), np.eye(3))
    assert np.isfinite(jax.jacfwd(quaternions.to_matrix)(zero)).all()
    assert np.isfinite(jax.jacfwd(quaternions.from_rotation_vector)(jnp.zeros(3))).all()
    assert np.isfinite(jax.jacfwd(quaternions.to_rotation_vector)(jnp.array([1.0, 0, 0, 0]))).all()
