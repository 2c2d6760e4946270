"""The actual noise of the keypoints of one picture, estimated from its own fit without labels.

Pose z and shape β are both N(0, I), and the noise is s times the assumed noise. The whitened residuals of a picture,
linearised at its fit and brought to z = 0, β = 0, are

    y = r − A z − B β ~ N(F c, V),   V = s² I + A Aᵀ + B Bᵀ,   frame c unknown

After integrating out the frame, up to a constant,

    log p(y | s) = −½ log|V| − ½ log|Fᵀ V⁻¹ F| − ½ yᵀ (V⁻¹ − V⁻¹F (FᵀV⁻¹F)⁻¹ FᵀV⁻¹) y.

Directions that pose and shape explain are almost uninformative about s. One picture has some fifteen others, so its
estimate needs a prior, log s ~ N(0, τ²), and is the posterior mean of log s. The evidence of the picture is then
(Λ, h)/s². It depends on this picture alone, and noisier pictures are less informative (benchmarks/results.md,
"Identity", has the alternatives).

The fit is biased towards the assumed noise, so the estimate lies between the truth and 1.

Source: Patterson and Thompson, "Recovery of inter-block information when block sizes are unequal", Biometrika 1971
(restricted maximum likelihood).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from engine.posed.problem import FRAME_SIZE
from engine.solvers.levenberg_marquardt import LinearModel
from engine.solvers.small_systems import solve_and_log_determinant

PRIOR_DEVIATION = 0.35
"""τ: detectors and pictures differ by a factor of 1.4 in either direction; 0.5 costs 0.005 of area under ROC
(benchmarks/results.md, "Identity")."""

_SCALES = np.geomspace(0.2, 5.0, 15)
RIDGE = 1e-6
"""Share of the trace of FᵀV⁻¹F that is added to its diagonal, because it can happen that no seen
keypoint depends on some direction of the frame."""


class KeypointRows(NamedTuple):
    """The linear model of the keypoints of one picture at z = 0, β = 0."""

    explaining: Float[Array, "rows explaining"]
    """(A, B)"""
    frame: Float[Array, "rows frame"]
    """F with columns of length 1, so that one ridge fits turns and shifts."""
    values: Float[Array, " rows"]
    """y"""


def keypoint_rows(linear: LinearModel, betas: Float[Array, " betas"], keypoints: int) -> KeypointRows:
    """The rows of a linear model that belong to keypoints.

    Args:
        linear: at the picture's fit, with its shape free (``engine.posed.jacobian.linearise``).
    """
    rows = 2 * keypoints
    explaining = jnp.concatenate([linear.by_whitened, linear.by_dense[:, FRAME_SIZE:]], axis=1)[:rows]
    values = linear.residuals[:rows] - explaining @ jnp.concatenate([linear.whitened, betas])
    frame = linear.by_dense[:rows, :FRAME_SIZE]
    length = jnp.sqrt(jnp.sum(frame**2, axis=0))
    return KeypointRows(explaining, frame / jnp.where(length > 0, length, 1.0), values)


def noise_scale(
    linear: LinearModel, betas: Float[Array, " betas"], seen: Bool[Array, " keypoints"]
) -> Float[Array, ""]:
    """Actual over assumed noise of one picture, about 0.2 to 5; 1 if the picture is uninformative.

    Args:
        linear: at the picture's fit, with its shape free (``engine.posed.jacobian.linearise``).
        seen: keypoints with a confidence above 0.
    """
    rows = keypoint_rows(linear, betas, len(seen))
    scales = jnp.asarray(_SCALES, rows.values.dtype)
    likelihood = jax.vmap(log_likelihood, in_axes=(None, None, None, None, 0))(
        rows.explaining @ rows.explaining.T, rows.frame, rows.values, jnp.repeat(seen, 2), scales
    )
    logs = jnp.log(scales)
    weights = jax.nn.softmax(likelihood - 0.5 * (logs / PRIOR_DEVIATION) ** 2)
    return jnp.exp(jnp.sum(weights * logs))


def log_likelihood(
    covariance: Float[Array, "rows rows"],
    frame: Float[Array, "rows frame"],
    values: Float[Array, " rows"],
    seen: Bool[Array, " rows"],
    scale: Float[Array, ""],
) -> Float[Array, ""]:
    """log p(values | scale) with the frame integrated out, in nats up to a constant.

    Args:
        covariance: A Aᵀ + B Bᵀ, due to pose and shape; rows that are not seen are zero in all arguments.
        frame: F, as in ``KeypointRows``.
    """
    # An unseen row is a zero residual of unit variance, which adds the same constant at every scale.
    variance = covariance + jnp.diag(jnp.where(seen, scale**2, 1.0))
    solved, log_determinant = solve_and_log_determinant(
        variance, jnp.concatenate([frame, values[:, None]], axis=1), jnp.minimum(scale**2, 1.0)
    )
    curvature = frame.T @ solved[:, :-1]
    ridge = RIDGE * jnp.trace(curvature) + jnp.where(jnp.any(seen), 0.0, 1.0)
    pull = frame.T @ solved[:, -1:]
    damped = curvature + ridge * jnp.eye(len(curvature), dtype=curvature.dtype)
    shift, log_curvature = solve_and_log_determinant(damped, pull, ridge)
    return -0.5 * (log_determinant + log_curvature + values @ solved[:, -1] - jnp.sum(pull * shift))
