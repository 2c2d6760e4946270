"""Lengths of limbs in the picture as evidence about the shape, without fitting a pose.

Of seven limbs (of left and right the longer one, because foreshortening only shortens) the logarithms of the lengths in
pixels are taken. The size of the person in the picture is unknown, so all seven share an unknown shift c. Near the
population a body's log lengths are linear in β, and picture i of person p shows

    y_i = m + J β_p + c_i 1 + e_i,   e_i ~ N(0, s_i² W).

W is what poses, views and the detector do to limbs. It is far larger than the differences between people and differs
between directions; a fit cannot know it. Without labels only the total T = W + J B Jᵀ can be seen; B comes from
measured people (``engine.evidence.population.body_population``), and along no direction are people given more than
``MOST_OF_PEOPLE`` of the total. Some pictures are far off: s_i² = (ν + d_i²)/(ν + k_i), with d_i² the squared distance
from m under T and k_i the number of ratios that are seen, which is Student's t with ν degrees of freedom. With unseen
limbs and the shift integrated out,

    Λ_c = V − V 1 1ᵀ V / 1ᵀ V 1,   V = (s_i² W)⁻¹ of the limbs that are seen,   Λ = Jᵀ Λ_c J,   h = Jᵀ Λ_c (y_i − m).

This evidence about β adds to that of fits. Theirs is at the noise that was assumed, and the calibration divides the sum
by its squared noise scale s²; so W is kept divided by the s² of the fits alone. s, estimated again on the sum, takes
back what both have in common.

Sources: Lange, Little and Taylor, "Robust statistical modeling using the t distribution", JASA 1989 (the EM for T and
s_i); Patterson and Thompson, "Recovery of inter-block information when block sizes are unequal", Biometrika 1971
(contrasts: the shift integrated out). Gain on real people: benchmarks/results.md, "Real people".
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.batching import AnyArray
from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.body.schemas import KeypointSchema
from engine.evidence.bounds import check_semidefinite
from engine.evidence.shape_evidence import Evidence

LIMBS = {
    "upper arm": (("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow")),
    "forearm": (("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
    "thigh": (("left_hip", "left_knee"), ("right_hip", "right_knee")),
    "shin": (("left_knee", "left_ankle"), ("right_knee", "right_ankle")),
    "trunk": (("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
    "shoulders": (("left_shoulder", "right_shoulder"),),
    "hips": (("left_hip", "right_hip"),),
}
"""Ends of the seven limbs, by side."""

MOST_OF_PEOPLE = 0.5
DEGREES_OF_FREEDOM = 4.0
"""ν. Between 2 and 6 the area under the ROC curve changes by at most 0.005 (benchmarks/results.md, "Real people")."""

_SHORTEST_PX = 0.5
_DECIMALS = 6
_SPREAD = 0.1
"""Of log lengths, where estimating starts, and of the imaginary pictures that keep T sane."""
_IMAGINARY = 10.0
_ITERATIONS = 60
_LARGEST = 100.0
"""Bound of every number of a model."""


@dataclass(frozen=True)
class LimbModel:
    """How a detector shows the limbs of bodies."""

    mean: Float[np.ndarray, " limbs"]
    """m: log lengths at β = 0, their mean taken off."""
    by_betas: Float[np.ndarray, "limbs betas"]
    """J: change of log lengths with β, the mean over limbs taken off."""
    total: Float[np.ndarray, "limbs limbs"]
    """T: covariance of pictures of all people."""
    within: Float[np.ndarray, "limbs limbs"]
    """W: covariance of pictures of one body, where keypoints are as noisy as fits assume."""

    def __post_init__(self) -> None:
        limbs, betas = np.shape(self.by_betas)
        if limbs != len(LIMBS) or np.shape(self.mean) != (limbs,):
            raise ValueError(f"a limb model has {len(LIMBS)} limbs, not {np.shape(self.mean)} and {(limbs, betas)}")
        for values in (self.mean, self.by_betas):
            if not np.isfinite(values).all() or np.abs(values).max(initial=0) > _LARGEST:
                raise ValueError(f"a number of the limb model is not finite, or beyond {_LARGEST:g}")
        for name, covariance in (("total", self.total), ("within", self.within)):
            check_semidefinite(np.asarray(covariance), limbs, _LARGEST, f"the limb model's {name}")
            if np.linalg.eigvalsh(covariance)[0] <= 0:
                raise ValueError(f"the limb model's {name} is not positive definite")


class SeenLimbs(NamedTuple):
    """Limbs of many pictures, and how those of their body change."""

    logs: Float[np.ndarray, "images limbs"]
    """``limb_logs``"""
    by_betas: Float[np.ndarray, "limbs betas"]
    """``limb_slopes``"""

    def rows(self, chosen: Int[np.ndarray, " rows"]) -> "SeenLimbs":
        """Some of the pictures."""
        return SeenLimbs(self.logs[chosen], self.by_betas)


def limb_logs(
    keypoints_px: Float[AnyArray, "images keypoints 2"],
    confidence: Float[AnyArray, "images keypoints"],
    schema: KeypointSchema,
) -> Float[np.ndarray, "images limbs"]:
    """Logarithms of the seven lengths, NaN where no side of a limb is seen."""
    points, seen = np.asarray(keypoints_px, float), np.asarray(confidence) > 0
    logs = np.full((len(points), len(LIMBS)), np.nan)
    for limb, sides in enumerate(LIMBS.values()):
        for ends in sides:
            first, second = schema.columns_of(ends)
            if min(first, second) < 0:
                continue
            length = np.hypot(*(points[:, first] - points[:, second]).T)
            known = seen[:, first] & seen[:, second]
            log = np.where(known, np.log(np.maximum(np.where(known, length, 1.0), _SHORTEST_PX)), np.nan)
            logs[:, limb] = np.fmax(logs[:, limb], log)
    # Rounded, so that the same picture has the same numbers when they come back from a file.
    return np.round(logs, _DECIMALS)


def limb_slopes(body: KeypointBody) -> Float[np.ndarray, "limbs betas"] | None:
    """J of a body at β = 0; None where the body's keypoints lack an end of a limb."""
    ends = np.array([body.schema.columns_of(sides[0]) for sides in LIMBS.values()])
    if ends.min() < 0:
        return None

    def logs(betas: Float[Array, " betas"]) -> Float[Array, " limbs"]:
        points = rest_keypoints(body, betas)
        found = jnp.log(jnp.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1))
        return found - jnp.mean(found)

    return np.asarray(jax.jacfwd(logs)(jnp.zeros(body.beta_count)), float)


def limb_evidence(model: LimbModel, logs: Float[np.ndarray, "images limbs"]) -> Evidence:
    """Evidence of every picture about β; zeros where fewer than two limbs are seen. No picture depends on others."""
    logs = np.asarray(logs, float)
    seen = np.isfinite(logs)
    away = np.where(seen, logs - model.mean, 0.0)
    weight = 1 / _squared_scale(model.total, seen, away)
    contrasts = weight[:, None, None] * _contrast_precision(model.within, seen)
    slopes = model.by_betas
    precision = slopes.T @ contrasts @ slopes
    # One product for each picture: a product of all of them would round by how many there are.
    information = (slopes.T @ (contrasts @ away[..., None]))[..., 0]
    return Evidence(0.5 * (precision + precision.swapaxes(1, 2)), information)


def with_limbs(
    evidence: Evidence, model: LimbModel, logs: Float[np.ndarray, "images limbs"], known: Bool[np.ndarray, " images"]
) -> Evidence:
    """Evidence of fits (or of a network) and of limbs together; unchanged where it is not ``known``."""
    limbs = limb_evidence(model, np.where(np.asarray(known)[:, None], logs, np.nan))
    return Evidence(
        *(
            (np.asarray(part, float) + more).astype(np.asarray(part).dtype)
            for part, more in zip(evidence, limbs, strict=True)
        )
    )


def estimate_limbs(
    limbs: SeenLimbs,
    between_people: Float[np.ndarray, "betas betas"],
    mean_betas: Float[np.ndarray, " betas"],
    noise_scale: float = 1.0,
) -> LimbModel:
    """The model of pictures of unknown people.

    Args:
        between_people: B, as people differ for a detector.
        mean_betas: of the population as the detector shows it; there the mean picture is put.
        noise_scale: of the evidence of fits.
    """
    logs, by_betas = limbs.logs[np.isfinite(limbs.logs).sum(axis=1) > 1], limbs.by_betas
    seen, count = np.isfinite(logs), len(LIMBS)
    centred = np.eye(count) - 1 / count
    start = _SPREAD**2 * np.eye(count)
    # The shift is unknown: any variance along 1 gives the same contrasts.
    shift = np.full((count, count), _SPREAD**2 / count)
    mean, total = np.zeros(count), start
    for iteration in range(_ITERATIONS):
        away = np.where(seen, logs - mean, 0.0)
        scale = _squared_scale(total, seen, away) if iteration else np.ones(len(logs))
        precision = _contrast_precision(total, seen)
        moved = (precision @ away[..., None])[..., 0] @ total
        spread = scale[:, None, None] * (total - total @ precision @ total)
        step = (moved / scale[:, None]).sum(axis=0) / (1 / scale).sum()
        mean = centred @ (mean + step)
        rest = (moved - step) / np.sqrt(scale)[:, None]
        found = rest.T @ rest + (spread / scale[:, None, None]).sum(axis=0) + _IMAGINARY * start
        total = centred @ (found / (len(logs) + _IMAGINARY)) @ centred + shift
        total = 0.5 * (total + total.T)
    within = _without_people(total, by_betas @ between_people @ by_betas.T)
    return LimbModel(mean - by_betas @ mean_betas, by_betas, total, within / noise_scale**2)


def _contrast_precision(
    covariance: Float[np.ndarray, "limbs limbs"], seen: Bool[np.ndarray, "images limbs"]
) -> Float[np.ndarray, "images limbs limbs"]:
    """Λ_c: precision of the limbs that are seen, the shift integrated out; zeros for the others."""
    both = seen[:, :, None] & seen[:, None, :]
    inverse = np.where(both, np.linalg.inv(np.where(both, covariance, np.eye(len(covariance)))), 0.0)
    sums = inverse.sum(axis=2)
    whole = np.maximum(sums.sum(axis=1), 1e-12)
    found = inverse - sums[:, :, None] * sums[:, None, :] / whole[:, None, None]
    return np.where((seen.sum(axis=1) > 1)[:, None, None], found, 0.0)


def _squared_scale(
    total: Float[np.ndarray, "limbs limbs"],
    seen: Bool[np.ndarray, "images limbs"],
    away: Float[np.ndarray, "images limbs"],
) -> Float[np.ndarray, " images"]:
    """s_i²"""
    distance = (away * (_contrast_precision(total, seen) @ away[..., None])[..., 0]).sum(axis=1)
    ratios = np.maximum(seen.sum(axis=1) - 1, 0)
    return (DEGREES_OF_FREEDOM + distance) / (DEGREES_OF_FREEDOM + ratios)


def _without_people(
    total: Float[np.ndarray, "limbs limbs"], people: Float[np.ndarray, "limbs limbs"]
) -> Float[np.ndarray, "limbs limbs"]:
    """T less what people differ, of which along each direction of T at most ``MOST_OF_PEOPLE`` is taken off."""
    sizes, axes = np.linalg.eigh(total)
    root, back = axes * np.sqrt(sizes), (axes / np.sqrt(sizes)).T
    share, turned = np.linalg.eigh(back @ people @ back.T)
    directions = root @ turned
    within = (directions * (1 - np.minimum(np.maximum(share, 0), MOST_OF_PEOPLE))) @ directions.T
    return 0.5 * (within + within.T)
