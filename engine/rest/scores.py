"""The numbers of one picture in rest pose.

    consistency = exp(−reprojection error / threshold)

A picture that cannot be scored has a status and NaN in every number.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray
from engine.body.keypoint_body import KeypointBody
from engine.picture.cameras import WeakPerspective
from engine.picture.misfit import object_keypoint_similarity, reprojection_error, status_of
from engine.picture.observation import Observation
from engine.scores import Status

REST_THRESHOLD = 0.1
"""The reprojection error, in person heights, at which consistency in rest pose is 1/e."""


class RestScores(eqx.Module):
    """One row of results in rest pose; fields carry a leading ``images`` axis when batched."""

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
    """Position of the pelvis, in pixels from the left..."""
    translation_y: Float[AnyArray, "*images"]
    """...and from the top."""
    status: Int[AnyArray, "*images"]
    """A ``Status``."""


def score_projection(
    body: KeypointBody,
    observation: Observation,
    projected: Float[Array, "keypoints 2"],
    camera: WeakPerspective,
    threshold: Float[Array, ""] | float,
) -> RestScores:
    """Score modelled keypoints (in person heights, seen by ``camera``) against the seen ones."""
    error = reprojection_error(observation.confidence, observation.points - projected)
    height_px = observation.person_height_px
    pelvis_px = camera.translation * height_px + observation.centre_px
    return mask_unscorable(
        RestScores(
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


def mask_unscorable(score: RestScores) -> RestScores:
    """Set every number of a picture to NaN if its status is not ok."""
    scorable = score.status == Status.OK
    numbers = {name: jnp.where(scorable, value, jnp.nan) for name, value in vars(score).items() if name != "status"}
    return RestScores(**numbers, status=score.status)
