"""A body in SMPL's layout: shape and pose to vertices and joints.

    shaped      v̄(β)   = T + S β                                  (shape blendshapes)
    joints      J(β)    = 𝒥 v̄(β)                                  (joint regressor)
    corrected   v̂(β,θ) = v̄(β) + P ψ(θ),  ψ = vec(R_j − I), j ≥ 1  (pose blendshapes)
    posed       v       = Σ_j w_vj (R_j (v̂ − J_j) + p_j)           (linear blend skinning)

R_j and p_j are the world rotation and position of joint j after walking down the tree. Metres and radians; x to the
subject's left, y up, z to the front.

Source: Loper et al., "SMPL: A skinned multi-person linear model", SIGGRAPH Asia 2015, equations 2-10.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.body.rotations import rotation_matrix

full_precision = jax.default_matmul_precision("highest")
"""Decorator for functions that multiply lengths: by default a GPU may round float32 factors to 10 bits (TF32), which is
half a millimetre in a metre."""


class BodyModel(eqx.Module):
    """All arrays of a body in SMPL's layout. A pytree: pass it through ``jit`` and ``vmap`` unchanged."""

    v_template: Float[Array, "vertices 3"]
    """Mean body in rest pose."""
    shapedirs: Float[Array, "vertices 3 betas"]
    """Displacement per unit of each shape component."""
    posedirs: Float[Array, "vertices 3 pose_features"]
    """Displacement per entry of R_j − I; the last axis is empty in a body without pose blendshapes."""
    J_regressor: Float[Array, "joints vertices"]
    weights: Float[Array, "vertices joints"]
    """Skinning weights; each row sums to one."""
    faces: Int[Array, "faces 3"]
    keypoint_vertices: Float[Array, "keypoints vertices"]
    """Each keypoint as a weighting of vertices..."""
    keypoint_joints: Float[Array, "keypoints joints"]
    """...plus a weighting of joints."""
    keypoint_names: tuple[str, ...] = eqx.field(static=True)
    parents: tuple[int, ...] = eqx.field(static=True)
    """Parent of each joint, -1 for the root; parents come before children."""
    name: str = eqx.field(static=True)
    fingerprint: str = eqx.field(static=True, default="")
    """Digest of the arrays: two bodies with one fingerprint give the same β the same meaning."""

    @property
    def joint_count(self) -> int:
        return len(self.parents)

    @property
    def beta_count(self) -> int:
        return self.shapedirs.shape[-1]

    def with_betas(self, count: int) -> "BodyModel":
        """The same body with its first ``count`` shape components.

        Raises:
            ValueError: the body has fewer.
        """
        if not 1 <= count <= self.beta_count:
            raise ValueError(f"body {self.name} has {self.beta_count} shape components, {count} were asked for")
        # Here and in ``reduce_body`` NumPy cuts arrays and ``asarray`` is told their type: otherwise JAX compiles a
        # program for each of them, at every start.
        kept = np.ascontiguousarray(np.asarray(self.shapedirs)[..., :count])
        return eqx.tree_at(lambda body: body.shapedirs, self, jnp.asarray(kept, kept.dtype))


class PosedBody(NamedTuple):
    vertices: Float[Array, "vertices 3"]
    joints: Float[Array, "joints 3"]


class Skeleton(NamedTuple):
    """Position and rotation of every joint in the world."""

    rotations: Float[Array, "joints 3 3"]
    positions: Float[Array, "joints 3"]


def tree_levels(parents: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The joints by depth: all joints of a level are computed at once from the level above.

    Raises:
        ValueError: not one tree with joint 0 as its root and parents before their children.
    """
    depth: list[int] = []
    for joint, parent in enumerate(parents):
        if (parent < 0) != (joint == 0):
            raise ValueError(f"joint {joint} has parent {parent}; joint 0 must be the only root, with parent -1")
        if parent >= joint:
            raise ValueError(f"joint {joint} comes before its parent {parent}")
        depth.append(0 if parent < 0 else depth[parent] + 1)
    return tuple(tuple(j for j, d in enumerate(depth) if d == level) for level in range(max(depth) + 1))


@full_precision
def forward_kinematics(
    local_rotations: Float[Array, "joints 3 3"], rest_joints: Float[Array, "joints 3"], parents: Sequence[int]
) -> Skeleton:
    """Walk down the tree; the root turns about its own rest position, as in smplx."""
    levels = tree_levels(parents)
    # Levels are appended in order of depth and put back into joint order by one gather at the end.
    order = [joint for level in levels for joint in level]
    place = {joint: i for i, joint in enumerate(order)}
    rotations = local_rotations[np.array(levels[0])]
    positions = rest_joints[np.array(levels[0])]
    for level in levels[1:]:
        joints = np.array(level)
        joint_parents = np.array([parents[j] for j in level])
        places = np.array([place[p] for p in joint_parents])
        parent_rotations = rotations[places]
        bones = rest_joints[joints] - rest_joints[joint_parents]
        rotations = jnp.concatenate([rotations, parent_rotations @ local_rotations[joints]])
        positions = jnp.concatenate([positions, positions[places] + jnp.einsum("jab,jb->ja", parent_rotations, bones)])
    back = np.array([place[j] for j in range(len(order))])
    return Skeleton(rotations[back], positions[back])


def pose_features(local_rotations: Float[Array, "joints 3 3"]) -> Float[Array, " pose_features"]:
    """ψ(θ): rotation of each joint but the root minus its rest rotation."""
    return (local_rotations[1:] - jnp.eye(3, dtype=local_rotations.dtype)).reshape(-1)


@full_precision
def shape_vertices(body: BodyModel, betas: Float[Array, " betas"]) -> Float[Array, "vertices 3"]:
    """The body in rest pose with the given shape, in metres."""
    return body.v_template + body.shapedirs @ betas


@full_precision
def pose_body(
    body: BodyModel,
    betas: Float[Array, " betas"],
    pose: Float[Array, "joints 3"],
    transl: Float[Array, "3"] | None = None,
) -> PosedBody:
    """Vertices and joints, in metres, of one body.

    Args:
        pose: rotation vector of every joint relative to its parent, in radians; the first is the global orientation.
        transl: translation of the whole body, in metres; zero by default.
    """
    shaped = shape_vertices(body, betas)
    local_rotations = jax.vmap(rotation_matrix)(pose)
    rest_joints = body.J_regressor @ shaped
    if body.posedirs.shape[-1]:
        shaped = shaped + body.posedirs @ pose_features(local_rotations)
    skeleton = forward_kinematics(local_rotations, rest_joints, body.parents)
    # Skinning with (rotation, offset) blended per vertex costs two thin products instead of one 4×4 per vertex.
    offsets = skeleton.positions - jnp.einsum("jab,jb->ja", skeleton.rotations, rest_joints)
    blended = jnp.einsum("vj,jab->vab", body.weights, skeleton.rotations)
    vertices = jnp.einsum("vab,vb->va", blended, shaped) + body.weights @ offsets
    joints = skeleton.positions
    if transl is not None:
        vertices, joints = vertices + transl, joints + transl
    return PosedBody(vertices, joints)


@full_precision
def posed_keypoints(body: BodyModel, posed: PosedBody) -> Float[Array, "keypoints 3"]:
    """All keypoints of the body, read off the full mesh: the oracle for the reduced body."""
    return body.keypoint_vertices @ posed.vertices + body.keypoint_joints @ posed.joints
