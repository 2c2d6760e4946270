"""How people hold themselves: a density over the 23 joint rotations of SMPL's tree, and the hinges of knees and elbows.

    p(θ) = Σ_c w_c N(θ; μ_c, A_c A_cᵀ)        θ = the 69 coordinates of the joints' rotation vectors, radians

The columns of A_c are the principal axes of component c, orthogonal, each as long as its standard deviation. So
θ = μ_c + A_c z with z ~ N(0, I) is a parametrisation in which the prior's residual is z itself, and its inverse needs
no solve: z = (A_cᵀ (θ − μ_c)) / |a|², column by column.

Mirroring a pose leaves its density unchanged: left and right joints change places and (x, y, z) becomes (x, −y, −z).
Components come alone (their own mirror image) or in mirrored pairs.

Knees and elbows are hinges: each has an axis, about which positive angles are flexion, and a range. They do not bend
backwards; the range is a soft wall, another whitened residual.

The shipped parameters are made by ``adapters.bodies.makers.pose_prior_export``; benchmarks/results.md, "Pose prior",
says how their form was chosen.
"""

import os
from importlib import resources
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.body.files.arrays import open_arrays
from engine.body.schema_tables import SMPL_24

FORMAT = "samebody-pose-prior"
VERSION = 1
LARGEST_PRIOR_BYTES = 16 << 20
DEFAULT_PRIOR = "cmu_pose_prior.npz"
POSED_JOINTS = SMPL_24[1:]
"""The joints of a body pose in their order: all but the root, whose rotation is the global orientation."""

_FIELDS = ("mean", "axes", "log_weights", "hinge_axes", "hinge_lower", "hinge_upper", "hinge_softness")


class PosePriorError(ValueError):
    """A file is not a pose prior that samebody can use; the message says what is wrong."""


class PosePrior(eqx.Module):
    """A mixture of Gaussians over body poses, and the ranges of the hinge joints. A pytree."""

    mean: Float[Array, "components coordinates"]
    """Radians; coordinates are the rotation vectors of ``POSED_JOINTS``, joint by joint."""
    axes: Float[Array, "components coordinates coordinates"]
    """Column i is a principal axis times its standard deviation; columns are orthogonal."""
    log_weights: Float[Array, " components"]
    hinge_axes: Float[Array, "hinges 3"]
    """Unit vectors in the parent's frame; a positive angle about them is flexion."""
    hinge_lower: Float[Array, " hinges"]
    """Radians of flexion below which the joint would bend backwards."""
    hinge_upper: Float[Array, " hinges"]
    hinge_softness: Float[Array, " hinges"]
    """Radians beyond the range that cost as much as one standard deviation."""
    hinge_joints: tuple[int, ...] = eqx.field(static=True)
    """Rows of the body pose."""

    @property
    def component_count(self) -> int:
        return self.mean.shape[0]


def mirror_indices() -> tuple[Int[np.ndarray, " coordinates"], Float[np.ndarray, " coordinates"]]:
    """The mirror image of a flat pose is ``signs * pose[columns]``."""

    def mirrored(joint: str) -> str:
        side, _, rest = joint.partition("_")
        return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, joint)

    joints = np.array([POSED_JOINTS.index(mirrored(joint)) for joint in POSED_JOINTS])
    columns = (3 * joints[:, None] + np.arange(3)).reshape(-1)
    return columns, np.tile([1.0, -1.0, -1.0], len(POSED_JOINTS))


def mirror_pose(body_pose: Float[Array, "posed_joints 3"]) -> Float[Array, "posed_joints 3"]:
    """The pose of the same body seen in a mirror."""
    columns, signs = mirror_indices()
    return (body_pose.reshape(-1)[columns] * signs.astype(body_pose.dtype)).reshape(body_pose.shape)


def whiten(
    prior: PosePrior, component: int | Int[Array, ""], body_pose: Float[Array, "posed_joints 3"]
) -> Float[Array, " coordinates"]:
    """z of a pose in one component: coordinates of unit variance."""
    axes = prior.axes[component]
    return ((body_pose.reshape(-1) - prior.mean[component]) @ axes) / jnp.sum(axes**2, axis=0)


def unwhiten(
    prior: PosePrior, component: int | Int[Array, ""], whitened: Float[Array, " coordinates"]
) -> Float[Array, "posed_joints 3"]:
    """The pose at z of one component."""
    return (prior.mean[component] + prior.axes[component] @ whitened).reshape(-1, 3)


def component_log_densities(prior: PosePrior, body_pose: Float[Array, "posed_joints 3"]) -> Float[Array, " components"]:
    """log(w_c N_c(θ)) of each component, in nats per radian^69."""
    whitened = jax.vmap(lambda c: whiten(prior, c, body_pose))(jnp.arange(prior.component_count))
    log_deviations = 0.5 * jnp.log(jnp.sum(prior.axes**2, axis=1))
    normaliser = 0.5 * jnp.log(2 * jnp.pi) + log_deviations
    return prior.log_weights - jnp.sum(0.5 * whitened**2 + normaliser, axis=-1)


def log_density(prior: PosePrior, body_pose: Float[Array, "posed_joints 3"]) -> Float[Array, ""]:
    """log p(θ) without the hinges, in nats per radian^69."""
    return jax.nn.logsumexp(component_log_densities(prior, body_pose))


def energy(prior: PosePrior, body_pose: Float[Array, "posed_joints 3"]) -> Float[Array, ""]:
    """−log p(θ) above that of the likeliest component's mean: ½ |z|² where there is one component."""
    normalisers = jnp.sum(0.5 * jnp.log(2 * jnp.pi * jnp.sum(prior.axes**2, axis=1)), axis=-1)
    return jnp.max(prior.log_weights - normalisers) - log_density(prior, body_pose)


def limits_residuals(prior: PosePrior, body_pose: Float[Array, "posed_joints 3"]) -> Float[Array, " hinges"]:
    """How far each knee and elbow is outside its range, in units of its softness; zero inside."""
    flexion = jnp.sum(body_pose[np.array(prior.hinge_joints)] * prior.hinge_axes, axis=-1)
    beyond = jnp.maximum(flexion - prior.hinge_upper, 0.0) - jnp.maximum(prior.hinge_lower - flexion, 0.0)
    return beyond / prior.hinge_softness


def sample(prior: PosePrior, key: Array) -> Float[Array, "posed_joints 3"]:
    """Draw a pose from the mixture; knees and elbows that came out beyond their range are set to its end."""
    component_key, pose_key = jax.random.split(key)
    component = jax.random.categorical(component_key, prior.log_weights)
    drawn = unwhiten(prior, component, jax.random.normal(pose_key, prior.mean.shape[1:], prior.mean.dtype))
    joints = np.array(prior.hinge_joints)
    flexion = jnp.sum(drawn[joints] * prior.hinge_axes, axis=-1)
    correction = jnp.clip(flexion, prior.hinge_lower, prior.hinge_upper) - flexion
    return drawn.at[joints].add(correction[:, None] * prior.hinge_axes)


def load_pose_prior(path: str | os.PathLike[str] | None = None) -> PosePrior:
    """Read a pose prior; without a path, the one that ships with samebody.

    Raises:
        PosePriorError: missing, damaged, of another format or version, or made for other joints.
    """
    if path is None:
        with resources.as_file(resources.files("engine.body.data") / DEFAULT_PRIOR) as shipped:
            return _read(shipped)
    return _read(path)


def _read(path: str | os.PathLike[str]) -> PosePrior:
    origin = os.path.basename(path)
    try:
        with open_arrays(path, PosePriorError, LARGEST_PRIOR_BYTES) as stored:
            header: Any = stored.json_header()
            arrays = {name: stored.read(name) for name in (*_FIELDS, "hinge_joints")}
    except FileNotFoundError:
        raise PosePriorError(f"no pose prior file {os.fspath(path)}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        raise PosePriorError(f"{origin}: not a pose prior of version {VERSION}; make it again with this version")
    coordinates = 3 * len(POSED_JOINTS)
    if header.get("joints") != list(POSED_JOINTS) or arrays["mean"].shape[1:] != (coordinates,):
        raise PosePriorError(f"{origin}: made for other joints than SMPL's 23 posed ones")
    components = arrays["mean"].shape[0]
    if arrays["axes"].shape != (components, coordinates, coordinates) or arrays["log_weights"].shape != (components,):
        raise PosePriorError(f"{origin}: damaged, its arrays do not fit together")
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise PosePriorError(f"{origin}: damaged, holds NaN or infinity")
    floats = {name: jnp.asarray(arrays[name], jnp.result_type(float)) for name in _FIELDS}
    return PosePrior(**floats, hinge_joints=tuple(int(joint) for joint in arrays["hinge_joints"]))
