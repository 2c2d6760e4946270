"""From metres to the picture: the weak-perspective camera.

Body axes are x to the subject's left, y up, z to the front; image axes are x right, y down. A person who faces the
camera unturned is seen at s·(x, −y) + t: no perspective inside the body, one scale for the whole person. Units of s and
t are the caller's: pixels per metre and pixels, or person heights per metre and person heights.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class WeakPerspective(eqx.Module):
    """One camera per picture; fields carry a leading ``images`` axis when batched."""

    scale: Float[Array, "*images"]
    translation: Float[Array, "*images 2"]


def image_plane(points: Float[Array, "*n 3"]) -> Float[Array, "*n 2"]:
    """Drop the depth and let y point down."""
    return points[..., :2] * jnp.array([1.0, -1.0], points.dtype)


def project(camera: WeakPerspective, points: Float[Array, "keypoints 3"]) -> Float[Array, "keypoints 2"]:
    """Where the points are seen."""
    return camera.scale * image_plane(points) + camera.translation
