"""The baseline that a score has to beat: logarithms of seven limb lengths and a two-covariance log likelihood ratio.

Of left and right the longer side is taken, because foreshortening only shortens. The mean of the seven logarithms is
taken off, so that the size of the picture does not matter. With the person's x ~ N(μ, B) and the picture's x + N(0, W),
all three estimated by EM on pictures of other, labelled people, the mean of n pictures has covariance B + W/n, and two
sets of pictures of one person share the covariance B.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from engine.body.schemas import COCO_17

_SEGMENTS = (
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("hip", "knee"),
    ("knee", "ankle"),
    ("shoulder", "hip"),
)
_ACROSS = ("shoulder", "hip")
_SHORTEST_PX = 0.5
_ITERATIONS = 100


class LimbModel(NamedTuple):
    """Two covariances of limb logarithms, in coordinates in which their sum is left out."""

    mean: Float[np.ndarray, " limbs"]
    between: Float[np.ndarray, "limbs limbs"]
    within: Float[np.ndarray, "limbs limbs"]


def baseline_logs(keypoints: Float[np.ndarray, "images keypoints 2"]) -> Float[np.ndarray, "images 6"]:
    """Limb logarithms, their mean taken off, of pictures in COCO-17 order in which all limb points are seen."""

    logs = np.log(np.maximum(_longest(keypoints, np.ones(keypoints.shape[:2], bool)), _SHORTEST_PX))
    return logs @ _without_mean(logs.shape[1])


def fit_limb_model(logs: Float[np.ndarray, "images limbs"], person: Int[np.ndarray, " images"]) -> LimbModel:
    """Maximum likelihood by EM."""
    person = np.unique(person, return_inverse=True)[1]
    counts = np.bincount(person)
    sums = np.stack([np.bincount(person, column) for column in logs.T], axis=1)
    mean, spread = logs.mean(axis=0), np.cov(logs.T)
    between, within = 0.4 * spread, 0.6 * spread
    for _ in range(_ITERATIONS):
        prior, noise = np.linalg.inv(between), np.linalg.inv(within)
        covariance = np.linalg.inv(prior + counts[:, None, None] * noise)
        people = np.einsum("pij,pj->pi", covariance, prior @ mean + sums @ noise)
        mean = people.mean(axis=0)
        between = ((people - mean).T @ (people - mean) + covariance.sum(axis=0)) / len(counts)
        rest = logs - people[person]
        within = (rest.T @ rest + np.einsum("p,pij->ij", counts, covariance)) / len(logs)
    return LimbModel(mean, between, within)


def limb_log_ratios(
    model: LimbModel, a: Float[np.ndarray, "people pictures_a limbs"], b: Float[np.ndarray, "people pictures_b limbs"]
) -> Float[np.ndarray, "people people"]:
    """Log likelihood ratio of one person against two, for every A with every B."""
    own_a, own_b = (model.between + model.within / side.shape[1] for side in (a, b))
    x, y = (side.mean(axis=1) - model.mean for side in (a, b))
    joint = np.block([[own_a, model.between], [model.between, own_b]])
    apart = np.block([[own_a, 0 * own_a], [0 * own_b, own_b]])
    gain = np.linalg.inv(apart) - np.linalg.inv(joint)
    size = len(model.mean)
    quadratic = (
        np.einsum("ni,ij,nj->n", x, gain[:size, :size], x)[:, None]
        + np.einsum("ni,ij,nj->n", y, gain[size:, size:], y)[None]
        + 2 * x @ gain[:size, size:] @ y.T
    )
    return 0.5 * (quadratic + np.linalg.slogdet(apart)[1] - np.linalg.slogdet(joint)[1])


def _longest(
    keypoints: Float[np.ndarray, "images keypoints 2"], seen: Bool[np.ndarray, "images keypoints"]
) -> Float[np.ndarray, "images 7"]:
    """Lengths of seven limbs in pixels, of left and right the longer; 0 where neither is seen."""

    def length(start: str, end: str) -> np.ndarray:
        first, second = (COCO_17.keypoint_names.index(name) for name in (start, end))
        between = np.linalg.norm(keypoints[:, first].astype(float) - keypoints[:, second], axis=1)
        return np.where(seen[:, first] & seen[:, second], between, 0.0)

    both = [
        np.maximum(*(length(f"{side}_{start}", f"{side}_{end}") for side in ("left", "right")))
        for start, end in _SEGMENTS
    ]
    return np.stack([*both, *(length(f"left_{joint}", f"right_{joint}") for joint in _ACROSS)], axis=1)


def _without_mean(count: int) -> np.ndarray:
    """An orthonormal basis of what is left of so many numbers when their mean is taken off."""
    helmert = np.zeros((count, count - 1))
    for column in range(1, count):
        helmert[:column, column - 1] = 1.0
        helmert[column, column - 1] = -column
    return helmert / np.linalg.norm(helmert, axis=0)
