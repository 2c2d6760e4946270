"""Closed forms: the best camera of one picture, and the shared shape with all cameras eliminated.

For fixed model points x the weak-perspective camera is weighted linear least squares: with the weighted means ȳ, x̄,

    s = Σ w (y − ȳ)·(x − x̄) / Σ w |x − x̄|²,   t = ȳ − s x̄.

Put back into the residuals this leaves a problem in β alone (variable projection: Golub and Pereyra, SIAM J. Numer.
Anal. 1973), which Gauss-Newton with step control finishes in a few steps. Its Jacobian is exact: the closed form is
differentiated along with the rest.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from engine.cameras import WeakPerspective, image_plane
from engine.keypoint_body import KeypointBody, rest_keypoints
from engine.observations import Observation
from engine.problem import NoiseModel, rest_residuals

# A mirrored or upside-down person would ask for a negative scale, which no camera has. The floor is far below any
# person's true scale (about 0.6 person heights per metre) and leaves such a picture with a large error.
_SMALLEST_SCALE = 1e-3
_STEPS = 15
_GRADIENT_TOLERANCE = 1e-3


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
    scale = jnp.maximum(overlap / jnp.where(spread > 0, spread, 1.0), _SMALLEST_SCALE)
    return WeakPerspective(scale, seen_mean - scale * plane_mean)


class ShapeSolution(NamedTuple):
    """A shared shape and how it was reached."""

    betas: Float[Array, " betas"]
    energy: Float[Array, ""]
    """½ (squared whitened residuals + |β|²) at the solution."""
    gradient_norm: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


def solve_rest_shape(
    body: KeypointBody, noise: NoiseModel, observations: Observation, initial_betas: Float[Array, " betas"]
) -> ShapeSolution:
    """The one β that explains all pictures of one person best in rest pose, each with its own best camera.

    ``observations`` carries an ``images`` axis; pictures of confidence 0 (padding) have no effect.
    """

    def residuals(betas: Float[Array, " betas"]) -> Float[Array, " residuals"]:
        points = rest_keypoints(body, betas)

        def of_picture(observation: Observation) -> Float[Array, "keypoints 2"]:
            return rest_residuals(body, noise, betas, best_camera(body, noise, points, observation), observation)

        return jnp.concatenate([jax.vmap(of_picture)(observations).ravel(), betas])

    def energy_of(betas: Float[Array, " betas"]) -> Float[Array, ""]:
        return 0.5 * jnp.sum(residuals(betas) ** 2)

    def step(state, _):
        betas, energy, damping, _, taken, converged = state
        current = residuals(betas)
        jacobian = jax.jacfwd(residuals)(betas)
        gradient = jacobian.T @ current
        hessian = jacobian.T @ jacobian
        damped = hessian + damping * jnp.diag(jnp.diagonal(hessian))
        proposal = betas - jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(damped), gradient)
        proposed_energy = energy_of(proposal)
        better = (proposed_energy < energy) & ~converged
        gradient_norm = jnp.linalg.norm(gradient)
        return (
            jnp.where(better, proposal, betas),
            jnp.where(better, proposed_energy, energy),
            jnp.where(better, damping / 10, damping * 10).clip(1e-9, 1e6),
            gradient_norm,
            taken + better,
            converged | (gradient_norm < _GRADIENT_TOLERANCE * jnp.sqrt(1 + 2 * energy)),
        ), None

    start = (
        initial_betas,
        energy_of(initial_betas),
        jnp.asarray(1e-6, initial_betas.dtype),
        jnp.asarray(jnp.inf, initial_betas.dtype),
        jnp.asarray(0, jnp.int32),
        jnp.asarray(False),
    )
    (betas, energy, _, gradient_norm, steps, converged), _ = jax.lax.scan(step, start, length=_STEPS)
    return ShapeSolution(betas, energy, gradient_norm, steps, converged)
