"""Limbs mirrored in depth: poses that look the same in the picture and may be likelier.

An upper arm that points towards a distant camera and one that points away look alike. A descent solver stays on the
side where it started, so the other sides are proposed explicitly. A limb (arm or leg) has two bones of given length and
a hinge. After mirroring the direction of either bone, or of both, exactly one turn of the upper joint about its bone
and one bend of the hinge put both bones in the mirrored directions.

Mirroring changes nothing in the picture, so a proposal is judged by the pose prior alone; with four limbs and three
proposals each there are 255, and because the prior is quadratic in the whitened pose all are weighed by one 12 × 12
table of products.

Source: Taylor, "Reconstruction of articulated objects from point correspondences in a single uncalibrated image",
CVIU 2000 (the two-fold ambiguity of each bone); Sminchisescu and Triggs, "Kinematic jump processes for monocular 3D
human tracking", CVPR 2003.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from engine.batching import AnyArray
from engine.body import quaternions
from engine.body.schema_tables import SMPL_24
from engine.posed.model import PosedModel
from engine.posed.problem import PictureUnknowns, pose_model

_LIMBS = tuple(
    tuple(SMPL_24.index(f"{side}_{joint}") for joint in joints)
    for joints in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
    for side in ("left", "right")
)
_MIRRORED_BONES = ((True, True), (False, True), (True, False))


def _choices() -> np.ndarray:
    """Every non-empty combination of at most one proposal per limb, as rows of zeros and ones."""
    rows = []
    for chosen in itertools.product(range(len(_MIRRORED_BONES) + 1), repeat=len(_LIMBS)):
        row = np.zeros((len(_LIMBS), len(_MIRRORED_BONES)))
        for limb, proposal in enumerate(chosen):
            if proposal:
                row[limb, proposal - 1] = 1
        rows.append(row.reshape(-1))
    return np.array(rows[1:])


def _unit(vector: Float[Array, "3"]) -> Float[Array, "3"]:
    squared = jnp.sum(vector**2)
    return vector / jnp.sqrt(jnp.where(squared > 0, squared, 1.0))


def _frame(first: Float[Array, "3"], towards: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Right-handed orthonormal columns: ``first``, then the part of ``towards`` at right angles to it."""
    second = _unit(towards - first * jnp.dot(first, towards))
    return jnp.stack([first, second, jnp.cross(first, second)], axis=1)


class _Limb(NamedTuple):
    """A limb of two bones, and the wanted directions of the bones."""

    parent_rotation: Float[Array, "3 3"]
    """World rotation of the joint above the limb."""
    hinge_axis: Float[Array, "3"]
    seen_axis: Float[Array, "3"]
    """The hinge's axis in the world."""
    rest_bones: Float[Array, "2 3"]
    """Unit vectors."""
    bones: Float[Array, "2 3"]
    """Unit vectors in the world."""


# A limb with a smaller sine of the bend counts as straight.
_STRAIGHT_LIMB = 0.05


def _mirror(limb: _Limb, mirrored: Bool[Array, "2"]) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Rotation vectors of the upper joint and the hinge that give the bones the wanted directions, some mirrored."""
    flip = jnp.array([1.0, 1.0, -1.0], limb.bones.dtype)
    first, second = jnp.where(mirrored[:, None], flip, 1.0) * limb.bones
    # The hinge axis of a straight limb is undetermined: it keeps its direction, or the mirrored one.
    guess = jnp.where(jnp.all(mirrored), -flip, 1.0) * limb.seen_axis
    wanted_axis = jnp.cross(first, second) + _STRAIGHT_LIMB * guess
    turned = _frame(first, wanted_axis) @ _frame(limb.rest_bones[0], limb.hinge_axis).T
    across, wanted = (v - limb.hinge_axis * (limb.hinge_axis @ v) for v in (limb.rest_bones[1], second @ turned))
    flexion = jnp.arctan2(limb.hinge_axis @ jnp.cross(across, wanted), across @ wanted)
    local = limb.parent_rotation.T @ turned
    return quaternions.to_rotation_vector(quaternions.from_matrix(local)), flexion * limb.hinge_axis


def mirrored_limbs(
    model: PosedModel, betas: Float[AnyArray, " betas"], unknowns: PictureUnknowns, count: int
) -> Float[Array, "count latents"]:
    """The ``count`` likeliest poses by the prior among those with limbs mirrored in depth, without the given pose;
    likeliest first.
    """
    posed = pose_model(model, betas, unknowns)
    rest_joints = model.body.joints + model.body.joint_shapedirs @ betas
    upper, hinge, end = np.array(_LIMBS).T
    axes = model.hinges.axes[np.array([model.hinges.joints.index(joint - 1) for joint in hinge])]

    def directions(joints: Float[Array, "joints 3"]) -> Float[Array, "limbs 2 3"]:
        bones = jnp.stack([joints[hinge] - joints[upper], joints[end] - joints[hinge]], axis=1)
        return bones / jnp.linalg.norm(bones, axis=-1, keepdims=True)

    limbs = _Limb(
        parent_rotation=posed.rotations[np.array(model.parents)[upper]],
        hinge_axis=axes,
        seen_axis=jnp.einsum("lab,lb->la", posed.rotations[upper], axes),
        rest_bones=directions(rest_joints),
        bones=directions(posed.positions),
    )
    every_mirror = jax.vmap(jax.vmap(_mirror, in_axes=(None, 0)), in_axes=(0, None))
    proposed = jnp.stack(every_mirror(limbs, jnp.array(_MIRRORED_BONES)), axis=2)
    joints = np.stack([upper, hinge], axis=1) - 1
    change = proposed - posed.vectors[joints][:, None]
    whitener = model.pose_whitener[:, joints]
    table = jnp.einsum("zljc,lmjc->lmz", whitener, change).reshape(-1, len(unknowns.latent))

    choices = jnp.asarray(_choices(), table.dtype)
    energy = choices @ (table @ unknowns.latent) + 0.5 * jnp.sum((choices @ (table @ table.T)) * choices, axis=1)
    _, best = jax.lax.top_k(-energy, count)
    return jnp.asarray(unknowns.latent) + choices[best] @ table
