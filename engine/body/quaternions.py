"""Unit quaternions (w, x, y, z): the global orientation of a person, without a singularity at π or anywhere else.

A quaternion and its negative are one rotation. Functions take any non-zero quaternion and normalise it, so that a
general solver may add to its four numbers.

Source: Solà, "Quaternion kinematics for the error-state Kalman filter", 2017, sections 1-2.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from engine.batching import AnyArray

# Below this |r|² the series' next term is under float32's rounding.
_SMALL_ANGLE_SQUARED = 1e-3


def normalise(quaternion: Float[AnyArray, "4"]) -> Float[Array, "4"]:
    """The unit quaternion in the same direction; the identity for the zero quaternion."""
    squared = jnp.sum(quaternion**2)
    zero = squared == 0
    unit = quaternion / jnp.sqrt(jnp.where(zero, 1.0, squared))
    return jnp.where(zero, jnp.array([1.0, 0.0, 0.0, 0.0], quaternion.dtype), unit)


def multiply(left: Float[AnyArray, "4"], right: Float[AnyArray, "4"]) -> Float[Array, "4"]:
    """The rotation ``right`` followed by ``left``."""
    a, b, c, d = left
    w, x, y, z = right
    return jnp.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ]
    )


def from_rotation_vector(rotation_vector: Float[AnyArray, "3"]) -> Float[Array, "4"]:
    """The unit quaternion of a rotation vector in radians."""
    squared = jnp.sum(rotation_vector**2)
    small = squared < _SMALL_ANGLE_SQUARED
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))
    # sin(a/2)/a and cos(a/2)
    ratio = jnp.where(small, 0.5 - squared / 48 + squared**2 / 3840, jnp.sin(angle / 2) / angle)
    cosine = jnp.where(small, 1 - squared / 8 + squared**2 / 384, jnp.cos(angle / 2))
    return jnp.concatenate([cosine[None], ratio * rotation_vector])


def to_matrix(quaternion: Float[AnyArray, "4"]) -> Float[Array, "3 3"]:
    """The rotation matrix."""
    w, x, y, z = normalise(quaternion)
    return jnp.stack(
        [
            jnp.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            jnp.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            jnp.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )


def from_matrix(matrix: Float[Array, "3 3"]) -> Float[Array, "4"]:
    """The unit quaternion of a rotation matrix (Shepperd's method: the largest component is found first)."""
    m = matrix
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    skew = jnp.stack([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    squares = jnp.concatenate([trace[None], 2 * jnp.diagonal(m) - trace])
    # Row i is four times component i times the quaternion.
    outer = jnp.block([[jnp.zeros((1, 1), m.dtype), skew[None]], [skew[:, None], m + m.T]])
    rows = outer * (1 - jnp.eye(4, dtype=m.dtype)) + jnp.diag(1 + squares)
    return normalise(rows[jnp.argmax(squares)])


def to_rotation_vector(quaternion: Float[AnyArray, "4"]) -> Float[Array, "3"]:
    """The rotation vector in radians, of length π at most."""
    unit = normalise(quaternion)
    unit = jnp.where(unit[0] < 0, -unit, unit)
    cosine, vector = unit[0], unit[1:]
    squared = jnp.sum(vector**2)
    small = squared < _SMALL_ANGLE_SQUARED
    sine = jnp.sqrt(jnp.where(small, 1.0, squared))
    # a / sin(a/2); near zero a/2 = asin(sine) is a series in sine².
    ratio = jnp.where(small, 2 + squared / 3 + 3 * squared**2 / 20, 2 * jnp.arctan2(sine, cosine) / sine)
    return ratio * vector
