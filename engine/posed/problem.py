"""The posed problem of one picture: unknowns, whitened residuals, energy.

    energy = ½ Σ_k ρ(|r_k|²) + ½ |z|² + ½ |limits(θ)|²           θ = μ + B z
    r_k = √c_k (y_k − project(camera, x_k(β, θ, R))) / σ_k
    ρ(s) = w² s / (w² + s)                                        Geman-McClure of width w

The shape prior ½ |β|² is not included: callers that free β add it once per person. A general solver minimises
``posed_energy`` over the fields of ``PictureUnknowns`` (and β). Levenberg-Marquardt uses ``engine.posed.jacobian`` and
the chart of ``apply_step``, in which the orientation R is multiplied from the left by exp(ω), so that no orientation is
special.

The robust loss is a re-weighting of residuals by ρ' (here and nowhere else): the gradient is exact, and the
Gauss-Newton Hessian bounds the loss from above.

Sources: Loper et al., "SMPL", 2015; Geman and McClure, "Statistical methods for tomographic image reconstruction",
1987; Holland and Welsch, "Robust regression using iteratively reweighted least-squares", 1977.
"""

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.batching import AnyArray
from engine.body import quaternions
from engine.body.model import tree_levels
from engine.body.pose_prior import hinge_residuals
from engine.body.rotations import rotation_matrix
from engine.body.schemas import KeypointSchema
from engine.picture.cameras import Lens, image_plane, pinhole_depth_factor
from engine.picture.noise import NoiseModel
from engine.picture.observation import Observation
from engine.posed.model import PosedModel, descendant_matrix


class PictureUnknowns(eqx.Module):
    """Unknowns of one picture besides the shape; a leading ``images`` axis when batched."""

    orientation: Float[AnyArray, "*images 4"]
    """Quaternion, body to camera; need not be of unit length."""
    latent: Float[AnyArray, "*images latents"]
    """Pose in the prior's whitened coordinates."""
    log_scale: Float[AnyArray, "*images"]
    """Logarithm of person heights per metre at the body's origin."""
    translation: Float[AnyArray, "*images 2"]
    """Position of the body's origin in the picture, person heights."""


class Noise(NamedTuple):
    """Expected distance between seen and modelled keypoints."""

    sigmas: Float[Array, " keypoints"]
    """Standard deviations, person heights."""
    width: Float[Array, ""]
    """Width of the robust loss, in sigmas."""


ROBUST_WIDTH = 8.0
"""A keypoint at 8 sigmas counts a quarter, one at 16 sigmas 1/25. A width of 4 and a loss without robustness give
scores that cannot be told apart from these (benchmarks/results.md, "Identity")."""


def noise_of(model: NoiseModel, schema: KeypointSchema, width: float = ROBUST_WIDTH) -> Noise:
    """The noise of a detector as arrays, so that one compiled solver serves all levels."""
    sigmas = model.sigmas(schema)
    return Noise(sigmas, jnp.asarray(width, sigmas.dtype))


class PosedProblem(eqx.Module):
    """Data shared by the posed problems of all pictures: the body with its pose prior, and the noise of keypoints."""

    model: PosedModel
    noise: Noise


class Picture(eqx.Module):
    """One picture and the shape that it is fitted with; a leading axis when batched."""

    observation: Observation
    betas: Float[AnyArray, "*images betas"]


class PosedBody(NamedTuple):
    """A body in the camera's orientation, in metres from the body's origin."""

    rotations: Float[Array, "joints 3 3"]
    positions: Float[Array, "joints 3"]
    vectors: Float[Array, "posed_joints 3"]
    """Rotation vectors of all joints but the root, radians."""
    parts: Float[Array, "parts 3"]
    """The part of each keypoint that each joint carries."""
    keypoints: Float[Array, "keypoints 3"]


def body_pose(model: PosedModel, latent: Float[AnyArray, " latents"]) -> Float[Array, "posed_joints 3"]:
    """Rotation vectors of all joints but the root, radians."""
    return model.pose_mean + model.pose_basis @ jnp.asarray(latent)


def compose(left: Float[Array, "n 3 3"], right: Float[Array, "n 3 m"]) -> Float[Array, "n 3 m"]:
    """Products of small matrices, written as sums; calls into a matrix library are slower at this size."""
    terms = [left[:, :, i, None] * right[:, i, None, :] for i in range(3)]
    return terms[0] + terms[1] + terms[2]


def _turn(rotations: Float[Array, "n 3 3"], vectors: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    terms = [rotations[:, :, i] * vectors[:, i, None] for i in range(3)]
    return terms[0] + terms[1] + terms[2]


def pose_model(model: PosedModel, betas: Float[AnyArray, " betas"], unknowns: PictureUnknowns) -> PosedBody:
    """Joints, parts and keypoints; equal to ``engine.body.keypoint_body.pose_keypoints`` to rounding."""
    dtype = unknowns.latent.dtype
    vectors = body_pose(model, unknowns.latent)
    root = quaternions.to_matrix(unknowns.orientation)
    local = jnp.concatenate([root[None], jax.vmap(rotation_matrix)(vectors)])
    rotations = _world_rotations(model, local)
    rest_joints = model.body.joints + model.body.joint_shapedirs @ betas
    parents = np.array(model.parents[1:])
    spans = jnp.concatenate([rest_joints[:1], _turn(rotations[parents], rest_joints[1:] - rest_joints[parents])])
    positions = jnp.asarray(descendant_matrix(model.parents).T, dtype) @ spans

    offsets = model.part_offsets + model.part_shapedirs @ betas
    if model.corrective_parts:
        features = (local[1:] - jnp.eye(3, dtype=dtype)).reshape(-1)
        offsets = offsets.at[np.array(model.corrective_parts)].add(model.corrective_posedirs @ features)
    joints = np.array(model.part_joints)
    parts = _turn(rotations[joints], offsets) + model.part_masses[:, None] * positions[joints]
    return PosedBody(rotations, positions, vectors, parts, jnp.asarray(model.part_to_keypoint, dtype) @ parts)


def _world_rotations(model: PosedModel, local: Float[Array, "joints 3 3"]) -> Float[Array, "joints 3 3"]:
    levels = tree_levels(model.parents)
    by_level = [local[np.array(levels[0])]]
    for above, level in itertools.pairwise(levels):
        parents = np.array([above.index(model.parents[joint]) for joint in level])
        by_level.append(compose(by_level[-1][parents], local[np.array(level)]))
    return jnp.concatenate(by_level)[np.argsort([joint for level in levels for joint in level])]


def seen_at(unknowns: PictureUnknowns, lens: Lens, points: Float[Array, "keypoints 3"]) -> Float[Array, "keypoints 2"]:
    """Image of points in the camera's orientation, person heights."""
    scale = jnp.exp(unknowns.log_scale)
    factor, _ = pinhole_depth_factor(lens, scale, points[:, 2])
    plane = image_plane(points)
    axis = jnp.asarray(lens.principal_point)
    return axis + (unknowns.translation + scale * plane - axis) * factor[:, None]


def robustness(squared: Float[Array, "*n"], width: Float[Array, ""]) -> Float[Array, "*n"]:
    """φ = w²/(w² + s) of Geman and McClure: the loss is ρ = s φ and its derivative ρ' = φ²."""
    return width**2 / (width**2 + squared)


def keypoint_residuals(
    problem: PosedProblem, picture: Picture, unknowns: PictureUnknowns
) -> Float[Array, "keypoints 2"]:
    """Whitened residuals before the robust loss; zero for keypoints that were not seen."""
    observation = picture.observation
    projected = seen_at(unknowns, observation.lens, pose_model(problem.model, picture.betas, unknowns).keypoints)
    return (jnp.sqrt(observation.confidence) / problem.noise.sigmas)[:, None] * (observation.points - projected)


def posed_residuals(problem: PosedProblem, picture: Picture, unknowns: PictureUnknowns) -> Float[Array, " residuals"]:
    """All residuals, for general solvers; the energy is half the sum of their squares."""
    residuals = keypoint_residuals(problem, picture, unknowns)
    # The length of each residual becomes √ρ.
    softened = residuals * jnp.sqrt(robustness(jnp.sum(residuals**2, axis=-1, keepdims=True), problem.noise.width))
    limits = hinge_residuals(problem.model.hinges, body_pose(problem.model, unknowns.latent))
    return jnp.concatenate([softened.reshape(-1), jnp.asarray(unknowns.latent), limits])


def posed_energy(problem: PosedProblem, picture: Picture, unknowns: PictureUnknowns) -> Float[Array, ""]:
    """Negative log posterior of one picture up to a constant, in nats; the shape prior is not included."""
    return 0.5 * jnp.sum(posed_residuals(problem, picture, unknowns) ** 2)


FRAME_SIZE = 6
"""Turn, log scale, translation: the unknowns of a picture that have no prior."""


def apply_step(
    unknowns: PictureUnknowns, latent: Float[AnyArray, " latents"], frame: Float[Array, "6"]
) -> PictureUnknowns:
    """The unknowns after a change in the chart; ``frame`` is turn (radians), log scale, translation."""
    turned = quaternions.multiply(quaternions.from_rotation_vector(frame[:3]), unknowns.orientation)
    return PictureUnknowns(
        orientation=quaternions.normalise(turned),
        latent=unknowns.latent + latent,
        log_scale=unknowns.log_scale + frame[3],
        translation=unknowns.translation + frame[4:],
    )
