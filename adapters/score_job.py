"""From keypoint files to a table of scores, in memory bounded by one table of keypoints."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from adapters.fit_job import body_columns, check_solver
from adapters.keypoint_table import KeypointTable
from adapters.readers import KeypointSource
from adapters.result_writers import check_result_path, open_result_writer
from engine.body import BodyModel
from engine.evidence import ShapeEvidence
from engine.keypoint_body import KeypointBody, reduce_body
from engine.posed_fit import make_context
from engine.posed_scoring import EXCESS_THRESHOLD, PosedScore, ReferencePerson, score_posed_pictures
from engine.rest_fit import score_rest_pictures
from engine.score import REST_THRESHOLD, PictureScore
from engine.shape_file import Mode, PersonShape, ShapeFileError
from engine.status import LABELS, Status

FIT_COLUMNS = ("reprojection_error", "reprojection_error_px", "oks", "scale", "translation_x", "translation_y")
NUMBERS: dict[Mode, tuple[str, ...]] = {
    "rest": ("consistency", *FIT_COLUMNS),
    "free": ("consistency", "same_body_probability", "log_bayes_factor", "information_bits", *FIT_COLUMNS),
}
SCORED = (Status.OK, Status.LOW_INFORMATION)
"""Statuses of rows that have scores."""

MIRRORED = "left and right are exchanged in the keypoints; scored the other way round"

Scorer = Callable[[np.ndarray, np.ndarray], PictureScore | PosedScore]


@dataclass(frozen=True)
class ScoreSummary:
    """What a run did."""

    rows: int
    by_status: dict[str, int]
    median_consistency: float
    """Over rows that have scores; NaN if none has."""

    @property
    def all_scored(self) -> bool:
        return sum(self.by_status.get(status.label, 0) for status in SCORED) == self.rows


def result_columns(mode: Mode) -> pa.Schema:
    """The columns of a result file."""
    return pa.schema(
        [
            ("image", pa.string()),
            ("instance", pa.int32()),
            ("status", pa.dictionary(pa.int8(), pa.string())),
            *((name, pa.float32()) for name in NUMBERS[mode]),
            ("detail", pa.string()),
        ]
    )


def make_scorer(
    body: KeypointBody, shape: PersonShape, mode: Mode, solver: str = "auto", threshold: float | None = None
) -> Scorer:
    """A function from keypoints and confidence to scores against one shape.

    Args:
        threshold: where consistency is 1/e; by default the mode's own constant.

    Raises:
        ValueError: the solver does not go with the mode, or the shape has no evidence to compare with.
    """
    check_solver(solver, mode)
    if mode == "rest":
        level = REST_THRESHOLD if threshold is None else threshold
        return lambda keypoints, confidence: score_rest_pictures(
            body, shape.betas, keypoints, confidence, solver, threshold=level
        )
    if shape.evidence is None:
        raise ShapeFileError("the shape was fitted with --pose rest; fit again without it, or score with --pose rest")
    person = ReferencePerson(shape.betas, ShapeEvidence(*shape.evidence))
    context, level = make_context(body), EXCESS_THRESHOLD if threshold is None else threshold
    return lambda keypoints, confidence: score_posed_pictures(context, person, keypoints, confidence, level)


def score_table(table: KeypointTable, body: KeypointBody, scorer: Scorer, mode: Mode) -> pa.RecordBatch:
    """One row of scores per row of keypoints, in the same order."""
    scores = scorer(*body_columns(table, body))
    # A row that could not be read keeps its own status; the engine only saw a picture without keypoints.
    status = np.where(table.status == Status.OK, scores.status, table.status).astype(np.int8)
    detail = table.detail
    if isinstance(scores, PosedScore) and scores.mirrored.any():
        notes = [MIRRORED if flag else None for flag in scores.mirrored]
        detail = pa.array([own or note for own, note in zip(detail.to_pylist(), notes, strict=True)], pa.string())
    return pa.RecordBatch.from_arrays(
        [
            table.image,
            pa.array(table.instance),
            pa.DictionaryArray.from_arrays(pa.array(status), pa.array(LABELS)),
            *(pa.array(np.asarray(getattr(scores, name), np.float32)) for name in NUMBERS[mode]),
            detail,
        ],
        schema=result_columns(mode),
    )


def score_to_file(
    source: KeypointSource,
    body: BodyModel,
    shape: PersonShape,
    out: str | os.PathLike[str],
    mode: Mode | None = None,
    solver: str = "auto",
    threshold: float | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> ScoreSummary:
    """Score every row of the source and write the results where ``out`` says (.parquet, .csv or .jsonl).

    Args:
        mode: by default that of the shape.
        on_rows: called after each table with the number of rows in it, for a progress display.

    Raises:
        ValueError: the shape belongs to another body, or the files cannot be read or written.
    """
    check_result_path(out)
    mode = shape.mode if mode is None else mode
    reduced = reduce_body(body, source.schema)
    shape.check_body(reduced, body.fingerprint)
    scorer = make_scorer(reduced, shape, mode, solver, threshold)
    statuses: Counter[str] = Counter()
    consistencies: list[np.ndarray] = [np.zeros(0, np.float32)]
    metadata = {
        "samebody.version": shape.samebody_version,
        "samebody.mode": mode,
        "samebody.body": shape.body_name,
        "samebody.threshold": "default" if threshold is None else str(threshold),
    }
    with open_result_writer(out, result_columns(mode), metadata) as writer:
        for table in source:
            batch = score_table(table, reduced, scorer, mode)
            writer.write(batch)
            codes = batch.column("status").indices.to_numpy()
            statuses.update({LABELS[code]: int(n) for code, n in enumerate(np.bincount(codes)) if n})
            consistencies.append(batch.column("consistency").to_numpy())
            on_rows(len(batch))
    known = np.concatenate(consistencies)
    known = known[~np.isnan(known)]
    return ScoreSummary(
        rows=sum(statuses.values()),
        by_status=dict(statuses),
        median_consistency=float(np.median(known)) if len(known) else float("nan"),
    )
