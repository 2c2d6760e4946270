"""Poses for simulated pictures: captured ones, varied, or draws from the pose prior.

A pose pool holds poses with weights. A drawn pose is a captured one, perhaps blended with another or with another's
arms, mirrored half of the time, and turned a little at every joint.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.batching import AnyArray
from engine.body.pose_prior import POSED_JOINTS, PosePrior, mirror_indices, sample
from engine.simulation.settings import PoseSettings

ARM_JOINTS = tuple(
    POSED_JOINTS.index(f"{side}_{part}")
    for side in ("left", "right")
    for part in ("collar", "shoulder", "elbow", "wrist", "hand")
)
_LEG_JOINTS = tuple(POSED_JOINTS.index(f"{side}_{part}") for side in ("left", "right") for part in ("hip", "knee"))
_KNEES = tuple(POSED_JOINTS.index(f"{side}_knee") for side in ("left", "right"))


class PosePool(eqx.Module):
    """Poses with their weights. A pytree."""

    body_pose: Float[AnyArray, "poses 23 3"]
    """Rotation vectors in radians of all joints but the root."""
    tilt: Float[AnyArray, "poses 3"]
    """Rotation vector of the pelvis in a world with y up, without the heading."""
    cumulative: Float[AnyArray, " poses"]
    """Running sum of the weights; its last entry is 1."""


def make_pool(
    body_pose: Float[np.ndarray, "poses 23 3"],
    tilt: Float[np.ndarray, "poses 3"],
    weights: Float[np.ndarray, " poses"] | None = None,
) -> PosePool:
    """A pool of captured poses.

    Args:
        weights: relative frequency of each pose; by default all are equal.

    Raises:
        ValueError: no poses, or weights that are negative or all zero.
    """
    share = np.ones(len(body_pose)) if weights is None else np.asarray(weights, np.float64)
    if not len(share) or share.min() < 0 or share.sum() <= 0:
        raise ValueError("a pose pool needs poses, and weights that are not negative and not all zero")
    cumulative = np.cumsum(share / share.sum())
    cumulative[-1] = 1.0
    return PosePool(*(np.asarray(part, np.float32) for part in (body_pose, tilt, cumulative)))


def pool_from_prior(prior: PosePrior, count: int = 8192, seed: int = 0) -> PosePool:
    """A pool drawn from the pose prior, for machines without captured poses."""
    drawn = jax.vmap(lambda key: sample(prior, key))(jax.random.split(jax.random.key(seed), count))
    return make_pool(np.asarray(drawn), np.zeros((count, 3)))


def draw_pose(pool: PosePool, settings: PoseSettings, key: Array) -> tuple[Float[Array, "23 3"], Float[Array, "3"]]:
    """One varied pose and the tilt of its pelvis, radians."""
    keys = jax.random.split(key, 7)
    first, second = jnp.searchsorted(jnp.asarray(pool.cumulative), jax.random.uniform(keys[0], (2,)))
    pose, other = jnp.asarray(pool.body_pose)[first], jnp.asarray(pool.body_pose)[second]
    kind = jax.random.uniform(keys[1])
    share = jnp.where(kind < settings.blend_rate, jax.random.uniform(keys[2]), 0.0)
    blended = pose + share * (other - pose)
    exchanged = blended.at[np.array(ARM_JOINTS)].set(other[np.array(ARM_JOINTS)])
    takes_arms = (kind >= settings.blend_rate) & (kind < settings.blend_rate + settings.exchange_rate)
    pose = jnp.where(takes_arms, exchanged, blended)
    tilt = jnp.asarray(pool.tilt)[first]

    jitter = jnp.radians(settings.jitter) * jax.random.normal(keys[3], pose.shape)
    widened = jax.random.uniform(keys[4]) < settings.sideways_leg_rate
    wider = np.ones((len(POSED_JOINTS), 1), np.float32)
    wider[np.array(_LEG_JOINTS)] = 5.0
    turned = pose + jitter * jnp.where(widened, jnp.asarray(wider), 1.0)
    # Knees do not bend backwards and have one axis; the jitter respects that.
    knees = np.array(_KNEES)
    turned = turned.at[knees, 0].set(jnp.maximum(turned[knees, 0], jnp.minimum(pose[knees, 0], 0.0)))
    turned = turned.at[knees, 1:].set(pose[knees, 1:] + 0.3 * jitter[knees, 1:])

    flip = jax.random.bernoulli(keys[5])
    mirrored = mirror_pose(turned, tilt)
    return jnp.where(flip, mirrored[0], turned), jnp.where(flip, mirrored[1], tilt)


def mirror_pose(
    pose: Float[AnyArray, "*poses 23 3"], tilt: Float[AnyArray, "*poses 3"]
) -> tuple[Float[AnyArray, "*poses 23 3"], Float[AnyArray, "*poses 3"]]:
    """Mirror images of poses and of tilts. NumPy or JAX."""
    columns, signs = mirror_indices()
    flat = pose.reshape(*pose.shape[:-2], -1)
    mirrored = flat[..., columns] * signs.astype(pose.dtype)
    return mirrored.reshape(pose.shape), tilt * signs[:3].astype(tilt.dtype)
