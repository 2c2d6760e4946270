"""The problem that every rest-pose solver solves: whitened residuals of pictures, and the prior on the shape.

    energy(β, cameras) = ½ 1/n Σ_i |r_i(β, camera_i)|² + ½ |β|²
    r_ik = √c_ik (y_ik − project(camera_i, x_k(β))) / σ_k

y are the normalised keypoints of picture i of n, c their confidence, x the keypoints of the body, σ_k their noise
(``engine.picture.noise``). Shape components have unit variance, so the shape prior's residual is β itself.

The energy takes the mean over pictures, not the sum: the misfit in rest pose is due to pose, which pictures of one
person share. A sum would count it as independent evidence and drive β of 400 frames to 25 standard deviations
(benchmarks/results.md, "Rest-pose mode on real keypoints").
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.picture.cameras import WeakPerspective, project
from engine.picture.noise import NoiseModel
from engine.picture.observation import Observation

REST_NOISE = NoiseModel(level=0.01)
"""The error of a good detector. The misfit of people who do not stand in a T-pose is ten times that, and their β is
meaningless
(benchmarks/results.md, "Rest-pose mode on real keypoints")."""


def reprojection_residuals(
    observation: Observation, projected: Float[Array, "keypoints 2"], sigmas: Float[Array, " keypoints"]
) -> Float[Array, "keypoints 2"]:
    """Whitened distances between the seen and the modelled keypoints of one picture; zero if not seen."""
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


def rest_shape_residuals(
    body: KeypointBody,
    noise: NoiseModel,
    betas: Float[Array, " betas"],
    cameras: WeakPerspective,
    observations: Observation,
) -> Float[Array, " residuals"]:
    """The residuals of all pictures of one person, each with its own camera, and of the shape prior.

    Pictures without a seen keypoint are padding and do not count.
    """
    data = jax.vmap(rest_residuals, in_axes=(None, None, None, 0, 0))(body, noise, betas, cameras, observations)
    pictures = jnp.sum(jnp.any(observations.confidence > 0, axis=-1))
    return jnp.concatenate([data.ravel() / jnp.sqrt(jnp.maximum(pictures, 1)), betas])
