"""The problem that every solver solves: whitened residuals of one picture, and the prior on the shape.

    energy(β, cameras) = ½ Σ_i |r_i(β, camera_i)|² + ½ |β|²
    r_ik = √c_ik (y_ik − project(camera_i, x_k(β))) / σ_k

y are the normalised keypoints of picture i, c their confidence, x the keypoints of the body. σ_k is the noise level
times the keypoint's OKS sigma over 0.08 (the middle of COCO's sigmas), in person heights: a level of 0.01 means that a
typical joint is off by 1 % of the person's height. Shape components have unit variance, so the shape prior's residual
is β itself.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from engine.cameras import WeakPerspective, project
from engine.keypoint_body import KeypointBody, rest_keypoints
from engine.keypoints import KeypointSchema
from engine.observations import Observation

_TYPICAL_OKS_SIGMA = 0.08


class NoiseModel(eqx.Module):
    """How far detected keypoints are from where the model can put them."""

    level: float = eqx.field(static=True)
    """Standard deviation of a typical joint, in person heights."""

    def sigmas(self, schema: KeypointSchema) -> Float[Array, " keypoints"]:
        """One standard deviation per keypoint, in person heights."""
        return jnp.asarray(schema.sigmas) * (self.level / _TYPICAL_OKS_SIGMA)


REST_NOISE = NoiseModel(level=0.03)
"""In rest-pose mode most of the misfit is pose, not detection: the level is what keeps β within the plausible when
people do not stand in a T-pose (benchmarks/results.md, "Rest-pose noise level")."""


def reprojection_residuals(
    observation: Observation, projected: Float[Array, "keypoints 2"], sigmas: Float[Array, " keypoints"]
) -> Float[Array, "keypoints 2"]:
    """Whitened distances between the seen and the modelled keypoints of one picture; zero where nothing was seen."""
    weights = jnp.sqrt(observation.confidence) / sigmas
    return weights[:, None] * (observation.points - projected)


def rest_residuals(
    body: KeypointBody,
    noise: NoiseModel,
    betas: Float[Array, " betas"],
    camera: WeakPerspective,
    observation: Observation,
) -> Float[Array, "keypoints 2"]:
    """The residuals of one picture with the body in rest pose."""
    return reprojection_residuals(observation, project(camera, rest_keypoints(body, betas)), noise.sigmas(body.schema))
