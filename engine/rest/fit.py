"""Rest pose: one β per person.

This is the original recipe: the body stands in a T-pose, only camera and shape are fitted. It is exact and fast, but it
does not model pose: a person who does not stand in a T-pose is fitted as another body.

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

from engine.batching import AnyArray, map_samples, pad_rows
from engine.body.keypoint_body import KeypointBody
from engine.picture.cameras import WeakPerspective
from engine.picture.misfit import MIN_KEYPOINTS
from engine.picture.noise import NoiseModel
from engine.picture.observation import check_keypoints, observe
from engine.rest.closed_form import best_cameras, solve_rest_shape
from engine.rest.problem import REST_NOISE, rest_shape_residuals
from engine.rest.scores import REST_THRESHOLD
from engine.solvers.first_order import AdamSettings, FirstOrderSettings, LBFGSSettings, minimise

SOLVERS = ("auto", "adam", "lbfgs")
"""Names of solvers; ``auto`` is the closed form."""

_TILE_REFERENCES = 64


def first_order_settings(solver: str) -> FirstOrderSettings | None:
    """The loop behind a solver's name; None for the default, which needs no loop.

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
    """Data shared by all people, or all pictures, of one call."""

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


def fit_rest_shapes(
    body: KeypointBody,
    keypoints_px: Sequence[Float[np.ndarray, "_ keypoints 2"]],
    confidence: Sequence[Float[np.ndarray, "_ keypoints"]],
    solver: str = "auto",
    noise: NoiseModel = REST_NOISE,
) -> ShapeFit:
    """One β for each person from all references of that person, with the body in rest pose.

    People may have different numbers of references. A person's β does not depend on the other people, bit for bit.

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
    """References with enough keypoints, padded to a power of two.

    Pictures with fewer keypoints than a camera needs fit any body and are left out. Few sizes are compiled; a person's
    number of references determines the size.
    """
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
