"""Closed forms: the best camera of one picture, and the shared shape with all cameras eliminated.

The weak-perspective camera for fixed model points x is weighted linear least squares. With the weighted means ȳ, x̄,

    s = Σ w (y − ȳ)·(x − x̄) / Σ w |x − x̄|²,   t = ȳ − s x̄.

Substituting them leaves a problem in β alone (variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 1973), which
Gauss-Newton with step control solves in a few steps. Its Jacobian is exact: the closed form is
differentiated along with the rest.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.picture.cameras import WeakPerspective, image_plane
from engine.picture.noise import NoiseModel
from engine.picture.observation import Observation
from engine.rest.problem import rest_shape_residuals
from engine.solvers.small_systems import solve_positive

# The best scale of a mirrored or upside-down person would be negative, which is impossible for a camera. The floor is
# far below any person's true scale (about 0.6 person heights per metre) and leaves such a picture with a large error.
SMALLEST_SCALE = 1e-3
_MOST_STEPS = 30
# The fit ends at a step this small in every component, in standard deviations of the population.
_SMALLEST_CHANGE = 2e-5
_ENERGY_RESOLUTION = 1e-6


def best_camera(
    body: KeypointBody, noise: NoiseModel, model_points: Float[Array, "keypoints 3"], observation: Observation
) -> WeakPerspective:
    """The camera with the least weighted squared error for the given model points, in person heights."""
    weights = observation.confidence / noise.sigmas(body.schema) ** 2
    total = jnp.sum(weights)
    weights = weights / jnp.where(total > 0, total, 1.0)
    plane = image_plane(model_points)
    seen_mean = weights @ observation.points
    plane_mean = weights @ plane
    centred = plane - plane_mean
    spread = jnp.sum(weights * jnp.sum(centred**2, axis=-1))
    overlap = jnp.sum(weights * jnp.sum(centred * (observation.points - seen_mean), axis=-1))
    scale = jnp.maximum(overlap / jnp.where(spread > 0, spread, 1.0), SMALLEST_SCALE)
    return WeakPerspective(scale, seen_mean - scale * plane_mean)


def best_cameras(
    body: KeypointBody, noise: NoiseModel, betas: Float[Array, " betas"], observations: Observation
) -> WeakPerspective:
    """``best_camera`` of the body in rest pose, for every picture."""
    points = rest_keypoints(body, betas)
    return jax.vmap(best_camera, in_axes=(None, None, None, 0))(body, noise, points, observations)


class ShapeSolution(NamedTuple):
    """A shared shape and how it was reached."""

    betas: Float[Array, " betas"]
    energy: Float[Array, ""]
    """½ (squared whitened residuals + |β|²) at the solution."""
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


class _Iterate(NamedTuple):
    """The best point so far, the quadratic model there, and the point to try next."""

    betas: Float[Array, " betas"]
    energy: Float[Array, ""]
    gradient: Float[Array, " betas"]
    hessian: Float[Array, "betas betas"]
    damping: Float[Array, ""]
    trial: Float[Array, " betas"]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


def solve_rest_shape(
    body: KeypointBody, noise: NoiseModel, observations: Observation, initial_betas: Float[Array, " betas"]
) -> ShapeSolution:
    """The one β that explains all pictures of one person best in rest pose, each with its own best camera.

    ``observations`` carries an ``images`` axis; pictures of confidence 0 (padding) have no effect.
    """

    def residuals(betas: Float[Array, " betas"]) -> tuple[Float[Array, " residuals"], Float[Array, " residuals"]]:
        cameras = best_cameras(body, noise, betas, observations)
        whitened = rest_shape_residuals(body, noise, betas, cameras, observations)
        return whitened, whitened

    def step(state: _Iterate, _: None) -> tuple[_Iterate, None]:
        jacobian, current = jax.jacfwd(residuals, has_aux=True)(state.trial)
        energy = 0.5 * jnp.sum(current**2)
        # Steps below float32's resolution of the energy are taken too, because the gradient determines the last digits.
        better = (energy <= state.energy * (1 + _ENERGY_RESOLUTION)) & ~state.converged
        new = _Iterate(
            betas=state.trial,
            energy=energy,
            gradient=jacobian.T @ current,
            hessian=jacobian.T @ jacobian,
            damping=state.damping / 10,
            trial=state.trial,
            steps=state.steps + 1,
            converged=state.converged,
        )
        old = state._replace(damping=jnp.where(state.converged, state.damping, state.damping * 10))
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)
        damped = best.hessian + best.damping * jnp.diag(jnp.diagonal(best.hessian))
        change = solve_positive(damped, best.gradient[:, None])[:, 0]
        converged = best.converged | (better & (jnp.max(jnp.abs(change)) < _SMALLEST_CHANGE))
        return best._replace(trial=best.betas - change, converged=converged), None

    count = initial_betas.shape[0]
    start = _Iterate(
        betas=initial_betas,
        energy=jnp.asarray(jnp.inf, initial_betas.dtype),
        gradient=jnp.zeros_like(initial_betas),
        hessian=jnp.eye(count, dtype=initial_betas.dtype),
        damping=jnp.asarray(1e-6, initial_betas.dtype),
        trial=initial_betas,
        steps=jnp.asarray(0, jnp.int32),
        converged=jnp.asarray(False),
    )
    final, _ = jax.lax.scan(step, start, length=_MOST_STEPS)
    return ShapeSolution(final.betas, final.energy, final.steps, final.converged)
