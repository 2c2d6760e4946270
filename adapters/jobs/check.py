"""From references and pictures to a decision: fit, check the references, calibrate, score, and give reasons.

This module holds everything that depends on all pictures together: the calibration on the data set, the references that
disagree, the reasons, and advice. ``check_folder`` handles files.

If no calibration is given, the population is estimated from the unlabelled pictures themselves, if there are enough
(``engine.evidence.calibration_estimate``). It is used if it predicts held-out pictures better than the shipped one.
Outlines show people so exactly that the mean of a few people would be taken for the population's
(benchmarks/results.md, "From a folder to a decision"): with outlines the shipped calibration stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.prepared import prepare
from adapters.jobs.score import score_table
from adapters.jobs.scorer import Scorer, ScoreSettings, calibration_of
from adapters.keypoints.clips import clip_of
from adapters.keypoints.table import KeypointTable
from adapters.results.reasons import compare_proportions, reason, reasons_of
from adapters.results.scores import Scores
from adapters.results.vocabulary import row_kinds
from engine.body.keypoint_body import KeypointBody
from engine.body.model import BodyModel
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.calibration_estimate import FEW_PICTURES, calibrate_unlabelled
from engine.evidence.comparison import best_matches, log_bayes_factors
from engine.evidence.limbs import SeenLimbs, with_limbs
from engine.evidence.one_person import OUTLIER, against_the_others
from engine.evidence.population import body_population
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PRIOR_PROBABILITY, PictureEvidence, calibrated_people, compare_evidence
from engine.scores import SCORED, Status
from engine.shape import Shape

Progress = Callable[[str, int, int | None], None]

FEW_REFERENCES = 8
_LITTLE_BITS = 1.0
_MANY_UNSURE = 0.2


@dataclass(frozen=True)
class CheckSettings:
    """Settings that may change a result, besides keypoints and body."""

    solver: str = "auto"
    calibration: Calibration | None = None
    """Estimated from the pictures by default."""
    least_pictures: int = FEW_PICTURES
    """Least number of usable pictures for that."""


@dataclass(frozen=True)
class ReferenceFinding:
    """One reference against all others."""

    image: str
    log_bayes_factor: float
    """Log Bayes factor in nats; below 0 the reference is more likely somebody else."""
    reason: str

    @property
    def disagrees(self) -> bool:
        """True if the reference does not look like the others."""
        return self.log_bayes_factor < OUTLIER


@dataclass(frozen=True)
class Check:
    """All results of a check."""

    shape: Shape
    scores: Scores
    calibration: Calibration
    calibrated_by: str
    """``given``, ``pictures`` or ``shipped``."""
    references: tuple[ReferenceFinding, ...]
    """The references that could be compared, starting with the one most unlike the others."""
    reasons: list[str]
    """Each row's reason in words; empty for the same body, and if nothing is unusual."""
    help: tuple[str, ...]
    """Advice that would make the next check more certain, most helpful first."""

    def __repr__(self) -> str:
        disagree = sum(one.disagrees for one in self.references)
        about = f"calibration {self.calibrated_by}, {disagree} of {len(self.references)} references disagree"
        return f"Check with {self.shape!r}\n{about}\n{self.scores!r}"


def check(
    references: KeypointTable,
    pictures: KeypointTable,
    body: BodyModel,
    settings: CheckSettings | None = None,
    alike: Int[np.ndarray, " rows"] | None = None,
    on_progress: Progress = lambda what, done, expected: None,
) -> Check:
    """Compare pictures with the person in the references.

    Args:
        alike: for each picture, the first of the pictures that look like it (``near_duplicates.first_alike``). Only
            that one counts when the population is estimated from the pictures.

    Raises:
        ValueError: nobody in the references can be used, or a table lacks keypoints of the body.
    """
    settings = settings or CheckSettings()
    on_progress("fitting the references", 0, None)
    shape = fit_references(references, body, FitSettings(solver=settings.solver, calibration=settings.calibration))
    scored = _score(references, shape, body, settings)
    scores = _score(pictures, shape, body, settings, on_progress)
    prepared = prepare(body, pictures.schema)
    limbs = prepared.seen_limbs(*prepared.columns(pictures))
    outlined = prepared.sees_outlines(shape.solver) and 2 * pictures.outlined > len(pictures)
    calibration, calibrated_by = _calibration(shape, scores, settings, alike, limbs, outlined)
    if calibrated_by == "pictures":
        shape = replace(shape, calibration=calibration)
        scores = recalibrated(_with_limbs(scores, calibration, limbs), shape, calibration)
        theirs = prepare(body, references.schema)
        scored = _with_limbs(scored, calibration, theirs.seen_limbs(*theirs.columns(references)))
    reduced = prepared.reduced
    reasons = _reasons(reduced, scores, shape, calibration)
    findings = _references(reduced, scored, shape, calibration)
    return Check(shape, scores, calibration, calibrated_by, findings, reasons, _help(shape, scores, calibrated_by))


def together(found: Check, rows: Sequence[int] | np.ndarray) -> tuple[float, float]:
    """The log Bayes factor, in nats, and the probability that rows of one person show the references' body.

    Raises:
        ValueError: the scores hold no evidence.
    """
    if found.scores.evidence is None:
        raise ValueError("scores without evidence cannot be added up; score with --pose free")
    picked = Evidence(*(np.asarray(part)[np.asarray(rows)] for part in found.scores.evidence))
    whole = Evidence(*(np.sum(part, axis=0)[None] for part in calibrated_pictures(picked, found.calibration)))
    factors = log_bayes_factors(whole, calibrated_people([found.shape], found.calibration))
    matches = best_matches(factors, 1 - PRIOR_PROBABILITY)
    return float(factors[0, 0]), float(matches.probability[0])


def recalibrated(scores: Scores, shape: Shape, calibration: Calibration) -> Scores:
    """The same evidence compared with the shape at another calibration.

    Raises:
        ValueError: the scores hold no evidence.
    """
    if scores.evidence is None:
        raise ValueError("scores without evidence cannot be calibrated again; score with --pose free")
    known = np.isin(scores.status, SCORED)
    status = np.where(known, Status.OK, scores.status).astype(np.int8)
    pictures = PictureEvidence(scores.evidence, status, np.zeros(len(scores), np.int8), known)
    compared = compare_evidence(pictures, [shape], calibration)
    names = ("same_body_probability", "log_bayes_factor", "information_bits")
    return replace(
        scores,
        status=compared.status,
        numbers={**scores.numbers, **{name: getattr(compared, name) for name in names}},
    )


def _score(
    table: KeypointTable,
    shape: Shape,
    body: BodyModel,
    settings: CheckSettings,
    on_progress: Progress = lambda what, done, expected: None,
) -> Scores:
    scorer = Scorer(body, table.schema, shape, ScoreSettings(solver=settings.solver))
    on_progress("scoring", 0, len(table))
    return score_table(scorer, table, lambda done: on_progress("scoring", done, len(table)))


def _with_limbs(scores: Scores, calibration: Calibration, limbs: SeenLimbs | None) -> Scores:
    """Scores with the limbs' evidence added, for a calibration that was made after scoring."""
    if calibration.limbs is None or limbs is None or scores.evidence is None:
        return scores
    known = np.any(np.asarray(scores.evidence.precision), axis=(1, 2))
    return replace(scores, evidence=with_limbs(scores.evidence, calibration.limbs, limbs.logs, known))


def _calibration(
    shape: Shape,
    scores: Scores,
    settings: CheckSettings,
    alike: Int[np.ndarray, " rows"] | None,
    limbs: SeenLimbs | None,
    outlined: bool,
) -> tuple[Calibration, str]:
    shipped = calibration_of((shape,), settings.calibration)
    if settings.calibration is not None:
        return shipped, "given"
    rows = np.arange(len(scores))
    usable = np.flatnonzero(np.isin(scores.status, SCORED) & (rows == (rows if alike is None else alike)))
    if scores.evidence is None or outlined or len(usable) < settings.least_pictures:
        return shipped, "shipped"
    evidence = Evidence(*(np.asarray(part)[usable] for part in scores.evidence))
    report = calibrate_unlabelled(
        evidence,
        f"{len(usable)} pictures that were checked",
        shipped.keypoint_noise,
        body_population(shape.body_fingerprint, len(shape.betas)),
        None if limbs is None else limbs.rows(usable),
    )
    if report.log_likelihood_after <= report.log_likelihood_before:
        return shipped, "shipped"
    return replace(report.calibration, body_fingerprint=shape.body_fingerprint), "pictures"


def _reasons(reduced: KeypointBody, scores: Scores, shape: Shape, calibration: Calibration) -> list[str]:
    if scores.evidence is None:
        return [""] * len(scores)
    count = len(scores)
    person = calibrated_people([shape], calibration)
    theirs = Evidence(*(np.broadcast_to(part, (count, *part.shape[1:])) for part in map(np.asarray, person)))
    differences = compare_proportions(
        reduced, calibrated_pictures(scores.evidence, calibration), theirs, *calibration.axes
    )
    kinds = row_kinds(scores.labels, scores.numbers["same_body_probability"], scores.numbers["consistency"])
    return reasons_of(differences.deviations, kinds)


def _references(
    reduced: KeypointBody, scored: Scores, shape: Shape, calibration: Calibration
) -> tuple[ReferenceFinding, ...]:
    used = {(reference.image, reference.instance) for reference in shape.references if reference.used}
    keys = list(zip(scored.image.to_pylist(), scored.instance.tolist(), strict=True))
    rows = [row for row, key in enumerate(keys) if key in used and scored.status[row] in SCORED]
    if scored.evidence is None or len(rows) < 2:
        return ()
    raw = Evidence(*(np.asarray(part)[rows] for part in scored.evidence))
    evidence = calibrated_pictures(raw, calibration)
    apart = against_the_others(evidence)
    total = Evidence(*(np.sum(part, axis=0) for part in evidence))
    others = Evidence(total.precision[None] - evidence.precision, total.information[None] - evidence.information)
    deviations = compare_proportions(reduced, evidence, others, *calibration.axes).deviations
    found = [
        ReferenceFinding(keys[row][0], float(value), reason(deviation))
        for row, value, deviation in zip(rows, apart, deviations, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (one.log_bayes_factor, one.image)))


def _help(shape: Shape, scores: Scores, calibrated_by: str) -> tuple[str, ...]:
    advice = []
    clips = {clip_of(reference.image) or reference.image for reference in shape.references if reference.used}
    if len(clips) < FEW_REFERENCES:
        of_clips = f" of {len(clips)} clips" if len(clips) < shape.used_references else ""
        advice.append(
            f"more references: {shape.used_references}{of_clips} were used; {2 * FEW_REFERENCES} from different sides "
            "and in different poses are more informative"
        )
    bits = scores.numbers.get("information_bits", np.zeros(0))
    if np.isfinite(bits).any() and float(np.nanmedian(bits)) < _LITTLE_BITS:
        advice.append(
            f"keypoints with more information: half of the pictures hold less than {np.nanmedian(bits):.1f} bits; try "
            "larger pictures, or a detector with more keypoints (docs/detectors.md)"
        )
    unsure = float(np.mean(~np.isin(scores.status, SCORED))) if len(scores) else 0.0
    if unsure > _MANY_UNSURE:
        advice.append(f"another detector: this one was unsure in {100 * unsure:.0f} % of the rows")
    if calibrated_by == "shipped":
        advice.append("a calibration for this detector: samebody calibrate with pictures of many people")
    return tuple(advice)
