"""How noisy keypoints really are, from the fits alone: nobody needs to be labelled.

With pose z, shape β (both N(0, I)) and noise of s times the assumed deviation, the whitened residuals of a picture are,
linearised at its fit and brought to z = 0, β = 0,

    y = r − A z − B β ~ N(0, s² I + A Aᵀ + B Bᵀ)   after what the frame explains is projected out.

In the eigenbasis of A Aᵀ + B Bᵀ these are independent, y_j ~ N(0, s² + λ_j), so directions that pose and shape can
explain anyway (large λ) say little about s and the others much. The scale of a data set maximises the likelihood of all
its pictures. Scaling each picture's evidence by its own estimate instead costs accuracy (benchmarks/results.md,
"Identity").

The fit has bent towards the noise that was assumed, so the estimate lies between the truth and 1: at twice the assumed
noise it finds 1.6, at half of it 0.8.

Source: Patterson and Thompson, "Recovery of inter-block information when block sizes are unequal", Biometrika 1971
(restricted maximum likelihood).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.arrays import AnyArray
from engine.batching import map_samples
from engine.posed_jacobian import linearise
from engine.posed_problem import FRAME_SIZE, PictureUnknowns
from engine.posed_results import PosedFit
from engine.posed_rounds import TILE, Picture, PosedContext
from engine.status import Status

SMALLEST_SCALE, LARGEST_SCALE = 0.1, 10.0
_GRID = 401


class Misfit(NamedTuple):
    """What a picture says about its own noise; a leading axis when batched."""

    explained: Float[AnyArray, "*images rows"]
    """λ: variance that pose and shape bring into each direction."""
    values: Float[AnyArray, "*images rows"]
    """y, in assumed deviations; 0 where nothing was seen."""
    seen: Float[AnyArray, "*images"]
    """Number of directions that noise can be seen in."""


def picture_misfit(context: PosedContext, picture: Picture, unknowns: PictureUnknowns) -> Misfit:
    """One picture at its free fit. Rows of unseen keypoints are zero in everything and count as explained."""
    model = linearise(
        context.model, context.noise, picture.betas, unknowns, picture.observation, picture.lens, free_betas=True
    )
    rows = 2 * len(picture.observation.confidence)
    explaining = jnp.concatenate([model.by_whitened, model.by_dense[:, FRAME_SIZE:]], axis=1)[:rows]
    centred = model.residuals[:rows] - explaining @ jnp.concatenate([model.whitened, picture.betas])
    seen = jnp.repeat(picture.observation.confidence > 0, 2)
    frame = model.by_dense[:rows, :FRAME_SIZE]
    # Columns of unit length, so that one scale of rounding serves turns and shifts alike.
    length = jnp.sqrt(jnp.sum(frame**2, axis=0))
    directions, sizes, _ = jnp.linalg.svd(frame / jnp.where(length > 0, length, 1.0), full_matrices=False)
    directions = directions * (sizes > _DEPENDENT)
    kept = jnp.diag(seen.astype(centred.dtype)) - directions @ directions.T
    # A projected or unseen direction gets a variance that no noise can be told from.
    covariance = kept @ explaining @ explaining.T @ kept + _NEVER_SEEN * (jnp.eye(rows, dtype=kept.dtype) - kept)
    variances, axes = jnp.linalg.eigh(covariance)
    hidden = variances > 0.5 * _NEVER_SEEN
    values = jnp.where(hidden, 0.0, axes.T @ (kept @ centred))
    return Misfit(jnp.where(hidden, jnp.inf, jnp.maximum(variances, 0.0)), values, jnp.sum(~hidden))


# Singular values of the frame's unit columns below this share are rounding.
_DEPENDENT = 1e-4
# Far above any variance that poses bring into residuals of 0.1 % noise.
_NEVER_SEEN = 1e7


def log_likelihoods(misfit: Misfit, scale: Float[Array, " scales"]) -> Float[Array, " scales"]:
    """Of one picture at some noise scales, up to a constant, in nats."""
    seen = jnp.isfinite(misfit.explained)
    variance = jnp.where(seen, misfit.explained, 1.0) + scale[:, None] ** 2
    return -0.5 * jnp.sum(jnp.where(seen, jnp.log(variance) + misfit.values**2 / variance, 0.0), axis=-1)


def _likelihoods_of(context: PosedContext, fitted: tuple[Picture, PictureUnknowns]) -> Float[Array, " scales"]:
    return log_likelihoods(picture_misfit(context, *fitted), jnp.asarray(_scales(), context.model.pose_basis.dtype))


def _scales() -> np.ndarray:
    return np.geomspace(SMALLEST_SCALE, LARGEST_SCALE, _GRID)


def noise_scale(context: PosedContext, fit: PosedFit) -> float:
    """The actual noise of a set of pictures over the noise that their fit assumed, 0.1 to 10.

    Args:
        fit: with the shape of each picture free (``engine.posed_fit.fit_shapes``).

    Raises:
        ValueError: no picture was fitted.
    """
    usable = np.flatnonzero(np.asarray(fit.status) != Status.TOO_FEW_KEYPOINTS)
    if not len(usable):
        raise ValueError("no picture has a fit; the noise of keypoints cannot be estimated from none")
    fitted = jax.tree.map(lambda leaf: np.asarray(leaf)[usable], (fit.pictures, fit.unknowns))
    likelihoods = map_samples(_likelihoods_of, context, fitted, TILE, concurrent=False)
    return float(_scales()[np.asarray(likelihoods, float).sum(axis=0).argmax()])
