"""Fast scoring in rest pose: it reads 204 bytes a picture and does about a thousand operations on them.

This is the one place where images are the LAST axis: keypoints are transposed in blocks of ``LANES`` pictures, so that
one vector instruction serves several pictures. It computes what ``observe``, ``best_camera`` and ``score_projection``
compute for a single picture, and is tested against them. The work is cut into stages that are compiled one by one,
because XLA would fuse all of it into loops that recompute the early stages at every use (benchmarks/results.md,
"Rest-pose scoring", has the figures).

Arrays inside are (blocks, keypoints, lanes); a number per picture is (blocks, lanes). Sums over keypoints are written
out in order: XLA's reduction over a middle axis is three times slower.
"""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from engine.batching import AnyArray
from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.picture.cameras import IMAGE_AXES
from engine.picture.misfit import status_of
from engine.picture.noise import NoiseModel
from engine.picture.observation import (
    REFERENCE_STATURE_M,
    SEGMENT_SHARE_OF_BOX,
    SMALLEST_AREA,
    size_edges,
)
from engine.rest.closed_form import SMALLEST_SCALE
from engine.rest.scores import RestScores, mask_unscorable

TILE_SIZE = 16384
"""Pictures of a tile: 3.3 MB of keypoints; half or twice as much is not faster (benchmarks/results.md, "Rest-pose
scoring")."""
LANES = 64
"""Pictures of one block, all compared with one shape."""

PerKeypoint = Float[Array, "blocks keypoints lanes"]
PerPicture = Float[Array, "blocks lanes"]


class _Reference(NamedTuple):
    """The shapes that a tile is compared with, one for each block."""

    x: Float[AnyArray, "blocks keypoints 1"]
    y: Float[AnyArray, "blocks keypoints 1"]
    inverse_variances: Float[AnyArray, "1 keypoints 1"]
    inverse_oks_variances: Float[AnyArray, "1 keypoints 1"]
    inverse_squared_limbs: Float[AnyArray, " limbs"]
    inverse_squared_parts: Float[AnyArray, " parts"]


class _Seen(NamedTuple):
    """The sanitised keypoints of a tile, in pixels; zero for keypoints that were not seen."""

    x: PerKeypoint
    y: PerKeypoint
    confidence: PerKeypoint


class _Size(NamedTuple):
    person_height_px: PerPicture
    area_px: PerPicture
    measurable: Array


class _Camera(NamedTuple):
    """Pixels per metre, and position of the pelvis from the picture's centre of keypoints, in pixels."""

    scale: PerPicture
    x: PerPicture
    y: PerPicture


def _over_keypoints(combine: Callable[[Array, Array], Array], values: PerKeypoint) -> PerPicture:
    return functools.reduce(combine, [values[:, k] for k in range(values.shape[1])])


_total = functools.partial(_over_keypoints, operator.add)


def _spread(values: PerPicture) -> Float[Array, "blocks 1 lanes"]:
    return values[:, None]


@jax.jit
def _sanitise(keypoints_px: Float[Array, "images keypoints 2"], confidence: Float[Array, "images keypoints"]) -> _Seen:
    count, keypoints = confidence.shape
    blocks = count // LANES
    columns = jnp.transpose(keypoints_px.reshape(blocks, LANES, 2 * keypoints), (0, 2, 1))
    x, y = columns[:, 0::2], columns[:, 1::2]
    confidence = jnp.transpose(confidence.reshape(blocks, LANES, keypoints), (0, 2, 1))
    finite = jnp.isfinite(x) & jnp.isfinite(y) & jnp.isfinite(confidence)
    confidence = jnp.where(finite, jnp.clip(confidence, 0.0, 1.0), 0.0)
    seen = confidence > 0
    return _Seen(jnp.where(seen, x, 0.0), jnp.where(seen, y, 0.0), confidence)


@jax.jit
def _centre(seen: _Seen) -> tuple[PerPicture, PerPicture]:
    total = _total(seen.confidence)
    inverse = 1 / jnp.where(total > 0, total, 1.0)
    return _total(seen.confidence * seen.x) * inverse, _total(seen.confidence * seen.y) * inverse


@functools.partial(jax.jit, static_argnums=(3, 4))
def _size(
    seen: _Seen,
    centre: tuple[PerPicture, PerPicture],
    reference: _Reference,
    limbs: tuple[tuple[int, int], ...],
    parts: tuple[tuple[int, int], ...],
) -> _Size:
    visible = seen.confidence > 0

    def squared_bound(edges: tuple[tuple[int, int], ...], inverse_squared: Float[AnyArray, " edges"]) -> PerPicture:
        largest = second = jnp.zeros_like(centre[0])
        for i, (a, b) in enumerate(edges):
            squared = (seen.x[:, a] - seen.x[:, b]) ** 2 + (seen.y[:, a] - seen.y[:, b]) ** 2
            ratio = jnp.where(visible[:, a] & visible[:, b], squared * inverse_squared[i], 0.0)
            second = jnp.maximum(second, jnp.minimum(largest, ratio))
            largest = jnp.maximum(largest, ratio)
        return jnp.where(second > 0, second, largest)

    by_limbs = squared_bound(limbs, reference.inverse_squared_limbs)
    by_parts = squared_bound(parts, reference.inverse_squared_parts)
    squared = jnp.where(by_limbs > 0, by_limbs, by_parts)
    measurable = squared > 0
    person_height_px = REFERENCE_STATURE_M * jnp.sqrt(jnp.where(measurable, squared, 1.0))
    # The centre lies inside the box of the seen keypoints, so it can replace keypoints that were not seen.
    x = jnp.where(visible, seen.x, _spread(centre[0]))
    y = jnp.where(visible, seen.y, _spread(centre[1]))
    width = _over_keypoints(jnp.maximum, x) - _over_keypoints(jnp.minimum, x)
    height = _over_keypoints(jnp.maximum, y) - _over_keypoints(jnp.minimum, y)
    area_px = jnp.maximum(SEGMENT_SHARE_OF_BOX * width * height, SMALLEST_AREA * person_height_px**2)
    return _Size(person_height_px, area_px, measurable)


@jax.jit
def _best_camera(
    seen: _Seen, centre: tuple[PerPicture, PerPicture], person_height_px: PerPicture, reference: _Reference
) -> _Camera:
    weights = seen.confidence * reference.inverse_variances
    total = _total(weights)
    inverse = 1 / jnp.where(total > 0, total, 1.0)
    x, y = seen.x - _spread(centre[0]), seen.y - _spread(centre[1])
    x_seen, y_seen = _total(weights * x) * inverse, _total(weights * y) * inverse
    x_body, y_body = _total(weights * reference.x) * inverse, _total(weights * reference.y) * inverse
    # Sums are taken around the body's own mean: if only a face is seen, sums around the pelvis would cancel to noise.
    x_from_mean, y_from_mean = reference.x - _spread(x_body), reference.y - _spread(y_body)
    spread = _total(weights * (x_from_mean**2 + y_from_mean**2))
    overlap = _total(weights * (x_from_mean * x + y_from_mean * y))
    scale = overlap / jnp.where(spread > 0, spread, 1.0)
    scale = jnp.maximum(scale, SMALLEST_SCALE * person_height_px)
    return _Camera(scale, x_seen - scale * x_body, y_seen - scale * y_body)


@jax.jit
def _score(
    seen: _Seen,
    centre: tuple[PerPicture, PerPicture],
    size: _Size,
    camera: _Camera,
    reference: _Reference,
    threshold: Float[Array, ""],
) -> RestScores:
    pelvis_x, pelvis_y = centre[0] + camera.x, centre[1] + camera.y
    x = (seen.x - _spread(centre[0])) - _spread(camera.x) - _spread(camera.scale) * reference.x
    y = (seen.y - _spread(centre[1])) - _spread(camera.y) - _spread(camera.scale) * reference.y
    squared = x**2 + y**2
    total = _total(seen.confidence)
    error_px = jnp.sqrt(_total(seen.confidence * squared) / jnp.where(total > 0, total, 1.0))
    visible = seen.confidence > 0
    count = _total(visible.astype(squared.dtype))
    similarity = jnp.exp(-squared * _spread(1 / (8 * size.area_px)) * reference.inverse_oks_variances)
    error = error_px / size.person_height_px
    return jax.tree.map(
        jnp.ravel,
        mask_unscorable(
            RestScores(
                consistency=jnp.exp(-error / threshold),
                reprojection_error=error,
                reprojection_error_px=error_px,
                oks=_total(jnp.where(visible, similarity, 0.0)) / jnp.maximum(count, 1),
                scale=camera.scale,
                translation_x=pelvis_x,
                translation_y=pelvis_y,
                status=status_of(count, size.measurable),
            )
        ),
    )


def _shape_of_blocks(
    plane: Float[np.ndarray, "people keypoints 2"], person: Int[np.ndarray, " images"]
) -> tuple[Float[np.ndarray, "blocks keypoints 1"], Float[np.ndarray, "blocks keypoints 1"]]:
    """Points of each block's person. NumPy is used: a compiled function would be recompiled for every number of
    people."""
    of_blocks = plane[person[::LANES]]
    return of_blocks[..., 0, None], of_blocks[..., 1, None]


def rest_tile_scorer(
    body: KeypointBody, noise: NoiseModel, points: Float[np.ndarray, "people keypoints 3"], threshold: float
) -> Callable[[tuple[np.ndarray, np.ndarray, np.ndarray]], RestScores]:
    """A function that scores a tile of ``TILE_SIZE`` pictures: keypoints in pixels, confidence, number of the person.

    Args:
        points: the keypoints of each person's body in rest pose, in metres. The pictures of a block of ``LANES`` are
            compared with the person of the first.
    """
    limbs, parts = size_edges(body.schema)
    mean_body = np.asarray(rest_keypoints(body, jnp.zeros(body.beta_count)))

    def inverse_squared(edges: tuple[tuple[int, int], ...]) -> Float32[np.ndarray, " edges"]:
        return np.array([1 / np.sum((mean_body[a] - mean_body[b]) ** 2) for a, b in edges], np.float32)

    def column(values: AnyArray) -> Float[np.ndarray, "1 keypoints 1"]:
        return np.asarray(values)[None, :, None]

    plane = points[..., :2] * np.array(IMAGE_AXES, points.dtype)
    inverse_variances = column(1 / noise.sigmas(body.schema) ** 2)
    inverse_oks_variances = column(1 / jnp.asarray(body.schema.sigmas) ** 2)
    inverse_squared_limbs, inverse_squared_parts = inverse_squared(limbs), inverse_squared(parts)
    level = np.float32(threshold)

    def score_tile(tile: tuple[np.ndarray, np.ndarray, np.ndarray]) -> RestScores:
        keypoints, confidence, person = tile
        x, y = _shape_of_blocks(plane, person)
        reference = _Reference(
            x, y, inverse_variances, inverse_oks_variances, inverse_squared_limbs, inverse_squared_parts
        )
        seen = _sanitise(keypoints, confidence)
        centre = _centre(seen)
        size = _size(seen, centre, reference, limbs, parts)
        camera = _best_camera(seen, centre, size.person_height_px, reference)
        return _score(seen, centre, size, camera, reference, level)

    return score_tile
