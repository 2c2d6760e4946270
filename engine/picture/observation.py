"""The keypoints of one picture in units of the person instead of pixels.

The keypoints of a picture are shifted to their weighted mean and divided by the person's size, so that everything
after this module is independent of resolution and position: no fit and no score depends on them.

The person's size is the height in pixels that an average person would have standing upright at that distance. A bone
of length L metres is at most scale·L pixels long in any pose, so each limb bounds the scale from below; the
second largest bound is taken, because the largest may be a gross error. (The bounding box, the usual measure, shrinks
by half when a person sits down.)

A keypoint of confidence 0 was not seen: its coordinates are replaced before anything is computed, so that not even a
NaN in them has an effect.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.body.schema_tables import FACE_EDGES, FEET_EDGES, LIMB_EDGES
from engine.body.schemas import KeypointSchema
from engine.picture.cameras import Lens, lens_in_person_heights

REFERENCE_STATURE_M = 1.7
"""The standing height behind the unit "person height"."""

# Area of a box as tall as the person and 1/100 as wide: it keeps OKS defined for keypoints that lie on one line.
SMALLEST_AREA = 0.01
# COCO's ground truth has no segment area for predicted people; MMPose and xtcocotools take this share of the box.
SEGMENT_SHARE_OF_BOX = 0.53


class Observation(eqx.Module):
    """The keypoints of one person in one picture (of many, with a leading axis, when batched)."""

    points: Float[Array, "*images keypoints 2"]
    """Person heights from the centre; 0 if not seen."""
    confidence: Float[Array, "*images keypoints"]
    """0 (not seen: no effect at all) to 1."""
    centre_px: Float[Array, "*images 2"]
    person_height_px: Float[Array, "*images"]
    """Pixels per unit of ``points``."""
    area: Float[Array, "*images"]
    """COCO's object area, in squared person heights."""
    measurable: Bool[Array, "*images"]
    """False when no limb is seen: the person has no size, and the numbers above are placeholders."""
    lens: Lens
    """Weak perspective unless the focal length is known. Rest pose ignores it."""


Edges = tuple[tuple[int, int], ...]


def size_edges(schema: KeypointSchema) -> tuple[Edges, Edges]:
    """Pairs of columns whose distance bounds the person's size: limbs, and other parts for pictures without a limb.

    The hips are left out: they are so close together that their distance is dominated by noise. Faces and feet
    overstate the scale for the same reason and are used only if no limb is seen.
    """

    def columns(edges: tuple[tuple[str, str], ...]) -> Edges:
        pairs = (schema.columns_of(edge) for edge in edges)
        return tuple((a, b) for a, b in pairs if a >= 0 and b >= 0)

    limbs = tuple(edge for edge in LIMB_EDGES if edge != ("left_hip", "right_hip"))
    return columns(limbs), columns((*FACE_EDGES, *FEET_EDGES))


def _second_largest(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The second largest value, or the largest if only one is positive."""
    largest = jnp.max(values)
    second = jnp.max(jnp.where(jnp.arange(values.shape[0]) == jnp.argmax(values), 0.0, values))
    return jnp.where(second > 0, second, largest)


def _pixels_per_metre(
    body: KeypointBody, points: Float[Array, "keypoints 2"], seen: Bool[Array, " keypoints"]
) -> Float[Array, ""]:
    rest = rest_keypoints(body, jnp.zeros(body.beta_count, points.dtype))

    def bound(edges: Edges) -> Float[Array, ""]:
        if not edges:
            return jnp.zeros((), points.dtype)
        start, end = np.array(edges).T
        length_m = jnp.linalg.norm(rest[start] - rest[end], axis=-1)
        length_px = jnp.sqrt(jnp.sum((points[start] - points[end]) ** 2, axis=-1))
        return _second_largest(jnp.where(seen[start] & seen[end], length_px / length_m, 0.0))

    limbs, parts = size_edges(body.schema)
    by_limbs = bound(limbs)
    return jnp.where(by_limbs > 0, by_limbs, bound(parts))


def check_keypoints(body: KeypointBody, keypoints_px: np.ndarray, confidence: np.ndarray) -> None:
    """Check that the arrays have the columns of the body's schema.

    Raises:
        ValueError: they do not; the message gives both shapes.
    """
    expected = (*np.shape(confidence)[:-1], len(body.schema), 2)
    if np.shape(keypoints_px) != expected or np.shape(confidence) != expected[:-1]:
        raise ValueError(
            f"keypoints {np.shape(keypoints_px)} and confidence {np.shape(confidence)} do not fit: expected "
            f"(..., {len(body.schema)}, 2) and (..., {len(body.schema)}) for schema {body.schema.name} of {body.name}"
        )


def observe(
    body: KeypointBody,
    keypoints_px: Float[Array, "keypoints 2"],
    confidence: Float[Array, " keypoints"],
    focal_px: Float[Array, ""] | float = np.inf,
) -> Observation:
    """Normalise the keypoints of one person; the columns are those of ``body.schema``.

    Args:
        keypoints_px: pixels, x right and y down; any value, NaN included, if confidence is 0.
        confidence: 0..1; NaN, infinite coordinates and values outside the range count as not seen or are clipped.
        focal_px: focal length of the camera, if it is known; the person is taken to be in the middle of its view.
    """
    finite = jnp.all(jnp.isfinite(keypoints_px), axis=-1) & jnp.isfinite(confidence)
    confidence = jnp.where(finite, jnp.clip(confidence, 0.0, 1.0), 0.0)
    seen = confidence > 0
    first_seen = jnp.where(seen[:, None], keypoints_px, 0.0)[jnp.argmax(seen)]
    # Points are centred on one of them before any sum: far from the origin float32 lacks digits.
    local = jnp.where(seen[:, None], keypoints_px - first_seen, 0.0)
    total = jnp.sum(confidence)
    mean = jnp.sum(local * confidence[:, None], axis=0) / jnp.where(total > 0, total, 1.0)
    centred = jnp.where(seen[:, None], local - mean, 0.0)

    pixels_per_metre = _pixels_per_metre(body, centred, seen)
    measurable = pixels_per_metre > 0
    person_height_px = REFERENCE_STATURE_M * jnp.where(measurable, pixels_per_metre, 1.0)
    points = centred / person_height_px
    low = jnp.min(jnp.where(seen[:, None], points, jnp.inf), axis=0)
    high = jnp.max(jnp.where(seen[:, None], points, -jnp.inf), axis=0)
    extent = jnp.where(jnp.any(seen), high - low, 0.0)
    centre_px = first_seen + mean
    return Observation(
        points=points,
        confidence=confidence,
        centre_px=centre_px,
        person_height_px=person_height_px,
        area=jnp.maximum(SEGMENT_SHARE_OF_BOX * extent[0] * extent[1], SMALLEST_AREA),
        measurable=measurable,
        lens=lens_in_person_heights(jnp.asarray(focal_px, points.dtype), centre_px, centre_px, person_height_px),
    )
