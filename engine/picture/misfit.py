"""The numbers that users read: how well a reference body explains one picture.

    reprojection_error = √(Σ c_k |y_k − ŷ_k|² / Σ c_k), in person heights
    oks                = mean over seen keypoints of exp(−|y_k − ŷ_k|² / (2 area (2 σ_k)²))
    consistency        = exp(−reprojection_error / threshold)               (rest-pose mode)

OKS as in COCO's evaluation (cocodataset.org, "keypoint evaluation"). A picture that cannot be scored has a status and
NaN in every number.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray
from engine.body.keypoint_body import KeypointBody
from engine.picture.cameras import WeakPerspective
from engine.picture.observation import Observation
from engine.scores import Status

MIN_KEYPOINTS = 4
"""A camera has three unknowns; three keypoints or fewer are explained by almost any body."""

REST_THRESHOLD = 0.1
"""The reprojection error, in person heights, at which rest-pose consistency has fallen to 1/e."""


class PictureScore(eqx.Module):
    """One row of results in rest-pose mode; fields carry a leading ``images`` axis when batched."""

    consistency: Float[AnyArray, "*images"]
    """0..1"""
    reprojection_error: Float[AnyArray, "*images"]
    """Person heights."""
    reprojection_error_px: Float[AnyArray, "*images"]
    oks: Float[AnyArray, "*images"]
    """0..1"""
    scale: Float[AnyArray, "*images"]
    """Pixels per metre."""
    translation_x: Float[AnyArray, "*images"]
    """Where the pelvis is seen, in pixels from the left..."""
    translation_y: Float[AnyArray, "*images"]
    """...and from the top."""
    status: Int[AnyArray, "*images"]
    """A ``Status``."""


def object_keypoint_similarity(
    body: KeypointBody, observation: Observation, projected: Float[Array, "keypoints 2"]
) -> Float[Array, ""]:
    """COCO's OKS of the modelled keypoints against the seen ones; 0 when nothing was seen."""
    sigmas = jnp.asarray(body.schema.sigmas, projected.dtype)
    seen = observation.confidence > 0
    squared = jnp.sum((observation.points - projected) ** 2, axis=-1)
    similarity = jnp.exp(-squared / (8 * observation.area * sigmas**2))
    return jnp.sum(jnp.where(seen, similarity, 0.0)) / jnp.maximum(jnp.sum(seen), 1)


def score_projection(
    body: KeypointBody,
    observation: Observation,
    projected: Float[Array, "keypoints 2"],
    camera: WeakPerspective,
    threshold: Float[Array, ""] | float,
) -> PictureScore:
    """Score modelled keypoints (in person heights, seen by ``camera``) against the seen ones."""
    total = jnp.sum(observation.confidence)
    squared = jnp.sum((observation.points - projected) ** 2, axis=-1)
    error = jnp.sqrt(jnp.sum(observation.confidence * squared) / jnp.where(total > 0, total, 1.0))
    height_px = observation.person_height_px
    pelvis_px = camera.translation * height_px + observation.centre_px
    return mask_unscorable(
        PictureScore(
            consistency=jnp.exp(-error / threshold),
            reprojection_error=error,
            reprojection_error_px=error * height_px,
            oks=object_keypoint_similarity(body, observation, projected),
            scale=camera.scale * height_px,
            translation_x=pelvis_px[0],
            translation_y=pelvis_px[1],
            status=status_of(jnp.sum(observation.confidence > 0), observation.measurable),
        )
    )


def status_of(seen_count: Array, measurable: Array) -> Int[Array, "*images"]:
    """Whether a picture has enough keypoints, and a limb among them, to be scored."""
    enough = measurable & (seen_count >= MIN_KEYPOINTS)
    return jnp.where(enough, Status.OK, Status.TOO_FEW_KEYPOINTS).astype(jnp.int8)


def mask_unscorable(score: PictureScore) -> PictureScore:
    """NaN in every number of a picture whose status is not ok: never a made-up number."""
    scorable = score.status == Status.OK
    numbers = {name: jnp.where(scorable, value, jnp.nan) for name, value in vars(score).items() if name != "status"}
    return PictureScore(**numbers, status=score.status)
