"""From a table of keypoints to a batch of result rows: everything that decides what a row says, and nothing of files.

The same scorer serves the streaming job and the workers of a cluster, so their rows are the same, bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from adapters.jobs.fit import body_columns, check_solver
from adapters.keypoints.table import KeypointTable
from adapters.results.evidence_table import evidence_columns, evidence_fields
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.evidence.calibration import Calibration, calibrated_noise
from engine.evidence.calibration_file import calibration_id, default_calibration, from_record
from engine.evidence.comparison import Matches
from engine.evidence.shape_evidence import Evidence
from engine.picture.misfit import REST_THRESHOLD, PictureScore
from engine.picture.swapped_labels import ARMS, LEGS
from engine.posed.fit import POSED_NOISE, make_context
from engine.posed.scoring import EXCESS_THRESHOLD, PosedScore, compare_people, fit_own
from engine.rest.fit import score_rest_pictures
from engine.scores import LABELS, MODES, Mode, Status, columns_of, score_names
from engine.shape import Shape, ShapeFileError

NUMBERS: dict[Mode, tuple[str, ...]] = {mode: score_names(mode) for mode in MODES}
ARROW_TYPES = {
    "text": pa.string(),
    "integer": pa.int32(),
    "status": pa.dictionary(pa.int8(), pa.string()),
    "number": pa.float32(),
}
CHUNK_SIZE: dict[Mode, int] = {"rest": 65536, "free": 4096}
"""Pictures that are computed together: full tiles, and a few seconds to a minute of work."""

SWAPPED_LABELS = {
    LEGS: "left and right legs are swapped in the keypoints; scored the other way round",
    ARMS: "left and right arms are swapped in the keypoints; scored the other way round",
    LEGS + ARMS: "left and right arms and legs are swapped in the keypoints; scored the other way round",
}

_Scores = PictureScore | PosedScore
_Scorer = Callable[[np.ndarray, np.ndarray], tuple[_Scores, Matches | None, Evidence | None]]


@dataclass(frozen=True)
class ScoringOptions:
    """What may change a number in a row, besides keypoints, shape and body."""

    mode: Mode
    solver: str = "auto"
    threshold: float | None = None
    """Where consistency is 1/e; by default the mode's own constant."""
    keep_evidence: bool = False
    """Rows get the columns of ``evidence_table`` as well."""
    people: tuple[tuple[str, Shape], ...] = ()
    """Several people by name, the shape itself among them: each row is about the one that matches best."""
    calibration: dict[str, Any] | None = None
    """``engine.evidence.calibration_file.as_record``; by default the shape's own, or else the one that is shipped."""


def result_columns(mode: Mode, several: bool = False) -> pa.Schema:
    """The columns of a result file, with ``best_match`` and ``margin`` where there are several people."""
    return pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in columns_of(mode, several=several)])


class TableScorer:
    """Scores tables of one schema against one shape. Making it may take seconds; make it once."""

    def __init__(self, body: BodyModel, schema: KeypointSchema, shape: Shape, options: ScoringOptions) -> None:
        """
        Raises:
            ValueError: the shape belongs to another body or has no evidence to compare with, the solver does not go
                with the mode, or there is no evidence to keep in this mode.
        """
        self._body = reduce_body(body, schema)
        self.options = options
        for one in (shape, *(other for _, other in options.people)):
            one.check_body(self._body, body.fingerprint)
        self._score = _scorer(self._body, shape, options)
        evidence = evidence_fields(self._body.beta_count) if options.keep_evidence else []
        self.columns = pa.schema([*result_columns(options.mode, bool(options.people)), *evidence])
        """Of the batches: those of the result file, then those of the evidence, if it is kept."""

    def __call__(self, table: KeypointTable) -> pa.RecordBatch:
        """One row per row of keypoints, in the same order."""
        scores, matches, evidence = self._score(*body_columns(table, self._body))
        # A row that could not be read keeps its own status; the engine only saw a picture without keypoints.
        status = np.where(table.status == Status.OK, scores.status, table.status).astype(np.int8)
        return pa.RecordBatch.from_arrays(
            [
                table.image,
                pa.array(table.instance),
                pa.DictionaryArray.from_arrays(pa.array(status), pa.array(LABELS)),
                *(pa.array(np.asarray(getattr(scores, name), np.float32)) for name in NUMBERS[self.options.mode]),
                *(_match_columns(matches, scores, self.options) if matches is not None else []),
                _details(table, scores),
                *(evidence_columns(evidence) if self.options.keep_evidence and evidence is not None else []),
            ],
            schema=self.columns,
        )


def _scorer(body: KeypointBody, shape: Shape, options: ScoringOptions) -> _Scorer:
    check_solver(options.solver, options.mode)
    if options.mode == "rest":
        if options.keep_evidence:
            raise ValueError("--keep-evidence goes with --pose free; the rest pose says nothing about the body")
        level = REST_THRESHOLD if options.threshold is None else options.threshold
        return lambda keypoints, confidence: (
            score_rest_pictures(body, shape.betas, keypoints, confidence, options.solver, threshold=level),
            None,
            None,
        )
    people = [reference_person(one) for one in (other for _, other in options.people)] or [reference_person(shape)]
    calibration = trusted_calibration(shape, options)
    context = make_context(body, noise=calibrated_noise(POSED_NOISE, calibration))
    level = EXCESS_THRESHOLD if options.threshold is None else options.threshold

    def score(keypoints: np.ndarray, confidence: np.ndarray) -> tuple[PosedScore, Matches | None, Evidence | None]:
        pictures = fit_own(context, keypoints, confidence, options.solver)
        scores, matches = compare_people(context, people, pictures, level, calibration=calibration)
        return scores, matches if options.people else None, pictures.evidence

    return score


def reference_person(shape: Shape) -> Shape:
    """The shape, if pictures can be compared with it.

    Raises:
        ShapeFileError: the shape has no evidence.
    """
    if shape.evidence is None:
        raise ShapeFileError("the shape was fitted with --pose rest; fit again without it, or score with --pose rest")
    return shape


def trusted_calibration(shape: Shape, options: ScoringOptions) -> Calibration:
    """The calibration of the options, of the shapes, or the shipped one.

    Raises:
        ValueError: it is about another body, or the shapes have different ones.
    """
    if options.calibration is not None:
        calibration = from_record(options.calibration)
    else:
        own = {_calibration_id(one): one.calibration for one in (shape, *(other for _, other in options.people))}
        if len(own) > 1:
            raise ShapeFileError("the shapes were fitted with different calibrations; say which one: --calibration")
        (found,) = own.values()
        calibration = default_calibration() if found is None else found
    calibration.check_body(shape.body_fingerprint)
    return calibration


def _calibration_id(shape: Shape) -> str:
    return "" if shape.calibration is None else calibration_id(shape.calibration)


def _match_columns(matches: Matches, scores: _Scores, options: ScoringOptions) -> list[pa.Array]:
    names = pa.array([name for name, _ in options.people])
    scored = ~np.isnan(np.asarray(scores.consistency))
    best = pa.array(matches.best, mask=~scored)
    return [names.take(best), pa.array(np.where(scored, matches.margin, np.nan).astype(np.float32))]


def _details(table: KeypointTable, scores: _Scores) -> pa.Array:
    if not (isinstance(scores, PosedScore) and scores.swapped_labels.any()):
        return table.detail
    notes = [SWAPPED_LABELS.get(int(code)) for code in scores.swapped_labels]
    return pa.array([own or note for own, note in zip(table.detail.to_pylist(), notes, strict=True)], pa.string())
