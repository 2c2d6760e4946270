"""A plain posed fit with any pose density, to compare pose priors: forward differentiation, dense Gauss-Newton.

It shares no code with the engine's solver. Unknowns of a picture: orientation, camera, 69 pose coordinates; the shape
is known. Mixtures and heavy tails enter by majorisation: with the responsibilities γ_c and the weights
w_c = (ν + d)/(ν + |z_c|²) at the current pose, −log p lies below a quadratic of precision Σ γ_c w_c P_c that touches
it there.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.transform import Rotation

from benchmarks.pose_densities import Density, full_precision_parts
from benchmarks.synthetic import SyntheticPictures
from engine.body.keypoint_body import KeypointBody, pose_keypoints, pose_skeleton
from engine.body.pose_prior import Hinges, hinge_residuals
from engine.body.rotations import rotation_matrix
from engine.picture.noise import NoiseModel
from engine.picture.observation import REFERENCE_STATURE_M

_STEPS = 25
LIMBS = (1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)
"""Joints that COCO-17 tells something about: hips, knees, ankles, neck, head, shoulders, elbows, wrists."""


class QuadraticParts(NamedTuple):
    """A density over all 69 coordinates, laid out for the fit."""

    means: Float[Array, "components 69"]
    precisions: Float[Array, "components 69 69"]
    loose_precision: Float[Array, "69 69"]
    log_weights: Float[Array, " components"]
    """With the components' volumes."""
    dof: Float[Array, ""]
    """0 for a Gaussian."""
    core_size: Float[Array, ""]


class FitErrors(NamedTuple):
    """One entry per picture."""

    pa_mpjpe_mm: Float[np.ndarray, " pictures"]
    energy: Float[np.ndarray, " pictures"]


def parts_of_density(density: Density, poses: Float[np.ndarray, "poses 69"]) -> QuadraticParts:
    """For a density over core coordinates; ``poses`` say how the other coordinates spread."""
    means, precisions, loose = full_precision_parts(density, poses)
    volumes = 0.5 * np.linalg.slogdet(density.covariances)[1]
    return QuadraticParts(
        jnp.asarray(means),
        jnp.asarray(precisions),
        jnp.asarray(loose),
        jnp.asarray(density.log_weights - volumes),
        jnp.asarray(density.degrees_of_freedom or 0.0),
        jnp.asarray(float(density.means.shape[1])),
    )


def parts_of_gaussian(mean: Float[np.ndarray, " 69"], axes: Float[np.ndarray, "69 69"]) -> QuadraticParts:
    """For a prior of one component."""
    precision = np.linalg.inv(axes @ axes.T)
    none = jnp.zeros((69, 69))
    return QuadraticParts(
        jnp.asarray(mean[None]), jnp.asarray(precision[None]), none, jnp.zeros(1), jnp.zeros(()), jnp.asarray(69.0)
    )


def prior_terms(
    parts: QuadraticParts, pose: Float[Array, " 69"]
) -> tuple[Float[Array, ""], Float[Array, " 69"], Float[Array, "69 69"]]:
    """−log p up to a constant, its gradient, and the Hessian of a quadratic that touches it from above."""
    away = pose - parts.means
    squared = jnp.einsum("ca,cab,cb->c", away, parts.precisions, away)
    heavy = parts.dof > 0
    dof = jnp.where(heavy, parts.dof, 1.0)
    tail = 0.5 * (dof + parts.core_size) * jnp.log1p(squared / dof)
    logs = parts.log_weights - jnp.where(heavy, tail, 0.5 * squared)
    pull = jax.nn.softmax(logs) * jnp.where(heavy, (dof + parts.core_size) / (dof + squared), 1.0)
    hessian = jnp.einsum("c,cab->ab", pull, parts.precisions) + parts.loose_precision
    loose_pull = parts.loose_precision @ away[0]
    gradient = jnp.einsum("c,cab,cb->a", pull, parts.precisions, away) + loose_pull
    return 0.5 * away[0] @ loose_pull - jax.nn.logsumexp(logs), gradient, hessian


def _residuals(body: KeypointBody, limits: Hinges, sigmas: Array, betas: Array, rotation: Array, observed: Array):
    def of(unknowns: Float[Array, " 75"]) -> Array:
        turn, camera, pose = unknowns[:3], unknowns[3:6], unknowns[6:].reshape(-1, 3)
        points = pose_keypoints(body, betas, jnp.concatenate([jnp.zeros((1, 3)), pose]))
        points = points @ (rotation_matrix(turn) @ rotation).T
        seen = jnp.exp(camera[0]) * points[:, :2] * jnp.array([1.0, -1.0]) + camera[1:]
        return jnp.concatenate([((observed - seen) / sigmas[:, None]).reshape(-1), hinge_residuals(limits, pose)])

    return of


@partial(jax.jit, static_argnames="level")
@partial(jax.vmap, in_axes=(None, None, None, None, 0, 0, 0))
def _fit_picture(body, limits, parts, level, betas, start, observed):
    rotation, pose = start
    sigmas = NoiseModel(level).sigmas(body.schema)

    def energy(unknowns, rotation):
        residuals = _residuals(body, limits, sigmas, betas, rotation, observed)(unknowns)
        return 0.5 * residuals @ residuals + prior_terms(parts, unknowns[6:])[0]

    def step(state, _):
        unknowns, rotation, damping, best = state
        residuals_at = _residuals(body, limits, sigmas, betas, rotation, observed)
        residuals, jacobian = residuals_at(unknowns), jax.jacfwd(residuals_at)(unknowns)
        _, prior_gradient, prior_hessian = prior_terms(parts, unknowns[6:])
        hessian = (jacobian.T @ jacobian).at[6:, 6:].add(prior_hessian)
        gradient = (jacobian.T @ residuals).at[6:].add(prior_gradient)
        moved = unknowns - jnp.linalg.solve(hessian + damping * jnp.diag(jnp.diag(hessian)), gradient)
        better = energy(moved, rotation) < best
        unknowns = jnp.where(better, moved, unknowns)
        best = jnp.where(better, energy(moved, rotation), best)
        # The turn is taken into the rotation, so that its own coordinates stay near zero.
        rotation = rotation_matrix(unknowns[:3]) @ rotation
        return (unknowns.at[:3].set(0.0), rotation, damping * jnp.where(better, 0.3, 5.0), best), None

    unknowns = jnp.concatenate([jnp.zeros(3), jnp.array([-jnp.log(REFERENCE_STATURE_M), 0.0, 0.0]), pose])
    state = (unknowns, rotation, jnp.asarray(1e-2), energy(unknowns, rotation))
    unknowns, rotation, _, best = jax.lax.scan(step, state, None, length=_STEPS)[0]
    found = jnp.concatenate([jnp.zeros((1, 3)), unknowns[6:].reshape(-1, 3)])
    return pose_skeleton(body, betas, found).positions @ rotation.T, best


def aligned_error_mm(found: Float[np.ndarray, "n 3"], truth: Float[np.ndarray, "n 3"]) -> float:
    """PA-MPJPE: mean distance after the best similarity transform (Procrustes)."""
    found, truth = found - found.mean(axis=0), truth - truth.mean(axis=0)
    left, values, right = np.linalg.svd(found.T @ truth)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = (values * signs).sum() / np.sum(found**2)
    return float(1000 * np.linalg.norm(scale * found @ (left * signs) @ right - truth, axis=1).mean())


def fit_pictures(
    body: KeypointBody,
    parts: QuadraticParts,
    limits: Hinges,
    pictures: SyntheticPictures,
    level: float,
    from_truth: bool,
) -> FitErrors:
    """Fit every picture at its true shape.

    Args:
        limits: for the hinges of knees and elbows only.
        level: of the noise, person heights.
        from_truth: start at the true pose and orientation, so that what is left is the prior's and the noise's doing;
            otherwise from the density's mean facing four ways, the best energy kept.
    """
    count = pictures.confidence.shape[0] * pictures.confidence.shape[1]
    points = pictures.keypoints_px.reshape(count, -1, 2)
    observed = (points - points.mean(axis=1, keepdims=True)) / pictures.person_height_px.reshape(-1, 1, 1)
    betas = np.repeat(pictures.betas, pictures.confidence.shape[1], axis=0)
    pose = pictures.pose.reshape(count, 24, 3)
    if from_truth:
        starts = [(Rotation.from_rotvec(pose[:, 0]).as_matrix(), pose[:, 1:].reshape(count, -1))]
    else:
        likeliest = np.asarray(parts.means[int(jnp.argmax(parts.log_weights))])
        turns = [Rotation.from_euler("y", 90 * quarter, degrees=True).as_matrix() for quarter in range(4)]
        starts = [(np.tile(turn, (count, 1, 1)), np.tile(likeliest, (count, 1))) for turn in turns]
    joints, energies = [], []
    for rotation, start in starts:
        given = (jnp.asarray(betas), (jnp.asarray(rotation), jnp.asarray(start)), jnp.asarray(observed))
        found, energy = _fit_picture(body, limits, parts, level, *given)
        joints.append(np.asarray(found))
        energies.append(np.nan_to_num(np.asarray(energy), nan=np.inf))
    best = np.argmin(energies, axis=0)
    chosen = np.array(joints)[best, np.arange(count)][:, LIMBS]
    truth = pictures.joints_m.reshape(count, 24, 3)[:, LIMBS]
    errors = [aligned_error_mm(a, b) for a, b in zip(chosen, truth, strict=True)]
    return FitErrors(np.array(errors), np.min(energies, axis=0))
