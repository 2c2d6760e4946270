"""Scores of many pictures in rest pose: against one shape, or each against its own person's.

The closed form runs in tiles laid out for speed (``engine.rest.tile_scorer``). The loops fit each picture's camera.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray, map_samples, map_tiles
from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.picture.cameras import WeakPerspective, image_plane, project
from engine.picture.noise import NoiseModel
from engine.picture.observation import REFERENCE_STATURE_M, check_keypoints, observe
from engine.rest.fit import RestContext, first_order_settings
from engine.rest.problem import REST_NOISE, rest_residuals
from engine.rest.scores import REST_THRESHOLD, RestScores, score_projection
from engine.rest.tile_scorer import LANES, TILE_SIZE, rest_tile_scorer
from engine.solvers.first_order import minimise

_TILE_SIZE = 1024
_TILE_PEOPLE = 64


def _score_by_loop(context: RestContext, picture: tuple[Array, Array]) -> RestScores:
    body, noise = context.body, context.noise
    observation = observe(body, *picture)
    points = rest_keypoints(body, context.betas)
    assert context.loop is not None

    def residuals(camera: WeakPerspective) -> Float[Array, " residuals"]:
        return rest_residuals(body, noise, context.betas, camera, observation).ravel()

    camera = minimise(residuals, _rough_camera(points), context.loop).unknowns
    return score_projection(body, observation, project(camera, points), camera, context.threshold)


def _rough_camera(points: Float[Array, "keypoints 3"]) -> WeakPerspective:
    """A start independent of the answer: a person of average size in the middle of the keypoints."""
    scale = jnp.asarray(1 / REFERENCE_STATURE_M, points.dtype)
    return WeakPerspective(scale, -scale * jnp.mean(image_plane(points), axis=0))


def score_rest_pictures(
    body: KeypointBody,
    betas: Float[AnyArray, " betas"],
    keypoints_px: Float[np.ndarray, "images keypoints 2"],
    confidence: Float[np.ndarray, "images keypoints"],
    solver: str = "auto",
    noise: NoiseModel = REST_NOISE,
    threshold: float = REST_THRESHOLD,
) -> RestScores:
    """Score every picture against one shape, with the body in rest pose and each picture's best camera.

    Args:
        threshold: reprojection error, in person heights, at which consistency is 1/e.

    Raises:
        ValueError: arrays do not fit the body, or the threshold is not positive.
    """
    check_keypoints(body, keypoints_px, confidence)
    if np.shape(betas) != (body.beta_count,):
        raise ValueError(f"betas have shape {np.shape(betas)}, body {body.name} wants ({body.beta_count},)")
    if not threshold > 0:
        raise ValueError(f"the threshold must be positive, not {threshold}")
    loop = first_order_settings(solver)
    if loop is None:
        score_tile = rest_tile_scorer(body, noise, _rest_points(body, np.asarray(betas)[None]), threshold)
        return map_tiles(score_tile, (keypoints_px, confidence, np.zeros(len(confidence), np.int32)), TILE_SIZE)
    context = RestContext(body, noise, jnp.asarray(betas), threshold, loop)
    return map_samples(_score_by_loop, context, (keypoints_px, confidence), _TILE_SIZE, concurrent=False)


def score_rest_people(
    body: KeypointBody,
    betas: Float[np.ndarray, "people betas"],
    keypoints_px: Float[np.ndarray, "images keypoints 2"],
    confidence: Float[np.ndarray, "images keypoints"],
    person: Int[np.ndarray, " images"],
) -> RestScores:
    """Score every picture against the shape of its own person: ``score_rest_pictures`` for all at once, bit for bit.

    Args:
        person: row of ``betas`` that each picture is compared with.

    Raises:
        ValueError: arrays do not fit the body.
    """
    check_keypoints(body, keypoints_px, confidence)
    order = np.argsort(person, kind="stable")
    counts = np.bincount(person, minlength=len(betas))
    lengths = -(-counts // LANES) * LANES
    # Every person's pictures start a new block.
    shift = np.cumsum(lengths) - lengths - (np.cumsum(counts) - counts)
    place = np.empty(len(person), int)
    place[order] = np.arange(len(person)) + shift[person[order]]
    rows = int(lengths.sum())

    def placed(values: np.ndarray) -> np.ndarray:
        blocks = np.zeros((rows, *values.shape[1:]), np.float32)
        blocks[place] = values
        return blocks

    samples = (placed(keypoints_px), placed(confidence), np.repeat(np.arange(len(betas), dtype=np.int32), lengths))
    score_tile = rest_tile_scorer(body, REST_NOISE, _rest_points(body, betas), REST_THRESHOLD)
    return jax.tree.map(lambda values: values[place], map_tiles(score_tile, samples, TILE_SIZE))


def _rest_points(
    body: KeypointBody, betas: Float[np.ndarray, "people betas"]
) -> Float[np.ndarray, "people keypoints 3"]:
    return np.asarray(map_samples(rest_keypoints, body, betas, _TILE_PEOPLE))
