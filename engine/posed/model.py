"""Precomputed data shared by all posed fits with one body, schema and pose prior.

The only approximation is stated below.

A keypoint depends on few joints: the (keypoint, joint) pairs with a weight are listed as *parts*. A rotation of joint j
moves keypoint k only if a part of k is below j and away from j; joints that move no keypoint are left out of the
Jacobian.

The pose is θ = μ + B z with z ~ N(0, I). The prior's axes are rotated so that the columns of B are sorted by the motion
of keypoints, in metres, on poses drawn from the prior. Columns that move no keypoint by more than
``_NEGLIGIBLE_MOTION_M`` (turns of a forearm about itself, the fingers) are dropped. z = 0 in them is the prior's mean
given the rest, so hidden joints get their conditional mean.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.body.keypoint_body import KeypointBody
from engine.body.model import forward_kinematics
from engine.body.pose_prior import Hinges, PosePrior, sample
from engine.body.rotations import left_jacobian, rotation_matrix

_NEGLIGIBLE_MOTION_M = 0.0005
_SAMPLE_POSES = 64


class PosedModel(eqx.Module):
    """A body and a pose prior for posed fits. ``make_posed_model`` makes this pytree."""

    body: KeypointBody
    part_offsets: Float[Array, "parts 3"]
    """Offset from the part's joint, times its weight, metres."""
    part_shapedirs: Float[Array, "parts 3 betas"]
    part_masses: Float[Array, " parts"]
    corrective_posedirs: Float[Array, "corrective_parts 3 pose_features"]
    """Pose blendshapes of those parts that have any."""
    pose_mean: Float[Array, "posed_joints 3"]
    pose_basis: Float[Array, "posed_joints 3 latents"]
    """Radians per standard deviation."""
    pose_whitener: Float[Array, "latents posed_joints 3"]
    """Inverse of the basis, restricted to the kept columns: a change of the pose in whitened coordinates."""
    hinges: Hinges
    part_keypoints: tuple[int, ...] = eqx.field(static=True)
    part_joints: tuple[int, ...] = eqx.field(static=True)
    corrective_parts: tuple[int, ...] = eqx.field(static=True)
    moving_joints: tuple[int, ...] = eqx.field(static=True)
    """Joints but the root whose rotation moves a keypoint."""

    @property
    def latent_count(self) -> int:
        return self.pose_basis.shape[-1]

    @property
    def beta_count(self) -> int:
        return self.body.beta_count

    @property
    def part_to_keypoint(self) -> Float[np.ndarray, "keypoints parts"]:
        """1 if a part belongs to a keypoint, else 0."""
        keypoints = np.arange(self.body.masses.shape[0])
        return (keypoints[:, None] == np.array(self.part_keypoints)).astype(float)

    @property
    def keypoint_parts(self) -> Int[np.ndarray, "keypoints slots"]:
        """The parts of each keypoint; empty slots hold the number of parts."""
        lists = [np.flatnonzero(row) for row in self.part_to_keypoint]
        table = np.full((len(lists), max(map(len, lists))), len(self.part_keypoints))
        for keypoint, parts in enumerate(lists):
            table[keypoint, : len(parts)] = parts
        return table

    @property
    def parents(self) -> tuple[int, ...]:
        return self.body.parents


def descendant_matrix(parents: Sequence[int]) -> np.ndarray:
    """1 at [j, i] if joint i is j or below j, else 0."""
    below = np.eye(len(parents))
    for joint in reversed(range(len(parents))):
        if parents[joint] >= 0:
            below[parents[joint]] += below[joint]
    return below


def make_posed_model(body: KeypointBody, prior: PosePrior) -> PosedModel:
    """Lay out a body and a pose prior for posed fits.

    Raises:
        ValueError: the prior is for another skeleton.
    """
    if body.joint_count != 1 + len(prior.mean) // 3:
        raise ValueError(f"body {body.name} has {body.joint_count} joints, the pose prior is made for SMPL's 24")
    masses, offsets = np.asarray(body.masses), np.asarray(body.offsets)
    posedirs = np.asarray(body.offset_posedirs)
    carried = (
        np.abs(masses)
        + np.abs(offsets).sum(axis=-1)
        + np.abs(np.asarray(body.offset_shapedirs)).sum(axis=(2, 3))
        + np.abs(posedirs).sum(axis=(2, 3))
    )
    keypoints, joints = np.nonzero(carried)
    corrective = np.flatnonzero(np.abs(posedirs[keypoints, joints]).sum(axis=(1, 2)))
    lever = _largest_levers(body)
    moving = tuple(int(j) for j in range(1, body.joint_count) if posedirs.size or lever[j] > 0)
    dtype = prior.axes.dtype
    # Double precision: rounding would rotate axes that move keypoints by similar amounts and change every fit slightly.
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (body, prior))
        motion = np.asarray(_motion_covariance(*exact))
    variances, directions = np.linalg.eigh(motion)
    kept = np.sqrt(np.maximum(variances, 0)) > _NEGLIGIBLE_MOTION_M
    axes, directions = np.asarray(prior.axes, np.float64), directions[:, kept][:, ::-1]
    basis = axes @ directions
    # The prior's axes are orthogonal, so its whitening is its transpose with columns divided by their squared length.
    whitener = directions.T @ (axes / np.sum(axes**2, axis=0)).T
    return PosedModel(
        body=body,
        part_offsets=body.offsets[keypoints, joints],
        part_shapedirs=body.offset_shapedirs[keypoints, joints],
        part_masses=body.masses[keypoints, joints],
        corrective_posedirs=body.offset_posedirs[keypoints[corrective], joints[corrective]],
        pose_mean=prior.mean.reshape(-1, 3),
        pose_basis=jnp.asarray(basis.reshape(-1, 3, basis.shape[-1]), dtype),
        pose_whitener=jnp.asarray(whitener.reshape(len(whitener), -1, 3), dtype),
        hinges=prior.hinges,
        part_keypoints=tuple(int(k) for k in keypoints),
        part_joints=tuple(int(j) for j in joints),
        corrective_parts=tuple(int(n) for n in corrective),
        moving_joints=moving,
    )


def _levers(body: KeypointBody, rotations: Array, positions: Array) -> Array:
    """Vector from each joint to the part of each keypoint below it, times its weight, metres."""
    below = descendant_matrix(body.parents)
    carried = jnp.einsum("jab,kjb->kja", rotations, body.offsets) + body.masses[..., None] * positions
    gathered = jnp.einsum("kia,ji->kja", carried, jnp.asarray(below, carried.dtype))
    return gathered - (body.masses @ below.T)[..., None] * positions


def _largest_levers(body: KeypointBody) -> np.ndarray:
    rotations = jnp.broadcast_to(jnp.eye(3), (body.joint_count, 3, 3))
    levers = np.linalg.norm(np.asarray(_levers(body, rotations, body.joints)), axis=-1).max(axis=0)
    return np.where(levers > 1e-6, levers, 0.0)


@jax.jit
def _motion_covariance(body: KeypointBody, prior: PosePrior) -> Float[Array, "latents latents"]:
    """Mean over poses of the sum over keypoints of the squared motion, per unit of the prior's own coordinates."""

    def of_pose(key: Array) -> Array:
        pose = jnp.concatenate([jnp.zeros((1, 3), prior.mean.dtype), sample(prior, key)])
        rotations, positions = forward_kinematics(jax.vmap(rotation_matrix)(pose), body.joints, body.parents)
        levers = _levers(body, rotations, positions)[:, 1:]
        # A change of a joint's rotation vector as a turn in the world: parent's rotation, then the left Jacobian.
        turn = jnp.einsum("jab,jbc->jac", rotations[np.array(body.parents[1:])], jax.vmap(left_jacobian)(pose[1:]))
        turns = jnp.einsum("jac,jcl->jal", turn, prior.axes.reshape(-1, 3, prior.axes.shape[-1]))
        motion = jnp.einsum("abc,jbl,kjc->kal", jnp.asarray(_CROSS, turns.dtype), turns, levers)
        return jnp.einsum("kal,kam->lm", motion, motion)

    return jnp.mean(jax.vmap(of_pose)(jax.random.split(jax.random.key(0), _SAMPLE_POSES)), axis=0)


# a × b = Σ_bc CROSS[:, b, c] a_b b_c
_CROSS = np.zeros((3, 3, 3))
for _a, _b, _c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _CROSS[_a, _b, _c], _CROSS[_a, _c, _b] = 1.0, -1.0
