"""The posed problem of one picture, linearised: analytic derivatives through sums over the joints below.

A turn δω_j of joint j, in the world, moves keypoint k by

    δx_k = Σ_j δω_j × (S_kj − W_kj p_j)

where S_kj sums the parts of keypoint k on the joints below j, W_kj their weights, and p_j is the joint's position. For
a rotation vector r_j the turn is G_parent J_left(r_j) δr_j; for the root it is the chart's ω itself. Pose blendshapes
add R_j P_kj δψ, with δR_i = [J_left δr_i]ₓ R_i. All derivatives are exact and analytic, without automatic
differentiation.

The linear model has two rows per keypoint, then one per hinge. They include the re-weighting by the robust loss.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.body.pose_prior import hinge_residuals
from engine.body.rotations import left_jacobian, rotation_matrix, skew
from engine.picture.cameras import IMAGE_AXES, image_plane, pinhole_depth_factor
from engine.posed.model import PosedModel, descendant_matrix
from engine.posed.problem import (
    FRAME_SIZE,
    Picture,
    PictureUnknowns,
    PosedBody,
    PosedProblem,
    compose,
    pose_model,
    robustness,
)
from engine.solvers.levenberg_marquardt import LinearModel


def linearise(problem: PosedProblem, picture: Picture, unknowns: PictureUnknowns, free_betas: bool) -> LinearModel:
    """The linear model in the chart of ``apply_step``. z is whitened; the frame, then β if it is free, are dense."""
    model, noise = problem.model, problem.noise
    observation, lens, betas = picture.observation, picture.observation.lens, picture.betas
    posed = pose_model(model, betas, unknowns)
    dtype = posed.keypoints.dtype
    scale = jnp.exp(unknowns.log_scale)
    plane = image_plane(posed.keypoints)
    factor, slope = pinhole_depth_factor(lens, scale, posed.keypoints[:, 2])
    from_axis = unknowns.translation + scale * plane - lens.principal_point
    projected = lens.principal_point + from_axis * factor[:, None]
    whitening = jnp.sqrt(observation.confidence) / noise.sigmas
    residuals = whitening[:, None] * (observation.points - projected)
    weights = robustness(jnp.sum(residuals**2, axis=-1), noise.width)
    gains = -(weights * whitening)[:, None]

    # ∂residual/∂point has two rows, along the picture's axes; depth enters through the lens.
    along = gains * (scale * factor)[:, None] * jnp.array(IMAGE_AXES, dtype)
    depth = gains * from_axis * (slope * scale)[:, None]

    def seen(motion: Float[Array, "keypoints 3 n"]) -> Float[Array, "rows n"]:
        both = along[:, :, None] * motion[:, :2] + depth[:, :, None] * motion[:, 2:]
        return both.reshape(2 * len(along), -1)

    by_scale = gains * (scale * factor[:, None] * plane + from_axis * (slope * scale * posed.keypoints[:, 2])[:, None])
    dense = [
        seen(_turn_motion(posed.keypoints - posed.positions[0])),
        by_scale.reshape(-1, 1),
        ((gains * factor[:, None])[:, :, None] * jnp.eye(2, dtype=dtype)).reshape(-1, 2),
    ]
    values, precision = jnp.zeros(FRAME_SIZE, dtype), jnp.zeros(FRAME_SIZE, dtype)
    if free_betas:
        dense.append(seen(_shape_motion(model, posed)))
        values = jnp.concatenate([values, betas])
        precision = jnp.concatenate([precision, jnp.ones_like(betas)])
    hinges, hinges_by_latent = _hinge_rows(model, posed.vectors)
    by_dense = jnp.concatenate(dense, axis=1)
    return LinearModel(
        residuals=jnp.concatenate([(weights[:, None] * residuals).reshape(-1), hinges]),
        by_whitened=jnp.concatenate([_latent_rows(model, posed, along, depth), hinges_by_latent]),
        by_dense=jnp.concatenate([by_dense, jnp.zeros((len(hinges), by_dense.shape[1]), dtype)]),
        whitened=jnp.asarray(unknowns.latent),
        dense=values,
        dense_precision=precision,
    )


def _turn_motion(levers: Float[Array, "keypoints 3"]) -> Float[Array, "keypoints 3 3"]:
    """Columns: the motion ω × lever for ω along each axis."""
    x, y, z = levers.T
    zero = jnp.zeros_like(x)
    rows = [[zero, z, -y], [-z, zero, x], [y, -x, zero]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _latent_rows(
    model: PosedModel, posed: PosedBody, along: Float[Array, "keypoints 2"], depth: Float[Array, "keypoints 2"]
) -> Float[Array, "rows latents"]:
    joints = np.array(model.moving_joints)
    parents = np.array(model.parents)[joints]
    dtype = posed.keypoints.dtype
    # One row per part, one column per (keypoint, joint): 1 if the part is that keypoint's and below that joint.
    below = descendant_matrix(model.parents)[joints][:, list(model.part_joints)]
    belongs = model.part_to_keypoint.T[:, :, None] * below.T[:, None, :]
    belongs = jnp.asarray(belongs.reshape(len(belongs), -1), dtype)
    sums = (posed.parts.T @ belongs).reshape(3, len(along), len(joints))
    weights = (model.part_masses @ belongs).reshape(len(along), len(joints))
    x, y, z = sums - weights * posed.positions[joints].T[:, None, :]

    # The rows of (∂residual/∂point) · (ω × lever), as coefficients of ω.
    along_x, along_y = along[:, :1], along[:, 1:]
    depth_x, depth_y = depth[:, :1], depth[:, 1:]
    first = (depth_x * y, along_x * z - depth_x * x, -along_x * y)
    second = (depth_y * y - along_y * z, -depth_y * x, along_y * x)
    turned = compose(posed.rotations[parents], jax.vmap(left_jacobian)(posed.vectors[joints - 1]))

    def by_vector(coefficients: tuple[Array, Array, Array]) -> Float[Array, "keypoints joints 3"]:
        terms = [coefficients[i][..., None] * turned[None, :, i, :] for i in range(3)]
        return terms[0] + terms[1] + terms[2]

    rows = jnp.stack([by_vector(first), by_vector(second)], axis=1)
    if model.corrective_parts:
        rows = rows + _corrective_rows(model, posed, along, depth)[:, :, joints - 1]
    basis = model.pose_basis[joints - 1].reshape(3 * len(joints), -1)
    return rows.reshape(2 * len(along), -1) @ basis


def _corrective_rows(
    model: PosedModel, posed: PosedBody, along: Float[Array, "keypoints 2"], depth: Float[Array, "keypoints 2"]
) -> Float[Array, "keypoints 2 posed_joints 3"]:
    """Contribution of the pose blendshapes."""
    parts = np.array(model.corrective_parts)
    keypoints, joints = np.array(model.part_keypoints)[parts], np.array(model.part_joints)[parts]
    moved = jnp.einsum("nab,nbf->naf", posed.rotations[joints], model.corrective_posedirs)
    seen = along[keypoints, :, None] * moved[:, :2] + depth[keypoints, :, None] * moved[:, 2:]

    def change(vector: Float[Array, "3"]) -> Float[Array, "3 3 3"]:
        turns = jax.vmap(skew, in_axes=1, out_axes=2)(left_jacobian(vector))
        return jnp.einsum("abc,bd->adc", turns, rotation_matrix(vector))

    by_part = jnp.einsum("nujad,jadc->nujc", seen.reshape(len(parts), 2, -1, 3, 3), jax.vmap(change)(posed.vectors))
    belongs = jnp.asarray(np.arange(len(along))[:, None] == keypoints, seen.dtype)
    return jnp.einsum("kn,nujc->kujc", belongs, by_part)


def _shape_motion(model: PosedModel, posed: PosedBody) -> Float[Array, "keypoints 3 betas"]:
    """Motion of each keypoint per unit of each shape component.

    Sums are used instead of products with constant matrices. XLA would make all lanes of a tile the columns of one
    large matrix, and round columns differently by their position.
    """
    directions = model.body.joint_shapedirs
    parents = np.array(model.parents[1:])
    turned = compose(posed.rotations[parents], directions[1:] - directions[parents])
    positions = [directions[0]]
    for joint, parent in enumerate(model.parents[1:], start=1):
        positions.append(positions[parent] + turned[joint - 1])
    joints = np.array(model.part_joints)
    parts = compose(posed.rotations[joints], model.part_shapedirs)
    parts = parts + model.part_masses[:, None, None] * jnp.stack([positions[joint] for joint in joints])
    by_keypoint = model.keypoint_parts
    with_none = jnp.concatenate([parts, jnp.zeros_like(parts[:1])])
    return sum((with_none[column] for column in by_keypoint.T[1:]), with_none[by_keypoint[:, 0]])


def _hinge_rows(
    model: PosedModel, vectors: Float[Array, "posed_joints 3"]
) -> tuple[Float[Array, " hinges"], Float[Array, "hinges latents"]]:
    hinges = model.hinges
    residuals = hinge_residuals(hinges, vectors)
    flexion = jnp.einsum("hc,hcl->hl", hinges.axes, model.pose_basis[np.array(hinges.joints)])
    return residuals, jnp.where(residuals == 0, 0.0, 1.0 / hinges.softness)[:, None] * flexion
