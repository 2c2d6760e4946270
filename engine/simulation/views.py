"""Views: orientation of the subject towards the camera, and distance of the camera.

The orientation of the subject in the camera's frame is R_z(roll) R_x(pitch) R_y(yaw) R_posture R_tilt; a camera at
distance d sees a point at depth z (towards the camera) enlarged by d/(d − z).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from engine.body.rotations import rotation_matrix
from engine.picture.observation import REFERENCE_STATURE_M
from engine.simulation.settings import ViewSettings


def _turn(axis: int, degrees: Float[Array, ""]) -> Float[Array, "3 3"]:
    return rotation_matrix(jnp.zeros(3, degrees.dtype).at[axis].set(jnp.radians(degrees)))


def lying(side: Float[Array, ""], spin: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Posture of a subject on the ground: turned to a side, after a turn about its own axis; degrees."""
    return _turn(2, side) @ _turn(1, spin)


def orientation(
    roll: Float[Array, ""],
    pitch: Float[Array, ""],
    yaw: Float[Array, ""],
    posture: Float[Array, "3 3"],
    tilt: Float[Array, "3"],
) -> Float[Array, "3 3"]:
    """Rotation of the pelvis in the camera's frame. Angles in degrees, the tilt as a rotation vector in radians."""
    return _turn(2, roll) @ _turn(0, pitch) @ _turn(1, yaw) @ posture @ rotation_matrix(tilt)


def draw_orientation(settings: ViewSettings, tilt: Float[Array, "3"], key: Array) -> Float[Array, "3 3"]:
    """A random ``orientation``."""
    keys = jax.random.split(key, 6)
    yaw = jax.random.uniform(keys[0], minval=-180.0, maxval=180.0)
    spread = jnp.where(jax.random.uniform(keys[1]) < settings.steep_rate, 3.0, 1.0)
    pitch = spread * settings.pitch * jax.random.normal(keys[2])
    roll = spread * settings.roll * jax.random.normal(keys[3])
    lies = jax.random.uniform(keys[4]) < settings.lying_rate
    spin = jax.random.uniform(keys[5], (2,), minval=-180.0, maxval=180.0)
    down = lying(jnp.where(spin[0] < 0, 90.0, -90.0), spin[1])
    return orientation(roll, pitch, yaw, jnp.where(lies, down, jnp.eye(3, dtype=down.dtype)), tilt)


def draw_inverse_distance(settings: ViewSettings, key: Array) -> Float[Array, ""]:
    """One over the distance between camera and pelvis, 1/metres; 0 is weak perspective."""
    chosen, place = jax.random.uniform(key, (2,))
    nearest = 1 / (settings.nearest_statures * REFERENCE_STATURE_M)
    return jnp.where(chosen < settings.perspective_rate, nearest * place, 0.0)


def project(
    keypoints_m: Float[Array, "keypoints 3"], inverse_distance: Float[Array, ""]
) -> Float[Array, "keypoints 2"]:
    """Image coordinates in metres at the pelvis' depth; x right, y down."""
    # A hand can reach the camera, so the depth is bounded: every point keeps a third of the camera's distance.
    factor = 1 / jnp.maximum(1 - keypoints_m[:, 2] * inverse_distance, 1 / 3)
    return keypoints_m[:, :2] * jnp.array([1.0, -1.0], keypoints_m.dtype) * factor[:, None]
