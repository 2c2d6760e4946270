"""Prior of body poses: a Gaussian over the 23 joint rotations of SMPL's tree, and hinges at knees and elbows.

    p(θ) = N(θ; μ, A Aᵀ)        θ = the 69 coordinates of the joints' rotation vectors, radians

The columns of A are the principal axes, orthogonal, each as long as its standard deviation. So θ = μ + A z with
z ~ N(0, I) is a parametrisation in which the prior's residual is z itself, and its inverse needs no solve:
z = (Aᵀ (θ − μ)) / |a|², column by column.

Mirroring a pose leaves its density unchanged: left and right joints change places and (x, y, z) becomes (x, −y, −z).

Knees and elbows are hinges: each has an axis, about which positive angles are flexion, and a range. They do not bend
backwards; the range is a soft wall, another whitened residual.

``adapters.bodies.makers.pose_prior_export`` makes the shipped parameters; benchmarks/results.md, "Pose prior", has the
measurements behind their form.
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
"""The joints of a body pose in order: all but the root, whose rotation is the global orientation."""

_GAUSSIAN = ("mean", "axes", "log_weights")
_HINGES = ("hinge_axes", "hinge_lower", "hinge_upper", "hinge_softness")


class PosePriorError(ValueError):
    """A file is not a pose prior that samebody can use; the message says what is wrong."""


class Hinges(eqx.Module):
    """The ranges of joints that bend about one axis."""

    axes: Float[Array, "hinges 3"]
    """Unit vectors in the parent's frame; a positive angle about them is flexion."""
    lower: Float[Array, " hinges"]
    """Radians of flexion below which the joint would bend backwards."""
    upper: Float[Array, " hinges"]
    softness: Float[Array, " hinges"]
    """Radians beyond the range that cost as much as one standard deviation."""
    joints: tuple[int, ...] = eqx.field(static=True)
    """Rows of the body pose."""


class PosePrior(eqx.Module):
    """A Gaussian over body poses, and the hinges. A pytree."""

    mean: Float[Array, " coordinates"]
    """Radians; coordinates are the rotation vectors of ``POSED_JOINTS``, joint by joint."""
    axes: Float[Array, "coordinates coordinates"]
    """Column i is a principal axis times its standard deviation; columns are orthogonal."""
    hinges: Hinges


def mirror_indices() -> tuple[Int[np.ndarray, " coordinates"], Float[np.ndarray, " coordinates"]]:
    """The mirror image of a flat pose is ``signs * pose[columns]``."""

    def mirrored(joint: str) -> str:
        side, _, rest = joint.partition("_")
        return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, joint)

    joints = np.array([POSED_JOINTS.index(mirrored(joint)) for joint in POSED_JOINTS])
    columns = (3 * joints[:, None] + np.arange(3)).reshape(-1)
    return columns, np.tile([1.0, -1.0, -1.0], len(POSED_JOINTS))


def hinge_residuals(hinges: Hinges, body_pose: Float[Array, "posed_joints 3"]) -> Float[Array, " hinges"]:
    """Distance of each knee and elbow from its range, in units of its softness; zero inside."""
    flexion = jnp.sum(body_pose[np.array(hinges.joints)] * hinges.axes, axis=-1)
    beyond = jnp.maximum(flexion - hinges.upper, 0.0) - jnp.maximum(hinges.lower - flexion, 0.0)
    return beyond / hinges.softness


def sample(prior: PosePrior, key: Array) -> Float[Array, "posed_joints 3"]:
    """Draw a pose; knees and elbows beyond their range are set to its end.

    One key gives the same pose for priors of single and double precision.
    """
    # The second of two keys is used: earlier versions used the first for a component, and a key keeps its pose.
    _, pose_key = jax.random.split(key)
    whitened = jax.random.normal(pose_key, prior.mean.shape, jnp.float32).astype(prior.mean.dtype)
    drawn = (prior.mean + prior.axes @ whitened).reshape(-1, 3)
    hinges, joints = prior.hinges, np.array(prior.hinges.joints)
    flexion = jnp.sum(drawn[joints] * hinges.axes, axis=-1)
    correction = jnp.clip(flexion, hinges.lower, hinges.upper) - flexion
    return drawn.at[joints].add(correction[:, None] * hinges.axes)


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
            arrays = {name: stored.read(name) for name in (*_GAUSSIAN, *_HINGES, "hinge_joints")}
    except FileNotFoundError:
        raise PosePriorError(f"no pose prior file {os.fspath(path)}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        raise PosePriorError(f"{origin}: not a pose prior of version {VERSION}; make it again with this version")
    coordinates = 3 * len(POSED_JOINTS)
    if header.get("joints") != list(POSED_JOINTS) or arrays["mean"].shape[1:] != (coordinates,):
        raise PosePriorError(f"{origin}: made for other joints than SMPL's 23 posed ones")
    # The file holds a mixture; posed fits take one component, so that the prior's residual is z itself.
    if len(arrays["mean"]) != 1:
        raise PosePriorError(f"{origin}: a mixture of {len(arrays['mean'])} components; posed fits take one Gaussian")
    if arrays["axes"].shape != (1, coordinates, coordinates) or arrays["log_weights"].shape != (1,):
        raise PosePriorError(f"{origin}: damaged, its arrays do not fit together")
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise PosePriorError(f"{origin}: damaged, holds NaN or infinity")
    mean, axes, *limits = (jnp.asarray(arrays[name], jnp.result_type(float)) for name in ("mean", "axes", *_HINGES))
    return PosePrior(mean[0], axes[0], Hinges(*limits, joints=tuple(int(joint) for joint in arrays["hinge_joints"])))
