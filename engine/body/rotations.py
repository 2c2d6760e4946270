"""Rotations in three dimensions: rotation vectors, matrices, and the derivative between them.

A rotation vector r turns by |r| radians about r/|r| (Rodrigues). All functions take one rotation, are exact near zero
(Taylor branch) and have finite derivatives there: the branch not taken is fed a harmless argument, because JAX
differentiates both sides of a ``where``.

Source: Solà, Deray, Atchuthan, "A micro Lie theory for state estimation in robotics", 2018, appendix B.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Below this |r|² the Taylor series are used: their first missing terms are below 1e-17 there, so both branches are
# exact to rounding in float64 as well as in float32.
_SMALL_ANGLE_SQUARED = 1e-3


def skew(vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The matrix of the cross product: ``skew(a) @ b == cross(a, b)``."""
    x, y, z = vector
    zero = jnp.zeros_like(x)
    return jnp.stack([jnp.stack([zero, -z, y]), jnp.stack([z, zero, -x]), jnp.stack([-y, x, zero])])


def _series(x: Float[Array, ""], first: int, second: int, third: int) -> Float[Array, ""]:
    """1 − x/first + x²/second − x³/third."""
    return 1 - x * (1 / first - x * (1 / second - x / third))


def _angle_coefficients(
    rotation_vector: Float[Array, "3"],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """sin(a)/a, (1 − cos a)/a² and (a − sin a)/a³ for a = |r|."""
    squared = jnp.sum(rotation_vector**2)
    small = squared < _SMALL_ANGLE_SQUARED
    safe_squared = jnp.where(small, 1.0, squared)
    angle = jnp.sqrt(safe_squared)
    half_sine = jnp.sin(angle / 2) / angle
    # 1 − cos a is taken as 2 sin²(a/2): the difference would lose most digits of its derivative near the branch.
    sine_over_angle = jnp.where(small, _series(squared, 6, 120, 5040), jnp.sin(angle) / angle)
    versine = jnp.where(small, _series(squared, 12, 360, 20160) / 2, 2 * half_sine**2)
    cubic = jnp.where(small, _series(squared, 20, 840, 60480) / 6, (angle - jnp.sin(angle)) / (safe_squared * angle))
    return sine_over_angle, versine, cubic


def rotation_matrix(rotation_vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The matrix of a rotation vector in radians (Rodrigues' formula)."""
    sine_over_angle, versine, _ = _angle_coefficients(rotation_vector)
    return _blend(rotation_vector, sine_over_angle, versine)


def left_jacobian(rotation_vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """J with exp(r + δ) ≈ exp(J δ) exp(r): the turn in the outer frame for a change of the vector."""
    _, versine, cubic = _angle_coefficients(rotation_vector)
    return _blend(rotation_vector, versine, cubic)


def _blend(
    rotation_vector: Float[Array, "3"], first: Float[Array, ""], second: Float[Array, ""]
) -> Float[Array, "3 3"]:
    """I + first · [r]× + second · [r]×²."""
    identity = jnp.eye(3, dtype=rotation_vector.dtype)
    # [r]×² = r rᵀ − |r|² I, written out: one rounding fewer and no 3×3 product.
    cross_squared = jnp.outer(rotation_vector, rotation_vector) - jnp.sum(rotation_vector**2) * identity
    return identity + first * skew(rotation_vector) + second * cross_squared
