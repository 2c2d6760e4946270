"""Results of posed fits: poses, cameras, residuals, and the evidence of each picture about the shape.

Near its best fit the energy of a picture is quadratic in the shape β, the pose z and the frame c (turn and camera).
Eliminating z and c from the Gauss-Newton Hessian without the shape prior gives Λ = H_ββ − H_βη H_ηη⁻¹ H_ηβ. This is
computed in the small space of the residuals, with M = I + A Aᵀ and the derivatives B by β and F by c:

    B̃ = B − F (FᵀM⁻¹F)⁻¹ FᵀM⁻¹B,   Λ = B̃ᵀ M⁻¹ B̃,   g = B̃ᵀ M⁻¹ (r − A z),   h = Λ β − g.

g is the gradient by β after pose and frame have followed, so h belongs to the minimum of the quadratic even if the fit
stopped a little short of it; at the minimum g = −β and h = (Λ + I) β.

These quantities assume the noise. ``shape_evidence`` divides Λ and h by s², the noise estimated from the picture itself
(``engine.posed.noise_scale``).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray, map_samples, map_samples_in_double
from engine.body import quaternions
from engine.evidence.shape_evidence import Evidence
from engine.picture.cameras import WeakPerspective
from engine.posed.jacobian import linearise
from engine.posed.noise_scale import noise_scale
from engine.posed.problem import (
    FRAME_SIZE,
    Picture,
    PictureUnknowns,
    PosedProblem,
    body_pose,
    pose_model,
    posed_energy,
    robustness,
    seen_at,
)
from engine.posed.search import TILE_SIZE, PosedContext
from engine.solvers.levenberg_marquardt import LinearModel, ReducedModel, eliminate_whitened
from engine.solvers.small_systems import positive_diagonal, solve_positive

_EXACT_SIGMA = 0.005
"""Bound of the largest sigma, person heights (hips at just under 0.4 % noise). Below it single precision rounds
evidence by more than 1e-4 nats, and at 0.1 % noise it loses the evidence. Double precision costs a seventh of a fit
more."""


class PosedFit(eqx.Module):
    """One row per picture. Rows with status ``too_few_keypoints`` have NaN or 0 in all fields but ``pictures``."""

    pictures: Picture
    """The fitted pictures: labels swapped as in ``swapped_labels``, betas of the fit."""
    unknowns: PictureUnknowns
    pose: Float[AnyArray, "images joints 3"]
    """Rotation vectors in radians, the global orientation in the camera's frame first."""
    camera: WeakPerspective
    """Scale at the body's origin and its position in the picture; person heights per metre, person heights."""
    camera_px: WeakPerspective
    """The same in pixels."""
    residuals: Float[AnyArray, "images keypoints 2"]
    """Seen minus modelled keypoints by the given labels, person heights; 0 if not seen."""
    energy: Float[AnyArray, " images"]
    """½ Σ ρ + ½ |z|² + ½ |limits|², and ½ |β|² if the shape is free, in nats."""
    data_energy: Float[AnyArray, " images"]
    """½ Σ ρ alone, in nats."""
    steps: Int[AnyArray, " images"]
    """Number of Levenberg-Marquardt steps over all starts of the picture."""
    status: Int[AnyArray, " images"]
    swapped_labels: Int[AnyArray, " images"]
    """Limbs whose left and right labels were swapped back, as the code of ``engine.picture.swapped_labels``."""

    @property
    def betas(self) -> Float[AnyArray, "images betas"]:
        """The given shape, or the picture's own."""
        return self.pictures.betas


def posed_energies(
    problem: PosedProblem, pictures: Picture, unknowns: PictureUnknowns, exact: bool = False
) -> Float[np.ndarray, " images"]:
    """``posed_energy`` of many pictures, in nats.

    Args:
        exact: in double precision. Single precision rounds energies by 1e-4 nats, too much for their differences.
    """
    run = map_samples_in_double if exact else map_samples
    return np.asarray(run(_energy, problem, (pictures, unknowns), TILE_SIZE))


def _energy(problem: PosedProblem, fitted: tuple[Picture, PictureUnknowns]) -> Float[Array, ""]:
    return posed_energy(problem, *fitted)


class Described(eqx.Module):
    """A fit of one picture in the users' terms."""

    pose: Float[Array, "*images joints 3"]
    camera: WeakPerspective
    camera_px: WeakPerspective
    residuals: Float[Array, "*images keypoints 2"]
    data_energy: Float[Array, "*images"]


def describe(problem: PosedProblem, pictures: Picture, unknowns: PictureUnknowns) -> Described:
    """Fits of many pictures in the users' terms."""
    return map_samples(_describe, problem, (pictures, unknowns), TILE_SIZE)


def _describe(problem: PosedProblem, fitted: tuple[Picture, PictureUnknowns]) -> Described:
    picture, unknowns = fitted
    observation = picture.observation
    model, noise = problem.model, problem.noise
    orientation = quaternions.to_rotation_vector(unknowns.orientation)
    seen = seen_at(unknowns, observation.lens, pose_model(model, picture.betas, unknowns).keypoints)
    residuals = jnp.where(observation.confidence[:, None] > 0, observation.points - seen, 0.0)
    squared = observation.confidence * jnp.sum(residuals**2, axis=-1) / noise.sigmas**2
    camera = WeakPerspective(jnp.exp(unknowns.log_scale), jnp.asarray(unknowns.translation))
    return Described(
        pose=jnp.concatenate([orientation[None], body_pose(model, unknowns.latent)]),
        camera=camera,
        camera_px=WeakPerspective(
            camera.scale * observation.person_height_px,
            camera.translation * observation.person_height_px + observation.centre_px,
        ),
        residuals=residuals,
        data_energy=0.5 * jnp.sum(squared * robustness(squared, noise.width)),
    )


def picture_evidence(problem: PosedProblem, picture: Picture, unknowns: PictureUnknowns) -> Evidence:
    """Λ and h of one picture, at its own β and the assumed noise."""
    linear = linear_model(problem, (picture, unknowns))
    return laplace_evidence(linear, eliminate_whitened(linear, 0.0), picture.betas)


def linear_model(problem: PosedProblem, fitted: tuple[Picture, PictureUnknowns]) -> LinearModel:
    """The problem of one picture, linearised at its fit with free shape."""
    return linearise(problem, *fitted, free_betas=True)


def laplace_evidence(linear: LinearModel, reduced: ReducedModel, betas: Float[AnyArray, " betas"]) -> Evidence:
    """Λ and h of a problem that is linear around a fit with this β, and its model without z (no damping)."""
    by_frame, by_betas = linear.by_dense[:, :FRAME_SIZE], linear.by_dense[:, FRAME_SIZE:]
    weighted_frame, weighted_betas = reduced.weighted_rows[:, :FRAME_SIZE], reduced.weighted_rows[:, FRAME_SIZE:]
    within = positive_diagonal(by_frame.T @ weighted_frame)
    follows = solve_positive(within, weighted_frame.T @ by_betas)
    # B is projected before it is squared: a difference of two large matrices would lose significant digits.
    free = by_betas - by_frame @ follows
    precision = free.T @ (weighted_betas - weighted_frame @ follows)
    gradient = free.T @ (linear.residuals + reduced.change)
    precision = 0.5 * (precision + precision.T)
    return Evidence(precision, precision @ betas - gradient)


def _evidence_of(problem: PosedProblem, fitted: tuple[Picture, PictureUnknowns]) -> Evidence:
    picture, _ = fitted
    linear = linear_model(problem, fitted)
    evidence = laplace_evidence(linear, eliminate_whitened(linear, 0.0), picture.betas)
    scale = noise_scale(linear, jnp.asarray(picture.betas), jnp.asarray(picture.observation.confidence) > 0)
    return Evidence(evidence.precision / scale**2, evidence.information / scale**2)


def shape_evidence(context: PosedContext, fit: PosedFit) -> Evidence:
    """Evidence of each picture about the shape at its own noise: without pose, camera and shape prior.

    The fits have free shapes: the quadratic is taken at the fit's β. The evidence is zero for pictures that could not
    be fitted or whose numbers overflow.
    """
    unknowns = jax.tree.map(np.nan_to_num, fit.unknowns)
    exact = float(np.max(context.problem.noise.sigmas)) < _EXACT_SIGMA
    run = map_samples_in_double if exact else map_samples
    evidence = run(_evidence_of, context.problem, (fit.pictures, unknowns), TILE_SIZE)
    dtype = fit.energy.dtype
    known = np.isfinite(fit.energy) & np.isfinite(evidence.precision).all(axis=(1, 2))
    known &= np.isfinite(evidence.information).all(axis=1)
    return Evidence(
        np.where(known[:, None, None], evidence.precision, 0).astype(dtype),
        np.where(known[:, None], evidence.information, 0).astype(dtype),
    )
