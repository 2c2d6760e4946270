"""Lengths of limbs in the picture as evidence about the shape, without fitting a pose.

The data are the logarithms of seven limbs' lengths in pixels. Left and right give one length, the longer one, because
foreshortening only shortens. The size of the person in the picture is unknown, so all seven share an unknown shift c.
Near the population a body's log lengths are linear in β, and picture i of person p shows

    y_i = m + J β_p + c_i 1 + e_i,   e_i ~ N(0, s_i² W).

W is the covariance that poses, views and the detector cause. It is far larger than the differences between people and
differs between directions; a fit cannot know it. Pictures without labels show only the total T = W + J B Jᵀ. B comes
from measured people (``engine.evidence.population.body_population``), and people's share of the total is at most
``MOST_OF_PEOPLE`` along any direction. Some pictures are far off, so errors follow Student's t with ν degrees of
freedom: s_i² = (ν + d_i²)/(ν + k_i), with d_i² the squared distance from m under T and k_i the number of ratios that
are seen. Integrating out unseen limbs and the shift gives

    Λ_c = V − V 1 1ᵀ V / 1ᵀ V 1,   V = (s_i² W)⁻¹ of the limbs that are seen,   Λ = Jᵀ Λ_c J,   h = Jᵀ Λ_c (y_i − m).

This evidence about β adds to that of fits. The evidence of fits assumes a noise, and the calibration divides the sum by
its squared noise scale s². W is therefore stored divided by the s² of the fits alone. Fits (or the network) and limbs
see the same keypoints, so their errors are correlated: s² of the sum is at least 1/``SHARE``.

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

SHARE = 0.75
"""1/(1 + ρ) for the correlation ρ = 1/3 of the errors of limbs and of fits or the network: two equally informative
sources are worth 2/(1 + ρ) of one (Kish, "Survey sampling", 1965, section 5.4). Chosen on development people
(benchmarks/results.md, "Real people")."""

_SHORTEST_PX = 0.5
_DECIMALS = 6
_SPREAD = 0.1
"""Standard deviation of log lengths, in the first T and in the imaginary pictures that regularise T."""
_IMAGINARY = 10.0
_ITERATIONS = 60
_LARGEST = 100.0
"""Bound of every number of a model."""


@dataclass(frozen=True)
class LimbModel:
    """The distribution of limb lengths as a detector shows them."""

    mean: Float[np.ndarray, " limbs"]
    """m: log lengths at β = 0, less their mean."""
    by_betas: Float[np.ndarray, "limbs betas"]
    """J: change of log lengths with β, less its mean over limbs."""
    total: Float[np.ndarray, "limbs limbs"]
    """T: covariance of pictures of all people."""
    within: Float[np.ndarray, "limbs limbs"]
    """W: covariance of pictures of one body, when keypoints are as noisy as fits assume."""

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
    """Limb lengths of many pictures, and the slopes of their body's limb lengths."""

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
    """Logarithms of the seven lengths; NaN for a limb that is seen on neither side."""
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
    # Rounding gives a picture the same numbers before and after it is written to a file.
    return np.round(logs, _DECIMALS)


def limb_slopes(body: KeypointBody) -> Float[np.ndarray, "limbs betas"] | None:
    """J of a body at β = 0; None if the body's keypoints lack an end of a limb."""
    ends = np.array([body.schema.columns_of(sides[0]) for sides in LIMBS.values()])
    if ends.min() < 0:
        return None

    def logs(betas: Float[Array, " betas"]) -> Float[Array, " limbs"]:
        points = rest_keypoints(body, betas)
        found = jnp.log(jnp.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1))
        return found - jnp.mean(found)

    return np.asarray(jax.jacfwd(logs)(jnp.zeros(body.beta_count)), float)


def limb_evidence(model: LimbModel, logs: Float[np.ndarray, "images limbs"]) -> Evidence:
    """Each picture's evidence about β, independent of the others; zeros if fewer than two limbs are seen."""
    logs = np.asarray(logs, float)
    seen = np.isfinite(logs)
    away = np.where(seen, logs - model.mean, 0.0)
    weight = 1 / _squared_scale(model.total, seen, away)
    contrasts = weight[:, None, None] * _contrast_precision(model.within, seen)
    slopes = model.by_betas
    precision = slopes.T @ contrasts @ slopes
    # One product for each picture: the rounding of a joint product would depend on the number of pictures.
    information = (slopes.T @ (contrasts @ away[..., None]))[..., 0]
    return Evidence(0.5 * (precision + precision.swapaxes(1, 2)), information)


def with_limbs(
    evidence: Evidence, model: LimbModel, logs: Float[np.ndarray, "images limbs"], known: Bool[np.ndarray, " images"]
) -> Evidence:
    """The sum of the evidence of fits (or of a network) and of limbs; unchanged for pictures that are not ``known``."""
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
        between_people: B, the covariance of people as the detector shows them.
        mean_betas: mean β of the population as the detector shows it; it corresponds to the mean picture.
        noise_scale: the noise scale of the evidence of fits.
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
    """Λ_c: precision of the limbs that are seen, with the shift integrated out; zeros for the others."""
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
    """T less the covariance of people. Along each direction of T, at most ``MOST_OF_PEOPLE`` of T is subtracted."""
    sizes, axes = np.linalg.eigh(total)
    root, back = axes * np.sqrt(sizes), (axes / np.sqrt(sizes)).T
    share, turned = np.linalg.eigh(back @ people @ back.T)
    directions = root @ turned
    within = (directions * (1 - np.minimum(np.maximum(share, 0), MOST_OF_PEOPLE))) @ directions.T
    return 0.5 * (within + within.T)
