"""Limbs mirrored in depth: poses that look the same in the picture and may be likelier.

Seen from afar, an upper arm that points towards the camera and one that points away look alike. A solver that walks
downhill stays on the side where it started, so the other sides are proposed outright: the bones of a limb of two bones
and a hinge (arm or leg) have given lengths, so after mirroring the direction of either bone, or of both, there is
one way to turn the upper joint about its bone and to bend the hinge that puts both bones where they should be.

Mirroring changes nothing in the picture, so a proposal is judged by the pose prior alone; with four limbs and three
proposals each there are 255, and because the prior is quadratic in the whitened pose all are weighed by one 12 × 12
table of products.

Source: Taylor, "Reconstruction of articulated objects from point correspondences in a single uncalibrated image",
CVIU 2000 (the two-fold ambiguity of each bone); Sminchisescu and Triggs, "Kinematic jump processes for monocular 3D
human tracking", CVPR 2003.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine import quaternions
from engine.arrays import AnyArray
from engine.body import Skeleton
from engine.posed_model import PosedModel
from engine.posed_problem import PictureUnknowns, pose_model
from engine.schema_tables import SMPL_24

_LIMBS = tuple(
    tuple(SMPL_24.index(f"{side}_{joint}") for joint in joints)
    for joints in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
    for side in ("left", "right")
)
_MIRRORED_BONES = ((True, True), (False, True), (True, False))


def _choices() -> np.ndarray:
    """Every combination of at most one proposal per limb but the empty one, as rows of zeros and ones."""
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
    """Right-handed orthonormal columns: ``first``, then what of ``towards`` is at right angles to it."""
    second = _unit(towards - first * jnp.dot(first, towards))
    return jnp.stack([first, second, jnp.cross(first, second)], axis=1)


def _mirror_limb(
    model: PosedModel,
    skeleton: Skeleton,
    rest_joints: Float[Array, "joints 3"],
    limb: tuple[int, ...],
    mirrored: tuple[bool, bool],
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Rotation vectors of the upper joint and the hinge, for bones in the wanted directions."""
    upper, hinge, end = limb
    axis = model.hinge_axes[model.hinge_joints.index(hinge - 1)]
    rest_bones = [_unit(rest_joints[b] - rest_joints[a]) for a, b in ((upper, hinge), (hinge, end))]
    flip = jnp.array([1.0, 1.0, -1.0], rest_joints.dtype)
    bones = [
        _unit(skeleton.positions[b] - skeleton.positions[a]) * (flip if turned else 1.0)
        for (a, b), turned in zip(((upper, hinge), (hinge, end)), mirrored, strict=True)
    ]
    seen_axis = skeleton.rotations[upper] @ axis
    # A straight limb does not say where its hinge points: then it stays where it was, or where mirroring puts it.
    guess = -flip * seen_axis if all(mirrored) else seen_axis
    wanted_axis = jnp.cross(bones[0], bones[1]) + _STRAIGHT_LIMB * guess
    turned = _frame(bones[0], wanted_axis) @ _frame(rest_bones[0], axis).T
    lower = turned.T @ bones[1]
    across, wanted = (v - axis * jnp.dot(axis, v) for v in (rest_bones[1], lower))
    flexion = jnp.arctan2(jnp.dot(axis, jnp.cross(across, wanted)), jnp.dot(across, wanted))
    local = skeleton.rotations[model.parents[upper]].T @ turned
    return quaternions.to_rotation_vector(quaternions.from_matrix(local)), flexion * axis


# Sine of the bend under which a limb counts as straight.
_STRAIGHT_LIMB = 0.05


def mirrored_limbs(
    model: PosedModel, betas: Float[AnyArray, " betas"], unknowns: PictureUnknowns, count: int
) -> Float[Array, "count latents"]:
    """The ``count`` likeliest poses by the prior among those with limbs mirrored in depth, the given one not among
    them; likeliest first.
    """
    posed = pose_model(model, betas, unknowns)
    rest_joints = model.body.joints + model.body.joint_shapedirs @ betas
    skeleton = Skeleton(posed.rotations, posed.positions)
    changes = []
    for limb, mirrored in itertools.product(_LIMBS, _MIRRORED_BONES):
        upper, hinge, _ = limb
        proposed = jnp.stack(_mirror_limb(model, skeleton, rest_joints, limb, mirrored))
        joints = np.array([upper, hinge]) - 1
        change = (proposed - posed.vectors[joints]).reshape(-1)
        changes.append(model.pose_whitener[:, joints].reshape(len(model.pose_whitener), -1) @ change)
    table = jnp.stack(changes)
    choices = jnp.asarray(_choices(), table.dtype)
    energy = choices @ (table @ unknowns.latent) + 0.5 * jnp.sum((choices @ (table @ table.T)) * choices, axis=1)
    best = jnp.argsort(energy)[:count]
    return jnp.asarray(unknowns.latent) + choices[best] @ table
