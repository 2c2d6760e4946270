"""Where to start: the most similar of thousands of known pictures.

A library of poses, drawn once from the pose prior and seen from all around, is compared with the keypoints of a
picture. For each entry the best turn in the picture plane, scale and shift are known in closed form: with keypoints as
complex numbers y (seen) and x (library), weights w and both centred on their weighted means,

    y ≈ a x,   a = Σ w x̄ y / Σ w |x|²,   cost = Σ w |y|² − |Σ w x̄ y|² / Σ w |x|²

so people who lie or hang upside down need no special care, nor do those of whom only a part is seen, and the comparison
of all pictures with all entries is a few matrix products. Entries are sorted by the direction they are seen from; the
best of each sector competes, so that the starts differ in what matters most.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine import quaternions
from engine.observations import REFERENCE_STATURE_M, Observation
from engine.posed_model import PosedModel
from engine.posed_problem import Noise, PictureUnknowns, pose_model

LIBRARY_SIZE = 8192
SECTORS = 16
_MISFIT = 0.02
"""How far the best entry's keypoints are from the truth, person heights (half of it per coordinate at this size)."""
_PITCH_DEVIATION_DEGREES = 25.0
_ANY_VIEW_SHARE = 0.1
"""Entries seen from anywhere on the sphere; the others from around the horizon."""
_LATENTS_VARIED = 20
"""Directions of the pose that move keypoints least are left at the mean: they would only add noise."""
# Times 1/stature: the observation's scale is a bound from below, and a person whose limbs all point at the camera
# looks larger than it says.
_SCALE_RANGE = (0.75, 2.0)


class StartLibrary(eqx.Module):
    """Known poses and how they look. Entries of one sector lie together."""

    orientation: Float[Array, "entries 4"]
    latent: Float[Array, "entries latents"]
    plane: Float[Array, "entries keypoints 2"]
    """Keypoints in the picture plane, metres, y down."""


@jax.jit
def _look(model: PosedModel, orientation: Array, latent: Array) -> Array:
    def one(orientation: Float[Array, "4"], latent: Float[Array, " latents"]) -> Float[Array, "keypoints 2"]:
        unknowns = PictureUnknowns(orientation, latent, jnp.zeros((), latent.dtype), jnp.zeros(2, latent.dtype))
        betas = jnp.zeros(model.beta_count, latent.dtype)
        return pose_model(model, betas, unknowns).keypoints[:, :2] * jnp.array([1.0, -1.0], latent.dtype)

    return jax.vmap(one)(orientation, latent)


def make_start_library(model: PosedModel) -> StartLibrary:
    """Draw the library; always the same one for the same model."""
    draw = np.random.default_rng(0)
    dtype = model.pose_basis.dtype
    latent = draw.standard_normal((LIBRARY_SIZE, model.latent_count))
    latent[:, _LATENTS_VARIED:] = 0
    yaw = (np.arange(LIBRARY_SIZE) + 0.5) * (2 * np.pi / LIBRARY_SIZE)
    pitch = np.radians(_PITCH_DEVIATION_DEGREES) * draw.standard_normal(LIBRARY_SIZE)
    anywhere = np.arcsin(draw.uniform(-1, 1, LIBRARY_SIZE))
    pitch = np.where(draw.random(LIBRARY_SIZE) < _ANY_VIEW_SHARE, anywhere, pitch)
    # The quaternion of R_x(pitch) R_y(yaw).
    half = np.stack([np.cos(pitch / 2), np.sin(pitch / 2), np.cos(yaw / 2), np.sin(yaw / 2)])
    orientation = np.stack([half[0] * half[2], half[1] * half[2], half[0] * half[3], half[1] * half[3]], axis=1)
    orientation, latent = jnp.asarray(orientation, dtype), jnp.asarray(latent, dtype)
    return StartLibrary(orientation, latent, _look(model, orientation, latent))


class Starts(NamedTuple):
    """The best entry of each of the best sectors, best first."""

    unknowns: PictureUnknowns
    """With a leading axis of starts."""
    cost: Float[Array, " starts"]
    """Weighted mean squared distance, person heights squared."""


def find_starts(library: StartLibrary, noise: Noise, observation: Observation, count: int) -> Starts:
    """Starts for one picture; where nothing is seen, some entries of the library."""
    weights = observation.confidence / (noise.sigmas**2 + _MISFIT**2)
    total = jnp.sum(weights)
    weights = weights / jnp.where(total > 0, total, 1.0)
    seen_mean = weights @ observation.points
    seen_x, seen_y = (weights[:, None] * (observation.points - seen_mean)).T
    entry_x, entry_y = library.plane[..., 0], library.plane[..., 1]
    real = entry_x @ seen_x + entry_y @ seen_y
    imaginary = entry_x @ seen_y - entry_y @ seen_x
    mean_x, mean_y = entry_x @ weights, entry_y @ weights
    spread = (entry_x**2 + entry_y**2) @ weights - mean_x**2 - mean_y**2
    safe_spread = jnp.maximum(spread, 1e-6)
    explained = (real**2 + imaginary**2) / safe_spread
    by_sector = explained.reshape(SECTORS, -1)
    best, sectors = jax.lax.top_k(jnp.max(by_sector, axis=1), count)
    entries = (sectors * by_sector.shape[1] + jnp.argmax(by_sector, axis=1)[sectors]).astype(jnp.int32)
    seen_spread = jnp.sum(weights[:, None] * (observation.points - seen_mean) ** 2)

    turn = jnp.arctan2(imaginary[entries], jnp.where(explained[entries] > 0, real[entries], 1.0))
    scale = jnp.sqrt(real[entries] ** 2 + imaginary[entries] ** 2) / safe_spread[entries]
    scale = jnp.clip(scale, _SCALE_RANGE[0] / REFERENCE_STATURE_M, _SCALE_RANGE[1] / REFERENCE_STATURE_M)
    cosine, sine = jnp.cos(turn), jnp.sin(turn)
    x, y = mean_x[entries], mean_y[entries]
    translation = seen_mean - scale[:, None] * jnp.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)

    def turned(angle: Float[Array, ""], orientation: Float[Array, "4"]) -> Float[Array, "4"]:
        # The picture's y points down: its turn by +angle is one by −angle about the camera's axis.
        about_axis = jnp.stack([jnp.cos(angle / 2), 0 * angle, 0 * angle, -jnp.sin(angle / 2)])
        return quaternions.multiply(about_axis, orientation)

    unknowns = PictureUnknowns(
        orientation=jax.vmap(turned)(turn, library.orientation[entries]),
        latent=library.latent[entries],
        log_scale=jnp.log(scale),
        translation=translation,
    )
    return Starts(unknowns, seen_spread - best)
