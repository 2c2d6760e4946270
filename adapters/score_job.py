"""From keypoint files to a file of scores: reading, computing and writing at once, in memory that does not grow."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from adapters.evidence_table import COLUMNS as EVIDENCE_COLUMNS
from adapters.evidence_table import check_evidence_path, open_evidence_writer
from adapters.readers import KeypointSource
from adapters.result_writers import ResultWriter, check_result_path, open_result_writer
from adapters.streaming import StageSeconds, stream
from adapters.table_scoring import ROWS_PER_TABLE, ScoringOptions, TableScorer, result_columns
from engine.body import BodyModel
from engine.shape_file import Mode, PersonShape
from engine.status import LABELS, Status

SCORED = (Status.OK, Status.LOW_INFORMATION)
"""Statuses of rows that have scores."""

_BINS = 1 << 20


@dataclass(frozen=True)
class ScoreSummary:
    """What a run did."""

    rows: int
    by_status: dict[str, int]
    median_consistency: float
    """Over rows that have scores, to a millionth; NaN if none has."""
    seconds: StageSeconds

    @property
    def all_scored(self) -> bool:
        return sum(self.by_status.get(status.label, 0) for status in SCORED) == self.rows


class _Tally:
    """Counts over rows that come in pieces; a histogram stands for the consistencies, so memory does not grow."""

    def __init__(self) -> None:
        self._statuses = np.zeros(len(LABELS), np.int64)
        self._histogram = np.zeros(_BINS + 1, np.int64)

    def add(self, rows: pa.RecordBatch) -> None:
        self._statuses += np.bincount(rows.column("status").indices.to_numpy(), minlength=len(LABELS))
        consistency = rows.column("consistency").to_numpy()
        known = consistency[~np.isnan(consistency)]
        self._histogram += np.bincount(np.rint(known * _BINS).astype(np.int64), minlength=_BINS + 1)

    def summary(self, seconds: StageSeconds) -> ScoreSummary:
        known = int(self._histogram.sum())
        cumulative = np.cumsum(self._histogram)
        middle = [np.searchsorted(cumulative, rank, side="right") / _BINS for rank in ((known - 1) // 2, known // 2)]
        return ScoreSummary(
            rows=int(self._statuses.sum()),
            by_status={LABELS[code]: int(n) for code, n in enumerate(self._statuses) if n},
            median_consistency=float(np.mean(middle)) if known else float("nan"),
            seconds=seconds,
        )


def score_to_file(
    source: KeypointSource,
    body: BodyModel,
    shape: PersonShape,
    out: str | os.PathLike[str],
    mode: Mode | None = None,
    solver: str = "auto",
    threshold: float | None = None,
    keep_evidence: str | os.PathLike[str] | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> ScoreSummary:
    """Score every row of the source and write the results where ``out`` says (.parquet, .csv or .jsonl).

    Args:
        mode: by default that of the shape.
        keep_evidence: a .parquet file for each row's own shape evidence (``evidence_table``).
        on_rows: called after each table with the number of rows in it, for a progress display.

    Raises:
        ValueError: the shape belongs to another body, or the files cannot be read or written.
    """
    check_result_path(out)
    if keep_evidence is not None:
        check_evidence_path(keep_evidence)
    options = ScoringOptions(shape.mode if mode is None else mode, solver, threshold, keep_evidence is not None)
    scorer = TableScorer(body, source.schema, shape, options)
    metadata = {
        "samebody.version": shape.samebody_version,
        "samebody.mode": options.mode,
        "samebody.body": shape.body_name,
        "samebody.threshold": "default" if threshold is None else str(threshold),
    }
    tally = _Tally()
    with ExitStack() as files:
        columns = result_columns(options.mode)
        writer = files.enter_context(open_result_writer(out, columns, metadata))
        evidence_writer: ResultWriter | None = None
        if keep_evidence is not None:
            evidence_writer = files.enter_context(
                open_evidence_writer(keep_evidence, len(shape.betas), body.fingerprint, metadata)
            )

        def write(batch: pa.RecordBatch) -> None:
            rows = batch.select(columns.names)
            writer.write(rows)
            if evidence_writer is not None:
                evidence_writer.write(batch.select(["image", "instance", *EVIDENCE_COLUMNS]))
            tally.add(rows)
            on_rows(len(batch))

        tables = replace(source, rows_per_table=min(source.rows_per_table, ROWS_PER_TABLE[options.mode]))
        seconds = stream(tables, scorer, write)
    return tally.summary(seconds)
