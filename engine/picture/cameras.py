"""From metres to the picture: the weak-perspective camera.

Body axes are x to the subject's left, y up, z to the front; image axes are x right, y down. A person who faces the
camera unturned is seen at s·(x, −y) + t: no perspective inside the body, one scale for the whole person. Units of s and
t are the caller's: pixels per metre and pixels, or person heights per metre and person heights.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from engine.batching import AnyArray


class WeakPerspective(eqx.Module):
    """One camera per picture; fields carry a leading ``images`` axis when batched."""

    scale: Float[Array, "*images"]
    translation: Float[Array, "*images 2"]


IMAGE_AXES = (1.0, -1.0)
"""The body's x and y along the image's: y points up in the body and down in the image."""


def image_plane(points: Float[Array, "*n 3"]) -> Float[Array, "*n 2"]:
    """Drop the depth and let y point down."""
    return points[..., :2] * jnp.array(IMAGE_AXES, points.dtype)


def project(camera: WeakPerspective, points: Float[Array, "keypoints 3"]) -> Float[Array, "keypoints 2"]:
    """Image of the points."""
    return camera.scale * image_plane(points) + camera.translation


class Lens(eqx.Module):
    """The perspective of a camera, known beforehand.

    A pinhole of focal length f sees the point that is z metres nearer than the body's origin larger by
    1 / (1 − z·s/f), s being the scale at the body's origin: its distance is f/s. Weak perspective is f = ∞.
    """

    inverse_focal: Float[AnyArray, "*images"]
    """1 / focal length, in person heights; 0 for weak perspective."""
    principal_point: Float[AnyArray, "*images 2"]
    """Position of the optical axis in the picture, person heights; used with perspective only."""


# Closer to the camera than a third of the body's distance the magnification is kept constant: no person fits there.
_LARGEST_DEPTH_FACTOR = 3.0


def pinhole_depth_factor(
    lens: Lens, scale: Float[Array, ""], depth: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Magnification relative to the body's origin, and its derivative by (scale · depth)."""
    remaining = 1.0 - lens.inverse_focal * scale * depth
    near = remaining < 1.0 / _LARGEST_DEPTH_FACTOR
    factor = jnp.where(near, _LARGEST_DEPTH_FACTOR, 1.0 / jnp.where(near, 1.0, remaining))
    return factor, jnp.where(near, 0.0, lens.inverse_focal * factor**2)


def lens_in_person_heights(
    focal_px: Float[AnyArray, "*images"],
    principal_point_px: Float[AnyArray, "*images 2"],
    centre_px: Float[AnyArray, "*images 2"],
    person_height_px: Float[AnyArray, "*images"],
) -> Lens:
    """A lens known in pixels, in the units of an observation with this centre and person height.

    Args:
        focal_px: focal length; infinite for weak perspective.
        principal_point_px: if it is unknown (a cropped picture), give ``centre_px``: the camera looks at the person.
    """
    offset = (principal_point_px - centre_px) / person_height_px[..., None]
    return Lens(person_height_px / focal_px, offset)
