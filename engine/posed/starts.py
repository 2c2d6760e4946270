"""Starts of a posed fit: the most similar of thousands of known pictures.

A library of poses, drawn once from the pose prior and seen from all around, is compared with the keypoints of a
picture. The best turn in the picture plane, scale and shift of each entry have a closed form. For keypoints as complex
numbers y (seen) and x (library), both centred on their weighted means, and weights w,

    y ≈ a x,   a = Σ w x̄ y / Σ w |x|²,   cost = Σ w |y|² − |Σ w x̄ y|² / Σ w |x|²

So people who lie, hang upside down or are seen in part need no special case, and the comparison of all pictures with
all entries is a few matrix products. Entries are sorted by the direction they are seen from. The best of each sector
competes, so that the starts differ in direction, which matters most.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from engine.body import quaternions
from engine.body.pose_prior import mirror_indices
from engine.picture.cameras import image_plane
from engine.picture.observation import REFERENCE_STATURE_M, Observation
from engine.posed.model import PosedModel
from engine.posed.problem import Noise, PictureUnknowns, pose_model

LIBRARY_SIZE = 2048
SECTORS = 16
_MISFIT = 0.02
"""Distance of the best entry's keypoints from the truth, person heights (half of it per coordinate at this size)."""
_PITCH_DEVIATION_DEGREES = 25.0
_ANY_VIEW_SHARE = 0.1
"""Share of entries seen from anywhere on the sphere; the others are seen from around the horizon."""
_LATENTS_VARIED = 20
"""Number of varied directions of the pose. Those that move keypoints least stay at the mean: they would only add
noise."""
# Factors of 1/stature: the observation's scale is a lower bound, and a person whose limbs all point at the camera is
# larger than that.
_SCALE_RANGE = (0.75, 2.0)


class StartLibrary(eqx.Module):
    """Known poses and their keypoints in the picture. Entries of one sector are adjacent."""

    orientation: Float[Array, "entries 4"]
    latent: Float[Array, "entries latents"]
    plane: Float[Array, "entries keypoints 2"]
    """Keypoints in the picture plane, metres, y down."""


@jax.jit
def _look(model: PosedModel, orientation: Array, latent: Array) -> Array:
    def one(orientation: Float[Array, "4"], latent: Float[Array, " latents"]) -> Float[Array, "keypoints 2"]:
        unknowns = PictureUnknowns(orientation, latent, jnp.zeros((), latent.dtype), jnp.zeros(2, latent.dtype))
        betas = jnp.zeros(model.beta_count, latent.dtype)
        return image_plane(pose_model(model, betas, unknowns).keypoints)

    return jax.vmap(one)(orientation, latent)


def mirrored_latents(
    model: PosedModel, latent: Float[np.ndarray, "poses latents"]
) -> Float[np.ndarray, "poses latents"]:
    """The mirror images of poses, in the prior's whitened coordinates."""
    columns, signs = mirror_indices()
    basis, whitener = (np.asarray(part, np.float64) for part in (model.pose_basis, model.pose_whitener))
    change = (latent @ basis.reshape(-1, basis.shape[-1]).T)[:, columns] * signs
    return change @ whitener.reshape(len(whitener), -1).T


def make_start_library(model: PosedModel) -> StartLibrary:
    """Draw the library; the same model always gets the same one.

    The second half mirrors the first, last entry first, so that a mirrored picture gets mirrored starts.
    """
    draw, count = np.random.default_rng(0), LIBRARY_SIZE // 2
    dtype = model.pose_basis.dtype
    latent = draw.standard_normal((count, model.latent_count))
    latent[:, _LATENTS_VARIED:] = 0
    latent = np.concatenate([latent, mirrored_latents(model, latent)[::-1]])
    yaw = (np.arange(count) + 0.5) * (2 * np.pi / LIBRARY_SIZE)
    pitch = np.radians(_PITCH_DEVIATION_DEGREES) * draw.standard_normal(count)
    anywhere = np.arcsin(draw.uniform(-1, 1, count))
    pitch = np.where(draw.random(count) < _ANY_VIEW_SHARE, anywhere, pitch)
    # The quaternion of R_x(pitch) R_y(yaw); mirrored, its y and z change sign.
    half = np.stack([np.cos(pitch / 2), np.sin(pitch / 2), np.cos(yaw / 2), np.sin(yaw / 2)])
    orientation = np.stack([half[0] * half[2], half[1] * half[2], half[0] * half[3], half[1] * half[3]], axis=1)
    orientation = np.concatenate([orientation, (orientation * [1, 1, -1, -1])[::-1]])
    orientation, latent = jnp.asarray(orientation, dtype), jnp.asarray(latent, dtype)
    return StartLibrary(orientation, latent, _look(model, orientation, latent))


class _Overlap(NamedTuple):
    """Overlap of entries with a picture: sums over keypoints of weighted products."""

    real: Float[Array, " entries"]
    imaginary: Float[Array, " entries"]
    mean: Float[Array, "2 entries"]
    spread: Float[Array, " entries"]


def _overlap(
    plane: Float[Array, "entries keypoints 2"],
    weights: Float[Array, " keypoints"],
    seen: Float[Array, "keypoints 2"],
) -> _Overlap:
    x, y = plane[..., 0], plane[..., 1]
    seen_x, seen_y = (weights[:, None] * seen).T
    mean = jnp.stack([x @ weights, y @ weights])
    spread = (x**2 + y**2) @ weights - jnp.sum(mean**2, axis=0)
    return _Overlap(x @ seen_x + y @ seen_y, x @ seen_y - y @ seen_x, mean, jnp.maximum(spread, 1e-6))


def find_starts(library: StartLibrary, noise: Noise, observation: Observation, count: int) -> PictureUnknowns:
    """Starts for one picture, along a leading axis: the best entry of each of the best sectors, best first.

    If nothing is seen they are arbitrary entries of the library.
    """
    weights = observation.confidence / (noise.sigmas**2 + _MISFIT**2)
    total = jnp.sum(weights)
    weights = weights / jnp.where(total > 0, total, 1.0)
    seen_mean = weights @ observation.points
    centred = observation.points - seen_mean

    def best_of_sector(plane: Float[Array, "entries keypoints 2"]) -> tuple[Float[Array, ""], Int[Array, ""]]:
        overlap = _overlap(plane, weights, centred)
        explained = (overlap.real**2 + overlap.imaginary**2) / overlap.spread
        best = jnp.max(explained)
        # The first entry that reaches the best, as a plain reduction: XLA's argmax is slow on CPU.
        return best, jnp.min(jnp.where(explained == best, jnp.arange(len(explained)), len(explained) - 1))

    # Sectors are processed one by one, so that intermediate results stay in the processor's cache.
    best, first = jax.lax.map(best_of_sector, library.plane.reshape(SECTORS, -1, *library.plane.shape[1:]))
    _, sectors = jax.lax.top_k(best, count)
    entries = sectors * (len(library.plane) // SECTORS) + first[sectors]

    # These numbers are computed again for the chosen few; keeping them for all entries would cost more.
    chosen = _overlap(library.plane[entries], weights, centred)
    size = jnp.sqrt(chosen.real**2 + chosen.imaginary**2)
    turn = jnp.arctan2(chosen.imaginary, jnp.where(size > 0, chosen.real, 1.0))
    scale = jnp.clip(size / chosen.spread, *(bound / REFERENCE_STATURE_M for bound in _SCALE_RANGE))
    cosine, sine = jnp.cos(turn), jnp.sin(turn)
    x, y = chosen.mean
    translation = seen_mean - scale[:, None] * jnp.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)

    def turned(angle: Float[Array, ""], orientation: Float[Array, "4"]) -> Float[Array, "4"]:
        # The picture's y points down: its turn by +angle is one by −angle about the camera's axis.
        about_axis = jnp.stack([jnp.cos(angle / 2), 0 * angle, 0 * angle, -jnp.sin(angle / 2)])
        return quaternions.multiply(about_axis, orientation)

    return PictureUnknowns(
        orientation=jax.vmap(turned)(turn, library.orientation[entries]),
        latent=library.latent[entries],
        log_scale=jnp.log(scale),
        translation=translation,
    )
