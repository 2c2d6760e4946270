"""Distance between modelled and seen keypoints.

    reprojection error = √(Σ c_k |y_k − ŷ_k|² / Σ c_k), in person heights
    OKS                = mean over seen keypoints of exp(−|y_k − ŷ_k|² / (2 area (2 σ_k)²))

OKS is defined as in COCO's evaluation (cocodataset.org, "keypoint evaluation").
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from engine.body.keypoint_body import KeypointBody
from engine.picture.observation import Observation
from engine.scores import Status

MIN_KEYPOINTS = 4
"""Least number of seen keypoints: a camera has three unknowns, so almost any body fits three keypoints or fewer."""


def reprojection_error(
    confidence: Float[Array, " keypoints"], residuals: Float[Array, "keypoints 2"]
) -> Float[Array, ""]:
    """Root mean square distance, weighted by confidence, in the residuals' unit; 0 if nothing was seen."""
    total = jnp.sum(confidence)
    return jnp.sqrt(jnp.sum(confidence * jnp.sum(residuals**2, axis=-1)) / jnp.where(total > 0, total, 1.0))


def object_keypoint_similarity(
    body: KeypointBody, observation: Observation, projected: Float[Array, "keypoints 2"]
) -> Float[Array, ""]:
    """COCO's OKS of the modelled keypoints against the seen ones; 0 when nothing was seen."""
    sigmas = jnp.asarray(body.schema.sigmas, projected.dtype)
    seen = observation.confidence > 0
    squared = jnp.sum((observation.points - projected) ** 2, axis=-1)
    similarity = jnp.exp(-squared / (8 * observation.area * sigmas**2))
    return jnp.sum(jnp.where(seen, similarity, 0.0)) / jnp.maximum(jnp.sum(seen), 1)


def status_of(seen_count: Array, measurable: Array) -> Int[Array, "*images"]:
    """``OK`` if a picture has enough keypoints, with a limb among them, to be scored; else ``TOO_FEW_KEYPOINTS``."""
    enough = measurable & (seen_count >= MIN_KEYPOINTS)
    return jnp.where(enough, Status.OK, Status.TOO_FEW_KEYPOINTS).astype(jnp.int8)
