"""The noise of detected keypoints that fits assume.

σ_k is the noise level times the keypoint's OKS sigma over 0.08 (the middle of COCO's sigmas), in person heights: a
level of 0.01 means that a typical joint is off by 1 % of the person's height. A calibration multiplies the noise of
single keypoints by factors (``engine.evidence.keypoint_noise``).
"""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.body.schemas import KeypointSchema

_TYPICAL_OKS_SIGMA = 0.08


class NoiseModel(eqx.Module):
    """Standard deviations of keypoints."""

    level: float = eqx.field(static=True)
    """Standard deviation of a typical joint, in person heights."""
    factors: tuple[tuple[str, float], ...] = eqx.field(static=True, default=())
    """Factors of a detector's noise by name of keypoint; 1 for keypoints that are not named."""

    def with_factors(self, factors: Mapping[str, float]) -> "NoiseModel":
        """The same level with these factors by name of keypoint."""
        return NoiseModel(self.level, tuple(sorted(factors.items())))

    def sigmas(self, schema: KeypointSchema) -> Float[Array, " keypoints"]:
        """One standard deviation per keypoint, in person heights."""
        by_name = dict(self.factors)
        factors = np.array([by_name.get(name, 1.0) for name in schema.keypoint_names])
        dtype = jnp.result_type(float)
        scale = np.asarray(factors * (self.level / _TYPICAL_OKS_SIGMA), dtype)
        return jnp.asarray(np.asarray(schema.sigmas, dtype) * scale, dtype)
