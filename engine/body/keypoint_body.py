"""The reduced body: exact keypoints without the mesh.

A keypoint is a weighting a_kv of vertices plus a weighting b_kj of joints. Skinning is linear in the vertices, so the
sums over vertices are done once, ahead of time. If every part is taken relative to its joint,

    posed keypoint k = Σ_j R_j (o_kj + O_kj β + P_kj ψ(θ)) + m_kj p_j

    m_kj = Σ_v a_kv w_vj + b_kj
    o_kj = Σ_v a_kv w_vj T_v − (Σ_v a_kv w_vj) J_j        O_kj and P_kj likewise from S and P

equals the keypoint of the full mesh to rounding (J is linear in β) and costs the same for any mesh.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.body.model import BodyModel, Skeleton, forward_kinematics, full_precision, pose_features
from engine.body.rotations import rotation_matrix
from engine.body.schemas import KeypointSchema


class KeypointBody(eqx.Module):
    """A body reduced to the keypoints of one detector. ``reduce_body`` makes it."""

    offsets: Float[Array, "keypoints joints 3"]
    """Offset of each keypoint from each joint that carries part of it, weighted (o_kj)."""
    offset_shapedirs: Float[Array, "keypoints joints 3 betas"]
    offset_posedirs: Float[Array, "keypoints joints 3 pose_features"]
    masses: Float[Array, "keypoints joints"]
    """Share of each keypoint that each joint carries (m_kj); rows sum to one."""
    joints: Float[Array, "joints 3"]
    """Rest positions of the joints at β = 0."""
    joint_shapedirs: Float[Array, "joints 3 betas"]
    schema: KeypointSchema = eqx.field(static=True)
    """The keypoints, in order: those of the detector's schema that this body has."""
    parents: tuple[int, ...] = eqx.field(static=True)
    name: str = eqx.field(static=True)

    @property
    def beta_count(self) -> int:
        return self.joint_shapedirs.shape[-1]

    @property
    def joint_count(self) -> int:
        return len(self.parents)


def reduce_body(body: BodyModel, schema: KeypointSchema) -> KeypointBody:
    """Sum over the mesh for one schema, in float64. Keypoints that the body lacks (fingers, say) are left out.

    Raises:
        ValueError: body and schema share no keypoint.
    """
    kept = schema.subset(body.keypoint_names)
    if not len(kept):
        raise ValueError(f"body {body.name} has none of the keypoints of schema {schema.name}")
    rows = [body.keypoint_names.index(name) for name in kept.keypoint_names]

    def exact(leaf: Array) -> np.ndarray:
        return np.asarray(leaf, np.float64)

    template, shapedirs, posedirs = exact(body.v_template), exact(body.shapedirs), exact(body.posedirs)
    regressor, skinning = exact(body.J_regressor), exact(body.weights)
    keypoint_vertices, keypoint_joints = exact(body.keypoint_vertices), exact(body.keypoint_joints)
    joints = regressor @ template
    joint_shapedirs = np.einsum("jv,vcb->jcb", regressor, shapedirs)

    offsets, offset_shapedirs, offset_posedirs, masses = [], [], [], []
    for row in rows:
        of_vertices, of_joints = keypoint_vertices[row], keypoint_joints[row]
        support = np.flatnonzero(of_vertices)
        carried = of_vertices[support, None] * skinning[support]
        mass = carried.sum(axis=0)
        offsets.append(carried.T @ template[support] - mass[:, None] * joints)
        offset_shapedirs.append(
            np.einsum("vj,vcb->jcb", carried, shapedirs[support]) - mass[:, None, None] * joint_shapedirs
        )
        offset_posedirs.append(np.einsum("vj,vcp->jcp", carried, posedirs[support]))
        masses.append(mass + of_joints)

    def given(values: np.ndarray | list[np.ndarray]) -> Array:
        dtype = jnp.result_type(float)
        return jnp.asarray(np.asarray(values, dtype), dtype)

    return KeypointBody(
        offsets=given(offsets),
        offset_shapedirs=given(offset_shapedirs),
        offset_posedirs=given(offset_posedirs),
        masses=given(masses),
        joints=given(joints),
        joint_shapedirs=given(joint_shapedirs),
        schema=kept,
        parents=body.parents,
        name=body.name,
    )


@full_precision
def rest_keypoints(body: KeypointBody, betas: Float[Array, " betas"]) -> Float[Array, "keypoints 3"]:
    """The keypoints of the body in rest pose (T-pose), in metres."""
    offsets = jnp.sum(body.offsets, axis=1) + jnp.sum(body.offset_shapedirs, axis=1) @ betas
    return offsets + body.masses @ (body.joints + body.joint_shapedirs @ betas)


@full_precision
def pose_skeleton(body: KeypointBody, betas: Float[Array, " betas"], pose: Float[Array, "joints 3"]) -> Skeleton:
    """Joints of the posed body, in metres; ``pose`` in radians, the global orientation first."""
    rest_joints = body.joints + body.joint_shapedirs @ betas
    return forward_kinematics(jax.vmap(rotation_matrix)(pose), rest_joints, body.parents)


@full_precision
def pose_keypoints(
    body: KeypointBody, betas: Float[Array, " betas"], pose: Float[Array, "joints 3"]
) -> Float[Array, "keypoints 3"]:
    """The keypoints of the posed body, in metres; ``pose`` in radians, the global orientation first."""
    local_rotations = jax.vmap(rotation_matrix)(pose)
    skeleton = forward_kinematics(local_rotations, body.joints + body.joint_shapedirs @ betas, body.parents)
    offsets = body.offsets + body.offset_shapedirs @ betas
    if body.offset_posedirs.shape[-1]:
        offsets = offsets + body.offset_posedirs @ pose_features(local_rotations)
    return jnp.einsum("jab,kjb->ka", skeleton.rotations, offsets) + body.masses @ skeleton.positions
