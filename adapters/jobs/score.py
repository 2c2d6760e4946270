"""Keypoint files in, a file of scores out: reading, computing and writing overlap, in bounded memory."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from adapters.jobs.memory import give_back_memory
from adapters.jobs.run_parts import PICTURES_PER_PART, fingerprint, open_run
from adapters.jobs.scorer import CHUNK_SIZE, Scorer, ScoreSettings
from adapters.jobs.set_verdict import DIFFER, MATCH, SetTally, SetVerdict
from adapters.jobs.streaming import StageSeconds, stream
from adapters.keypoints.readers import KeypointSource
from adapters.keypoints.readers.source_files import SourceFile
from adapters.keypoints.table import KeypointTable, even_tables
from adapters.keypoints.table_source import TableSource
from adapters.results.evidence_table import COLUMNS as EVIDENCE_COLUMNS
from adapters.results.evidence_table import check_evidence_path, evidence_fields, open_evidence_writer
from adapters.results.recorded_sources import RecordedSources
from adapters.results.scores import Scores, concat_scores
from adapters.results.writers import ResultWriter, check_result_path, open_result_writer
from engine.body.model import BodyModel
from engine.scores import LABELS, SCORED, Mode
from engine.shape import Shape

FIRST_FAILED = 10
_BINS = 1 << 20
_ROWS_PER_RELEASE = 65536


class Verdicts(NamedTuple):
    """Numbers of rows by their probability."""

    match: int
    differ: int
    unclear: int


@dataclass(frozen=True)
class ScoreSummary:
    """Result of a run."""

    rows: int
    by_status: dict[str, int]
    median_consistency: float
    """Median over rows with scores, to a millionth; NaN if there are no such rows."""
    seconds: StageSeconds
    verdicts: Verdicts | None = None
    """Rows by ``MATCH`` and ``DIFFER``; None in rest pose."""
    together: SetVerdict | None = None
    """Joint verdict about all rows as pictures of one person, if requested."""
    failed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By status, the names of the first ``FIRST_FAILED`` pictures with a row that could not be scored."""
    source: tuple[Mode, str] = ("free", "")
    """Pose mode and solver, the source of the evidence."""

    @property
    def all_scored(self) -> bool:
        return sum(self.by_status.get(status.label, 0) for status in SCORED) == self.rows


class _Tally:
    """Counts over rows in pieces. A histogram replaces the consistencies, so memory does not grow."""

    def __init__(self) -> None:
        self._statuses = np.zeros(len(LABELS), np.int64)
        self._histogram = np.zeros(_BINS + 1, np.int64)
        self._verdicts: np.ndarray | None = None
        self._failed: dict[str, list[str]] = {}

    @property
    def rows(self) -> int:
        return int(self._statuses.sum())

    def add(self, rows: pa.RecordBatch) -> None:
        codes = rows.column("status").indices.to_numpy()
        self._statuses += np.bincount(codes, minlength=len(LABELS))
        for code in np.unique(codes[~np.isin(codes, SCORED)]):
            named = self._failed.setdefault(LABELS[code], [])
            those = np.flatnonzero(codes == code)[: FIRST_FAILED - len(named)]
            named += [name or "" for name in rows.column("image").take(those).to_pylist()]
        consistency = rows.column("consistency").to_numpy()
        known = consistency[~np.isnan(consistency)]
        self._histogram += np.bincount(np.rint(known * _BINS).astype(np.int64), minlength=_BINS + 1)
        if "same_body_probability" in rows.schema.names:
            probability = rows.column("same_body_probability").to_numpy()
            match, differ = np.sum(probability >= MATCH), np.sum(probability <= DIFFER)
            unclear = np.sum(~np.isnan(probability)) - match - differ
            before = np.zeros(3, np.int64) if self._verdicts is None else self._verdicts
            self._verdicts = before + np.array([match, differ, unclear])

    def summary(self, seconds: StageSeconds, together: SetVerdict | None = None) -> ScoreSummary:
        known = int(self._histogram.sum())
        cumulative = np.cumsum(self._histogram)
        middle = [np.searchsorted(cumulative, rank, side="right") / _BINS for rank in ((known - 1) // 2, known // 2)]
        return ScoreSummary(
            rows=self.rows,
            by_status={LABELS[code]: int(n) for code, n in enumerate(self._statuses) if n},
            median_consistency=float(np.mean(middle)) if known else float("nan"),
            seconds=seconds,
            verdicts=None if self._verdicts is None else Verdicts(*(int(n) for n in self._verdicts)),
            together=together,
            failed=self._failed,
        )


class _Expectation:
    """Expected number of rows: known, or estimated from the share of the files that has been read."""

    def __init__(self, source: KeypointSource | TableSource) -> None:
        self._known = source.row_count()
        files = () if self._known is not None or isinstance(source, TableSource) else source.files
        self._bytes = sum(os.path.getsize(file.path) for file in files)
        self._bytes_read = self._rows_read = 0

    def tables(self, source: KeypointSource | TableSource) -> Iterator[KeypointTable]:
        for table in source.tables(self._count_file):
            self._rows_read += len(table)
            yield table

    def rows(self) -> int | None:
        if self._known is not None:
            return self._known
        return round(self._rows_read * self._bytes / self._bytes_read) if self._bytes_read else None

    def _count_file(self, file: SourceFile) -> None:
        if self._known is None:
            self._bytes_read += os.path.getsize(file.path)


@dataclass(frozen=True)
class ScoringJob:
    """Description of a scoring run, for computing it elsewhere."""

    source: KeypointSource | TableSource
    body: BodyModel
    people: Shape | Mapping[str, Shape]
    settings: ScoreSettings
    keep_evidence: bool
    chunk_size: int
    skip: int
    """Number of finished rows at the beginning."""

    def scorer(self) -> Callable[[KeypointTable], pa.RecordBatch]:
        """A function that scores a table and returns its rows."""
        scorer = Scorer(self.body, self.source.schema, self.people, self.settings)
        return lambda table: scorer(table).to_batch(self.keep_evidence)


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run besides scoring; they do not change a number."""

    keep_evidence: str | os.PathLike[str] | None = None
    """A .parquet file for each row's own evidence (``evidence_table``)."""
    one_person: bool = False
    """Assume that all rows show one unknown person; the summary has the joint verdict."""
    resume: bool = False
    """Continue an earlier run that was killed, if there is one (``run_parts``)."""
    sources: RecordedSources | None = None
    """Provenance for the metadata of a Parquet file."""
    pictures_per_part: int | None = None
    """Pictures per part; by default a number that suits the mode."""
    on_progress: Callable[[int, int | None], None] = lambda done, expected: None
    """Called at the start and after each table with the numbers of finished rows and of all rows, if known."""
    compute: Callable[[ScoringJob], Iterator[pa.RecordBatch]] | None = None
    """Reads, computes and gives batches of ``ScoringJob.scorer`` in order; by default in this process."""


def score_table(scorer: Scorer, table: KeypointTable, on_progress: Callable[[int], None] = lambda done: None) -> Scores:
    """Scores of a table in memory, computed in chunks.

    Args:
        on_progress: called with the number of finished rows.
    """
    parts: list[Scores] = []
    for part in even_tables([table], CHUNK_SIZE[scorer.mode]):
        parts.append(scorer(part))
        on_progress(sum(map(len, parts)))
    return concat_scores(parts or [scorer(table)])


def score_to_file(
    source: KeypointSource | TableSource,
    body: BodyModel,
    people: Shape | Mapping[str, Shape],
    out: str | os.PathLike[str],
    settings: ScoreSettings | None = None,
    run: RunSettings | None = None,
) -> ScoreSummary:
    """Score every row of the source and write the results to ``out`` (.parquet, .csv or .jsonl).

    Args:
        people: one shape, or several by name; each row then describes the best match.

    Raises:
        ValueError: a shape belongs to another body, the files cannot be read or written, or an unfinished run cannot
            be continued by this one.
    """
    settings, run = settings or ScoreSettings(), run or RunSettings()
    check_result_path(out)
    if run.keep_evidence is not None:
        check_evidence_path(run.keep_evidence)
    scorer = Scorer(body, source.schema, people, settings)
    if scorer.mode == "rest" and (run.one_person or run.keep_evidence is not None):
        raise ValueError("--one-person and --keep-evidence go with --pose free; the rest pose has no evidence")
    keep = run.one_person or run.keep_evidence is not None
    facts = [scorer.mode, *settings.facts(), str(keep)]
    made_of = fingerprint(source, body, [shape.digest for shape in scorer.shapes], facts)
    columns = scorer.columns
    kept_columns = pa.schema([*columns, *(evidence_fields(len(scorer.shapes[0].betas)) if keep else [])])
    metadata = {
        "samebody.version": scorer.shapes[0].samebody_version,
        "samebody.mode": scorer.mode,
        "samebody.body": scorer.shapes[0].body_name,
        "samebody.threshold": "default" if settings.threshold is None else str(settings.threshold),
        **({} if run.sources is None else run.sources.as_metadata()),
    }
    per_part = PICTURES_PER_PART[scorer.mode] if run.pictures_per_part is None else run.pictures_per_part
    chunk_size = min(source.chunk_size, CHUNK_SIZE[scorer.mode])
    tally, expectation = _Tally(), _Expectation(source)
    together = SetTally(scorer.shapes, scorer.names, scorer.calibration) if run.one_person else None
    with open_run(out, made_of, kept_columns, per_part, run.resume) as parts, ExitStack() as files:
        writer = files.enter_context(open_result_writer(out, columns, metadata, parts.folder))
        evidence_writer: ResultWriter | None = None
        if run.keep_evidence is not None:
            beside = Path(run.keep_evidence).parent.resolve() == Path(out).parent.resolve()
            folder = parts.folder if beside else None
            betas = len(scorer.shapes[0].betas)
            evidence_writer = files.enter_context(
                open_evidence_writer(run.keep_evidence, betas, body.fingerprint, metadata, folder)
            )

        def write_rows(batch: pa.RecordBatch) -> None:
            rows = batch.select(columns.names)
            writer.write(rows)
            if evidence_writer is not None:
                evidence_writer.write(batch.select(["image", "instance", *EVIDENCE_COLUMNS]))
            tally.add(rows)
            if together is not None:
                together.add(batch)

        def write(batch: pa.RecordBatch) -> None:
            parts.add(batch, len(batch))
            before = tally.rows
            write_rows(batch)
            if tally.rows // _ROWS_PER_RELEASE > before // _ROWS_PER_RELEASE:
                give_back_memory()
            run.on_progress(tally.rows, expectation.rows())

        for batch, _ in parts.stored():
            write_rows(batch)
        run.on_progress(tally.rows, expectation.rows())
        if run.compute is None:
            tables = even_tables(expectation.tables(source), chunk_size, skip=parts.pictures_done)
            seconds = stream(tables, lambda table: scorer(table).to_batch(keep), write)
        else:
            job = ScoringJob(source, body, people, settings, keep, chunk_size, parts.pictures_done)
            seconds = stream(run.compute(job), lambda batch: batch, write)
    summary = tally.summary(seconds, None if together is None else together.verdict())
    return replace(summary, source=(scorer.mode, scorer.solver))
