"""Rest-pose mode for whole data sets: one β per person, one score per picture.

This is the original recipe: the body stands in a T-pose, only camera and shape are fitted. It is exact and fast, and
it knows nothing of pose: a person who does not stand in a T-pose looks like another body to it.

Three solvers reach the same minimum of the same problem (``engine.rest.problem``): the closed form (cameras eliminated,
Gauss-Newton on β), and the loops Adam and L-BFGS over β and all cameras together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.batching import AnyArray, map_samples, map_tiles, pad_rows
from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.picture.cameras import WeakPerspective, image_plane, project
from engine.picture.misfit import MIN_KEYPOINTS, REST_THRESHOLD, PictureScore, score_projection
from engine.picture.observation import REFERENCE_STATURE_M, check_keypoints, observe
from engine.rest.problem import REST_NOISE, NoiseModel, rest_residuals, rest_shape_residuals
from engine.rest.scoring import LANES, TILE_SIZE, rest_tile_scorer
from engine.solvers.first_order import AdamSettings, FirstOrderSettings, LBFGSSettings, minimise
from engine.solvers.linear import best_cameras, solve_rest_shape

SOLVERS = ("auto", "adam", "lbfgs")
"""``auto`` is the closed form."""

_TILE_REFERENCES = 64
_TILE_SIZE = 1024
_TILE_PEOPLE = 64


def first_order_settings(solver: str) -> FirstOrderSettings | None:
    """The loop behind a solver's name; None for the default, which needs none.

    Raises:
        ValueError: no such solver.
    """
    match solver:
        case "auto":
            return None
        case "adam":
            return AdamSettings()
        case "lbfgs":
            return LBFGSSettings()
    raise ValueError(f"unknown solver {solver!r}; known: {', '.join(SOLVERS)}")


class RestContext(eqx.Module):
    """What all people, or all pictures, of one call share."""

    body: KeypointBody
    noise: NoiseModel
    betas: Float[Array, " betas"]
    """The start of a fit; the reference shape of a scoring."""
    threshold: float = eqx.field(static=True)
    loop: FirstOrderSettings | None = eqx.field(static=True)


class ShapeFit(NamedTuple):
    """The shapes of several people, or of one."""

    betas: Float[AnyArray, "*people betas"]
    energy: Float[AnyArray, "*people"]
    steps: Int[AnyArray, "*people"]
    converged: Bool[AnyArray, "*people"]


class _RestUnknowns(NamedTuple):
    """The loops' unknowns. The camera is in units of about one, so that one learning rate suits all."""

    betas: Float[Array, " betas"]
    log_scale: Float[Array, "*images"]
    translation: Float[Array, "*images 2"]

    def camera(self) -> WeakPerspective:
        return WeakPerspective(jnp.exp(self.log_scale), self.translation)

    @staticmethod
    def start(betas: Float[Array, " betas"], camera: WeakPerspective) -> "_RestUnknowns":
        return _RestUnknowns(betas, jnp.log(camera.scale), camera.translation)


def _fit_person(context: RestContext, references: tuple[Array, Array]) -> ShapeFit:
    body, noise = context.body, context.noise
    observations = jax.vmap(observe, in_axes=(None, 0, 0))(body, *references)
    if context.loop is None:
        solution = solve_rest_shape(body, noise, observations, context.betas)
        return ShapeFit(solution.betas, solution.energy, solution.steps, solution.converged)

    def residuals(unknowns: _RestUnknowns) -> Float[Array, " residuals"]:
        return rest_shape_residuals(body, noise, unknowns.betas, unknowns.camera(), observations)

    cameras = best_cameras(body, noise, context.betas, observations)
    minimum = minimise(residuals, _RestUnknowns.start(context.betas, cameras), context.loop)
    return ShapeFit(minimum.unknowns.betas, minimum.energy, minimum.steps, minimum.converged)


def _score_by_loop(context: RestContext, picture: tuple[Array, Array]) -> PictureScore:
    body, noise = context.body, context.noise
    observation = observe(body, *picture)
    points = rest_keypoints(body, context.betas)
    assert context.loop is not None

    def residuals(camera: WeakPerspective) -> Float[Array, " residuals"]:
        return rest_residuals(body, noise, context.betas, camera, observation).ravel()

    camera = minimise(residuals, _rough_camera(points), context.loop).unknowns
    return score_projection(body, observation, project(camera, points), camera, context.threshold)


def _rough_camera(points: Float[Array, "keypoints 3"]) -> WeakPerspective:
    """A start that does not know the answer: a person of average size in the middle of the keypoints."""
    scale = jnp.asarray(1 / REFERENCE_STATURE_M, points.dtype)
    return WeakPerspective(scale, -scale * jnp.mean(image_plane(points), axis=0))


def fit_rest_shapes(
    body: KeypointBody,
    keypoints_px: Sequence[Float[np.ndarray, "_ keypoints 2"]],
    confidence: Sequence[Float[np.ndarray, "_ keypoints"]],
    solver: str = "auto",
    noise: NoiseModel = REST_NOISE,
) -> ShapeFit:
    """One β for each person from all references of that person, with the body in rest pose.

    People may have different numbers of references; nobody's β depends on who else is fitted, bit for bit.

    Args:
        keypoints_px: per person, the keypoints of the references in pixels.
        confidence: per person, 0..1; a keypoint of confidence 0 was not seen.

    Raises:
        ValueError: arrays do not fit the body's schema, or a person has no usable reference.
    """
    context = RestContext(body, noise, jnp.zeros(body.beta_count), REST_THRESHOLD, first_order_settings(solver))
    padded = [
        _usable_references(body, points, weights) for points, weights in zip(keypoints_px, confidence, strict=True)
    ]
    lengths = [len(weights) for _, weights in padded]
    fits: dict[int, ShapeFit] = {}
    for length in sorted(set(lengths)):
        people = [person for person, own in enumerate(lengths) if own == length]
        batch = tuple(np.stack([padded[person][part] for person in people]) for part in (0, 1))
        fit = map_samples(_fit_person, context, batch, max(1, _TILE_REFERENCES // length), context.loop is None)
        fits |= {person: ShapeFit(*(field[i] for field in fit)) for i, person in enumerate(people)}
    return ShapeFit(*(np.stack(field) for field in zip(*(fits[i] for i in range(len(padded))), strict=True)))


def _usable_references(
    body: KeypointBody, keypoints_px: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with fewer keypoints than a camera needs fit anything and must not vote; then padding to a power of two,
    so that few sizes are compiled and a person's own number of references decides which."""
    check_keypoints(body, keypoints_px, confidence)
    usable = (np.isfinite(keypoints_px).all(-1) & (confidence > 0)).sum(-1) >= MIN_KEYPOINTS
    if not usable.any():
        raise ValueError(
            f"none of {len(usable)} references can be used: one needs {MIN_KEYPOINTS} keypoints of confidence above 0"
        )
    length = 1 << (len(usable) - 1).bit_length()
    weights = np.where(usable[:, None], confidence, 0)
    return pad_rows(keypoints_px.astype(np.float32), length), pad_rows(weights.astype(np.float32), length)


def fit_rest_shape(
    body: KeypointBody,
    keypoints_px: Float[np.ndarray, "references keypoints 2"],
    confidence: Float[np.ndarray, "references keypoints"],
    solver: str = "auto",
    noise: NoiseModel = REST_NOISE,
) -> ShapeFit:
    """``fit_rest_shapes`` for one person; fields come without the people axis."""
    fit = fit_rest_shapes(body, [keypoints_px], [confidence], solver, noise)
    return ShapeFit(*(field[0] for field in fit))


def score_rest_pictures(
    body: KeypointBody,
    betas: Float[AnyArray, " betas"],
    keypoints_px: Float[np.ndarray, "images keypoints 2"],
    confidence: Float[np.ndarray, "images keypoints"],
    solver: str = "auto",
    noise: NoiseModel = REST_NOISE,
    threshold: float = REST_THRESHOLD,
) -> PictureScore:
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
) -> PictureScore:
    """Score every picture against the shape of its own person: ``score_rest_pictures`` for all at once, bit for bit.

    Args:
        person: whose shape each picture is compared with, as row numbers of ``betas``.

    Raises:
        ValueError: arrays do not fit the body.
    """
    check_keypoints(body, keypoints_px, confidence)
    order = np.argsort(person, kind="stable")
    counts = np.bincount(person, minlength=len(betas))
    lengths = -(-counts // LANES) * LANES
    # Every person's pictures begin a block of their own.
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
