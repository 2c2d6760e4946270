"""Rotations in three dimensions: rotation vectors, matrices, and the derivative between them.

A rotation vector r turns by |r| radians about r/|r| (Rodrigues). All functions take one rotation, are exact near zero
(Taylor branch) and have finite derivatives there: the branch not taken is fed a harmless argument, because JAX
differentiates both sides of a ``where``.

Source: Solà, Deray, Atchuthan, "A micro Lie theory for state estimation in robotics", 2018, appendix B.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Below this |r|² the series' next term is smaller than float32's rounding, and above it the closed form has not yet
# lost digits to cancellation.
_SMALL_ANGLE_SQUARED = 1e-3


def skew(vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The matrix of the cross product: ``skew(a) @ b == cross(a, b)``."""
    x, y, z = vector
    zero = jnp.zeros_like(x)
    return jnp.stack([jnp.stack([zero, -z, y]), jnp.stack([z, zero, -x]), jnp.stack([-y, x, zero])])


def _angle_coefficients(
    rotation_vector: Float[Array, "3"],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """sin(a)/a, (1 − cos a)/a² and (a − sin a)/a³ for a = |r|."""
    squared = jnp.sum(rotation_vector**2)
    small = squared < _SMALL_ANGLE_SQUARED
    safe_squared = jnp.where(small, 1.0, squared)
    angle = jnp.sqrt(safe_squared)
    sine_over_angle = jnp.where(small, 1 - squared / 6 + squared**2 / 120, jnp.sin(angle) / angle)
    versine = jnp.where(small, 0.5 - squared / 24 + squared**2 / 720, (1 - jnp.cos(angle)) / safe_squared)
    cubic = jnp.where(small, 1 / 6 - squared / 120, (angle - jnp.sin(angle)) / (safe_squared * angle))
    return sine_over_angle, versine, cubic


def rotation_matrix(rotation_vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The matrix of a rotation vector in radians (Rodrigues' formula)."""
    sine_over_angle, versine, _ = _angle_coefficients(rotation_vector)
    cross = skew(rotation_vector)
    # r rᵀ − |r|² I is cross², written out: one rounding fewer and no 3×3 product.
    outer = jnp.outer(rotation_vector, rotation_vector)
    cross_squared = outer - jnp.sum(rotation_vector**2) * jnp.eye(3, dtype=rotation_vector.dtype)
    return jnp.eye(3, dtype=rotation_vector.dtype) + sine_over_angle * cross + versine * cross_squared


def left_jacobian(rotation_vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """J with exp(r + δ) ≈ exp(J δ) exp(r): how a change of the vector turns the body in the outer frame."""
    _, versine, cubic = _angle_coefficients(rotation_vector)
    cross = skew(rotation_vector)
    cross_squared = jnp.outer(rotation_vector, rotation_vector) - jnp.sum(rotation_vector**2) * jnp.eye(
        3, dtype=rotation_vector.dtype
    )
    return jnp.eye(3, dtype=rotation_vector.dtype) + versine * cross + cubic * cross_squared
