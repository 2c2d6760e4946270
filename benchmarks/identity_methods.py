"""Known people, pictures of them, and what each method says about a picture and a person.

Each identity has some reference pictures and some probes. A probe is compared with its own person's references and with
those of a few strangers; every method scores exactly these pairs. Noise of n % is a Gaussian with σ_k = n % × height of
the box around the person × OKS sigma_k / 0.08.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from adapters.bodies.networks import amortised_model
from benchmarks.synthetic import LEGS, PoseSet, SyntheticSettings, make_pictures
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody
from engine.evidence.amortised.evidence import AmortisedModel, amortised_evidence
from engine.evidence.amortised.stage import join_evidence
from engine.evidence.calibration import calibrated_pictures
from engine.evidence.calibration_file import default_calibration
from engine.evidence.shape_evidence import Evidence, log_bayes_factor, posterior
from engine.picture.noise import NoiseModel
from engine.picture.observation import Observation, size_edges
from engine.posed.fit import PosedFit, fit_poses, fit_shapes, make_context, observe_pictures
from engine.posed.results import shape_evidence
from engine.posed.search import PosedContext
from engine.rest.fit import fit_rest_shape
from engine.rest.scoring import score_rest_pictures

REFERENCES = 4
PICTURES = 8
_STRANGERS = 5
"""Per probe."""
_SEED = 5
_UNIT_SEED = 1005


@dataclass(frozen=True)
class Faults:
    """What is wrong with a set of pictures; levels in heights of the box around the person."""

    noise: float = 0.01
    bias: float = 0.0
    """Of the detector: depends on the side that is seen, the same for all people."""
    assumed: float | None = None
    """Noise that the fit takes for granted; by default the actual one."""
    legs: bool = True
    yaw_range: tuple[float, float] = (-180.0, 180.0)
    """Degrees; 0 faces the camera."""

    @property
    def assumed_level(self) -> float:
        return float(np.hypot(self.noise, self.bias)) if self.assumed is None else self.assumed


class People(NamedTuple):
    """Pictures of known people, fitted with their shapes free; the leading axis counts pictures, person by person."""

    keypoints_px: Float[np.ndarray, "images keypoints 2"]
    confidence: Float[np.ndarray, "images keypoints"]
    observations: Observation
    fit: PosedFit
    evidence: Evidence
    """Of posed fits."""
    amortised: Evidence
    """Of the network."""
    betas: Float[np.ndarray, "people betas"]


class Pairs(NamedTuple):
    """Which reference person is compared with which probe picture."""

    person: Int[np.ndarray, " pairs"]
    probe: Int[np.ndarray, " pairs"]
    """Row of the picture."""
    same: Bool[np.ndarray, " pairs"]


def context_for(body: KeypointBody, level: float) -> PosedContext:
    return make_context(body, noise=NoiseModel(level))


def photograph(
    context: PosedContext, poses: PoseSet, faults: Faults, people: int, pictures: int = PICTURES, seed: int = _SEED
) -> People:
    """Draw people and fit each of their pictures on its own."""
    drawn = make_pictures(
        context.model.body,
        poses,
        SyntheticSettings(
            people=people,
            pictures=pictures,
            seed=seed,
            noise_level=faults.noise,
            noise_unit="bounding_box",
            detector_bias_level=faults.bias,
            hidden_keypoints=() if faults.legs else LEGS,
            yaw_range=faults.yaw_range,
        ),
    )
    keypoints = drawn.keypoints_px.reshape(people * pictures, -1, 2).astype(np.float32)
    confidence = drawn.confidence.reshape(people * pictures, -1).astype(np.float32)
    observations = observe_pictures(context, keypoints, confidence)
    fit = fit_shapes(context, observations)
    amortised = amortised_of(context, keypoints, confidence)
    return People(keypoints, confidence, observations, fit, shape_evidence(context, fit), amortised, drawn.betas)


def amortised_of(
    context: PosedContext,
    keypoints_px: Float[np.ndarray, "images keypoints 2"],
    confidence: Float[np.ndarray, "images keypoints"],
) -> Evidence:
    """The network's evidence of pictures of the embedded body, at the noise that the fits assume."""
    schema = context.model.body.schema
    level = float(np.mean(np.asarray(context.problem.noise.sigmas) / np.asarray(NoiseModel(1.0).sigmas(schema))))
    return amortised_evidence(_network_model(), schema, NoiseModel(level), keypoints_px, confidence)


@cache
def _network_model() -> AmortisedModel:
    model = amortised_model(load_embedded_body())
    if model is None:
        raise FileNotFoundError("the embedded body has no evidence network")
    return model


def pairs_of(people: int, pictures: int, references: int = REFERENCES) -> Pairs:
    """Each probe with its own person and with a few strangers."""
    draw = np.random.default_rng(_SEED)
    probe = np.concatenate([np.arange(references, pictures) + pictures * person for person in range(people)])
    own = probe // pictures
    strangers = min(_STRANGERS, people - 1)
    steps = np.stack([1 + draw.permutation(people - 1)[:strangers] for _ in probe])
    person = np.concatenate([own[:, None], (own[:, None] + steps) % people], axis=1)
    same = np.zeros(person.shape, bool)
    same[:, 0] = True
    return Pairs(person.reshape(-1), np.repeat(probe, 1 + strangers), same.reshape(-1))


def fused(evidence: Evidence, people: int, pictures: int, first: int, last: int) -> Evidence:
    """The evidence of pictures ``first`` to ``last`` of each person, added."""
    grouped = jax.tree.map(lambda part: np.asarray(part).reshape(people, pictures, *part.shape[1:]), evidence)
    return jax.tree.map(lambda part: part[:, first:last].sum(axis=1), grouped)


def log_bayes_factors(
    references: Evidence,
    probes: Evidence,
    person: Int[np.ndarray, " pairs"],
    probe: Int[np.ndarray, " pairs"],
) -> Float[np.ndarray, " pairs"]:
    chosen = [jax.tree.map(lambda part, at=at: jnp.asarray(part)[at], parts) for parts, at in
              ((references, person), (probes, probe))]  # fmt: skip
    return np.asarray(jax.jit(jax.vmap(log_bayes_factor))(*chosen))


def score_all(context: PosedContext, people: People, pairs: Pairs) -> dict[str, Float[np.ndarray, " pairs"]]:
    """Every method of the table on the same pairs; higher speaks for one body."""
    count = len(people.betas)
    pictures = len(people.confidence) // count
    evidence = fused(honest(people)[LAPLACE], count, pictures, 0, REFERENCES)
    means = np.asarray(jax.jit(jax.vmap(posterior))(evidence).mean)
    seen = jax.tree.map(lambda leaf: np.asarray(leaf)[pairs.probe], (people.observations, people.fit.unknowns))
    fixed = fit_poses(context, seen[0], means[pairs.person], initial=seen[1])
    # The free fit's energy has its shape prior in it, which the fixed one's has not.
    free = people.fit.energy - 0.5 * np.sum(people.fit.betas**2, axis=-1)
    return {
        "rest-pose recipe": _rest_scores(context.model.body, people, pairs),
        "2D limb-length ratios": _limb_ratio_scores(context.model.body, people, pairs),
        "reprojection error at fixed betas": -_reprojection_error(people, pairs, fixed),
        "distance between fitted betas": -np.linalg.norm(means[pairs.person] - people.fit.betas[pairs.probe], axis=-1),
        "excess energy over the free fit": free[pairs.probe] - fixed.energy,
    }


def _reprojection_error(people: People, pairs: Pairs, fixed: PosedFit) -> Float[np.ndarray, " pairs"]:
    """Root mean square over the keypoints, person heights."""
    confidence = people.observations.confidence[pairs.probe]
    squared = np.sum(fixed.residuals**2, axis=-1)
    return np.sqrt(np.sum(confidence * squared, axis=-1) / np.sum(confidence, axis=-1))


def _rest_scores(body: KeypointBody, people: People, pairs: Pairs) -> Float[np.ndarray, " pairs"]:
    """One T-pose shape per person, and how far each probe is from it."""
    pictures = len(people.confidence) // len(people.betas)
    scores = np.empty(len(pairs.probe))
    for person in range(len(people.betas)):
        own = slice(pictures * person, pictures * person + REFERENCES)
        shape = fit_rest_shape(body, people.keypoints_px[own], people.confidence[own])
        rows = np.flatnonzero(pairs.person == person)
        probe = pairs.probe[rows]
        scored = score_rest_pictures(body, shape.betas, people.keypoints_px[probe], people.confidence[probe])
        scores[rows] = -scored.reprojection_error
    return scores


def _limb_ratio_scores(body: KeypointBody, people: People, pairs: Pairs) -> Float[np.ndarray, " pairs"]:
    """Distance between the logarithms of limb lengths in the picture, whole size aside."""
    start, end = np.array(size_edges(body.schema)[0]).T
    points, seen = people.observations.points, people.observations.confidence > 0
    both = seen[:, start] & seen[:, end]
    lengths = np.linalg.norm(points[:, start] - points[:, end], axis=-1)
    logs = np.where(both, np.log(np.maximum(lengths, 0.01)), np.nan)
    logs = logs - np.nanmean(logs, axis=1, keepdims=True)
    grouped = logs.reshape(len(people.betas), -1, logs.shape[-1])
    means = np.nanmean(grouped[:, :REFERENCES], axis=1)
    return -np.sqrt(np.nanmean((means[pairs.person] - logs[pairs.probe]) ** 2, axis=-1))


LAPLACE, AMORTISED = "Bayes factor, evidence of posed fits", "Bayes factor, evidence of the network"
JOINT = "Bayes factor, evidence of both"


def honest(people: People) -> dict[str, Evidence]:
    """Evidence of every kind, calibrated as users get it."""
    own, other = (jax.tree.map(np.asarray, evidence) for evidence in (people.evidence, people.amortised))
    joint = join_evidence(own, other, np.any(other.precision, axis=(1, 2)))
    every = {LAPLACE: own, AMORTISED: other, JOINT: joint}
    return {name: calibrated_pictures(evidence, default_calibration()) for name, evidence in every.items()}


def boxes_in_statures(body: KeypointBody, poses: PoseSet) -> float:
    """Median height of the box around a person over the person's stature, on people of its own."""
    drawn = make_pictures(body, poses, SyntheticSettings(people=100, pictures=PICTURES, seed=_UNIT_SEED))
    return float(np.median(np.ptp(drawn.true_keypoints_px[..., 1], axis=2) / drawn.person_height_px))
