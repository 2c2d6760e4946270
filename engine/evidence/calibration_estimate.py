"""Calibrations from pictures: noise, the population as the detector shows it, and errors that clips share.

Predicted and actual differences between pictures must agree: the two-covariance model of
``engine.evidence.population`` is fitted to the evidence of all pictures, with labels if people are known. Unlabelled
pictures determine the detector's shift of everybody's shape (μ), which gives most of the gain on real pictures.

The n frames of a clip repeat their errors. Each frame therefore counts 1/n in the population. The sum of their
calibrated evidence also observes the person, with covariance (1 + (n − 1) ρ) I. ρ is its posterior mean under the prior
(a + 1) ρ^a, whose mean is the shipped correlation.

If lengths of limbs are given (``engine.evidence.limbs``), they are modelled from the same pictures, and the population
is then estimated on the evidence of shapes and limbs together. With labels, the limb model is kept only if it separates
held-out people better.

The gain of a calibration is measured on held-out people, or on held-out pictures without labels: each of two halves is
judged with the calibration of the other half.

Source: Brümmer and de Villiers, "The speaker partitioning problem", Odyssey 2010 (the two-covariance model).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.comparison import GROUP_CORRELATION, evidence_of_groups, log_bayes_factors
from engine.evidence.limbs import SHARE, LimbModel, SeenLimbs, estimate_limbs, with_limbs
from engine.evidence.population import Population, bounded_evidence, prior_population
from engine.evidence.population_estimate import estimate_population, log_likelihood
from engine.evidence.reliability import leave_one_out_error, roc_area
from engine.evidence.shape_evidence import Evidence

LEAST_PICTURES = 20
"""Fewer pictures without labels give no estimate."""
FEW_PICTURES, FEW_PEOPLE = 100, 20
"""Fewer give a warning: two hundred pictures are within 0.01 of the area under the ROC curve of two thousand
(benchmarks/results.md, "Real people")."""
MOST_UNLABELLED = 2000
"""More pictures without labels change nothing; at most this many are taken, evenly spread."""

_WORSE_ERROR = 0.01
_CORRELATIONS = 101
_MOST_COMPARED = 1500
"""Clips that are compared with each other."""


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration, and the measured change for held-out people."""

    calibration: Calibration
    pictures: int
    people: int | None
    """None if people were unknown."""
    log_likelihood_before: float
    """Nats per held-out picture, from the evidence without limbs, before calibration."""
    log_likelihood_after: float
    calibration_error_before: float | None
    """Expected calibration error of held-out probabilities. Each clip (or picture outside clips) is left out of its
    person's evidence and compared with all of its half. None without labels, or if a half has no person with two."""
    calibration_error_after: float | None
    area_before: float | None = None
    """Area under the ROC curve of single pictures (clips) of those people against each other; None as above."""
    area_after: float | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to rely on this calibration; empty if there are none."""
        found = []
        if self.pictures < FEW_PICTURES:
            found.append(f"only {self.pictures} pictures: {FEW_PICTURES} or more are advised")
        if self.people is not None and self.people < FEW_PEOPLE:
            found.append(f"only {self.people} people: {FEW_PEOPLE} or more are advised")
        if self.log_likelihood_after < self.log_likelihood_before:
            found.append("it predicts pictures that it was not made from worse than no calibration does")
        before, after = self.calibration_error_before, self.calibration_error_after
        if before is not None and after is not None and after > before + _WORSE_ERROR:
            found.append("probabilities of people that it was not made from are less reliable than without it")
        if self.area_before is not None and self.area_after is not None and self.area_after < self.area_before:
            found.append("it tells people that it was not made from apart worse than no calibration does")
        return tuple(found)


def calibrate(
    evidence: Evidence,
    person: Int[np.ndarray, " images"],
    provenance: str,
    group: Int[np.ndarray, " images"] | None = None,
    keypoint_noise: Mapping[str, float] | None = None,
    prior: Population | None = None,
    limbs: SeenLimbs | None = None,
) -> CalibrationReport:
    """Estimate noise scale, population, within-person covariance and, if there are clips, the correlation in them.

    Args:
        evidence: each picture's evidence from its fit, not calibrated.
        person: the number of each picture's person, from 0.
        provenance: the pictures and their detector; kept with the result.
        group: the number of the clip or camera whose errors repeat; by default every picture is its own group.
        keypoint_noise: the noise that the fits used (``engine.evidence.keypoint_noise``); kept with the result.
        prior: population to start from (``engine.evidence.population.body_population``).
        limbs: each picture's limb lengths; by default limbs give no evidence of their own.

    Raises:
        ValueError: fewer than two people, nobody with two pictures of different groups, or a group of two people.
    """
    group = np.arange(len(person)) if group is None else np.unique(group, return_inverse=True)[1]
    _, owner = _owners(group, person)
    counts = np.bincount(owner)
    if np.count_nonzero(counts) < 2 or counts.max() < 2:
        raise ValueError(
            "calibration needs pictures of at least two people, and two pictures, not of one clip, of at least one"
        )

    def estimated(rows: np.ndarray, limbs: SeenLimbs | None) -> Calibration:
        own, own_group = _rows(evidence, rows), np.unique(group[rows], return_inverse=True)[1]
        arguments = (person[rows], _weights(own_group), prior)
        population = estimate_population(own, *arguments).population
        model = None if limbs is None else _limb_model(limbs.rows(rows), population, prior)
        if limbs is not None and model is not None:
            own = _joined(own, model, limbs.logs[rows])
            population = estimate_population(own, *arguments[:2], _of_both(prior, evidence)).population
        found = replace(_calibration(population, provenance, keypoint_noise, people_known=True), limbs=model)
        if np.bincount(own_group).max() == 1:
            return found
        _, owner = _owners(own_group, np.unique(person[rows], return_inverse=True)[1])
        correlation = _group_correlation(calibrated_pictures(own, found), own_group, owner)
        return replace(found, group_correlation=correlation)

    def judge(rows: np.ndarray, calibration: Calibration) -> tuple[float | None, float | None]:
        """Calibration error and area under the ROC curve."""
        own_group = np.unique(group[rows], return_inverse=True)[1]
        _, owner = _owners(own_group, np.unique(person[rows], return_inverse=True)[1])
        if owner.max() < 1 or np.bincount(owner).max() < 2:
            return None, None
        own = _rows(evidence, rows)
        if limbs is not None and calibration.limbs is not None:
            own = _joined(own, calibration.limbs, limbs.logs[rows])
        each = evidence_of_groups(calibrated_pictures(own, calibration), own_group, calibration.group_correlation)
        error = leave_one_out_error(_float32(each), jnp.asarray(owner, jnp.int32), int(owner.max()) + 1)
        few = np.linspace(0, len(owner) - 1, min(len(owner), _MOST_COMPARED)).round().astype(int)
        some, whose = _rows(each, few), owner[few]
        pairs = np.triu_indices(len(few), 1)
        return error, roc_area(log_bayes_factors(some, some)[pairs], (whose[:, None] == whose)[pairs])

    raw = _uncalibrated(evidence)
    gains = []
    for half in (0, 1):
        learnt, judged = (np.flatnonzero(person % 2 == side) for side in (half, 1 - half))
        if not len(learnt) or not len(judged):
            continue
        found = estimated(learnt, None)
        weights = _weights(group[judged])
        likelihoods = [
            log_likelihood(_rows(evidence, judged), person[judged], _population(one), weights) for one in (raw, found)
        ]
        judged_by = (raw, found) if limbs is None else (raw, found, estimated(learnt, limbs))
        errors, areas = zip(*(judge(judged, one) for one in judged_by), strict=True)
        gains.append((*likelihoods, *errors, *areas))
    before, after, *rest = (_mean(column) for column in zip(*gains, strict=True))
    errors, areas = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    with_limbs_too = len(areas) == 3 and areas[2] is not None and areas[1] is not None and areas[2] > areas[1]
    chosen = 2 if with_limbs_too else 1
    return CalibrationReport(
        calibration=estimated(np.arange(len(person)), limbs if with_limbs_too else None),
        pictures=len(person),
        people=int(np.count_nonzero(counts)),
        log_likelihood_before=np.nan if before is None else before,
        log_likelihood_after=np.nan if after is None else after,
        calibration_error_before=errors[0],
        calibration_error_after=errors[chosen],
        area_before=areas[0],
        area_after=areas[chosen],
    )


def calibrate_unlabelled(
    evidence: Evidence,
    provenance: str,
    keypoint_noise: Mapping[str, float] | None = None,
    prior: Population | None = None,
    limbs: SeenLimbs | None = None,
) -> CalibrationReport:
    """Estimate noise scale and mean from pictures of unknown people.

    Args:
        evidence: each picture's evidence from its fit, not calibrated.
        provenance: the pictures and their detector; kept with the result.
        keypoint_noise: the noise that the fits used; kept with the result.
        prior: population to start from; its covariances are kept.
        limbs: each picture's limb lengths; by default limbs give no evidence of their own.

    Raises:
        ValueError: fewer than ``LEAST_PICTURES``.
    """
    count = len(evidence.information)
    if count < LEAST_PICTURES:
        raise ValueError(
            f"{count} pictures are too few for a calibration; give {LEAST_PICTURES} or more, {FEW_PICTURES} if you can"
        )
    if count > MOST_UNLABELLED:
        few = np.linspace(0, count - 1, MOST_UNLABELLED).round().astype(int)
        evidence, limbs = _rows(evidence, few), None if limbs is None else limbs.rows(few)
        count = MOST_UNLABELLED
    raw, rows = _population(_uncalibrated(evidence)), np.arange(count)
    gains = []
    for half in (0, 1):
        learnt, judged = (_rows(evidence, rows[rows % 2 == side]) for side in (half, 1 - half))
        found = estimate_population(learnt, prior=prior).population
        people = np.arange(len(judged.information))
        gains.append([log_likelihood(judged, people, one) for one in (raw, found)])
    before, after = np.mean(gains, axis=0)
    population = estimate_population(evidence, prior=prior).population
    model = None if limbs is None else _limb_model(limbs, population, prior)
    if limbs is not None and model is not None:
        joined = _joined(evidence, model, limbs.logs)
        population = estimate_population(joined, prior=_of_both(prior, evidence)).population
    return CalibrationReport(
        calibration=replace(_calibration(population, provenance, keypoint_noise, people_known=False), limbs=model),
        pictures=count,
        people=None,
        log_likelihood_before=float(before),
        log_likelihood_after=float(after),
        calibration_error_before=None,
        calibration_error_after=None,
    )


def _limb_model(limbs: SeenLimbs, population: Population, prior: Population | None) -> LimbModel | None:
    """Limbs of the pictures that the population is estimated from; None if too few pictures show any."""
    if np.count_nonzero(np.isfinite(limbs.logs).sum(axis=1) > 1) < LEAST_PICTURES:
        return None
    between = np.eye(len(population.mean)) if prior is None else prior.between
    return estimate_limbs(limbs, between, population.mean, population.noise_scale)


def _of_both(prior: Population | None, evidence: Evidence) -> Population:
    """The prior of the sum of two sources whose errors are correlated."""
    own = prior_population(np.shape(evidence.information)[1]) if prior is None else prior
    return replace(own, noise_scale=own.noise_scale / np.sqrt(SHARE))


def _joined(evidence: Evidence, model: LimbModel, logs: Float[np.ndarray, "images limbs"]) -> Evidence:
    return with_limbs(evidence, model, logs, np.any(evidence.precision, axis=(1, 2)))


def _calibration(
    population: Population, provenance: str, keypoint_noise: Mapping[str, float] | None, people_known: bool
) -> Calibration:
    return Calibration(
        noise_scale=population.noise_scale,
        within_person=population.within,
        provenance=provenance,
        keypoint_noise=dict(keypoint_noise or {}),
        mean=population.mean,
        between_people=population.between,
        people_known=people_known,
    )


def _population(calibration: Calibration) -> Population:
    mean, root = calibration.axes
    return Population(mean, root @ root.T, np.asarray(calibration.within_person), calibration.noise_scale)


def _uncalibrated(evidence: Evidence) -> Calibration:
    betas = np.shape(evidence.information)[1]
    return Calibration(1.0, np.zeros((betas, betas)), "none", 0.0)


def _rows(evidence: Evidence, rows: Int[np.ndarray, " rows"]) -> Evidence:
    return Evidence(*(np.asarray(part)[rows] for part in evidence))


def _weights(group: Int[np.ndarray, " images"]) -> Float[np.ndarray, " images"]:
    """All pictures of a group count as one."""
    _, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    return 1 / sizes[place]


def _mean(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _owners(
    group: Int[np.ndarray, " images"], person: Int[np.ndarray, " images"]
) -> tuple[Int[np.ndarray, " groups"], Int[np.ndarray, " groups"]]:
    """Size and person of each group."""
    sizes = np.bincount(group)
    owner = np.zeros(len(sizes), int)
    owner[group] = person
    if np.any(owner[group] != person):
        raise ValueError("a clip shows several people; give each of them a group of their own")
    return sizes, owner


def _group_correlation(
    evidence: Evidence, group: Int[np.ndarray, " images"], owner: Int[np.ndarray, " groups"]
) -> float:
    """The posterior mean of ρ."""
    groups = bounded_evidence(evidence_of_groups(evidence, group, 0.0))
    candidates = np.linspace(0.0, 1.0, _CORRELATIONS)
    more = np.bincount(group) - 1.0
    betas = groups.information.shape[1]
    still = Population(np.zeros(betas), np.eye(betas), np.zeros((betas, betas)))
    each = [log_likelihood(groups, owner, still, noise=np.sqrt(1 + more * rho)) for rho in candidates]
    lean = GROUP_CORRELATION / (1 - GROUP_CORRELATION) - 1
    logs = len(owner) * np.asarray(each, float) + lean * np.log(np.maximum(candidates, 1e-9))
    posterior = np.exp(logs - logs.max())
    return float(posterior @ candidates / posterior.sum())


def _float32(evidence: Evidence) -> Evidence:
    return Evidence(*(jnp.asarray(part, jnp.float32) for part in evidence))
