"""From keypoint files to a table of scores, in memory bounded by one table of keypoints."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from adapters.fit_job import body_columns
from adapters.keypoint_table import KeypointTable
from adapters.readers import KeypointSource
from adapters.result_writers import check_result_path, open_result_writer
from engine.body import BodyModel
from engine.keypoint_body import KeypointBody, reduce_body
from engine.rest_fit import Solver, score_rest_pictures
from engine.score import REST_THRESHOLD
from engine.shape_file import PersonShape
from engine.status import LABELS, Status

NUMBERS = (
    "consistency",
    "reprojection_error",
    "reprojection_error_px",
    "oks",
    "scale",
    "translation_x",
    "translation_y",
)
COLUMNS = pa.schema(
    [
        ("image", pa.string()),
        ("instance", pa.int32()),
        ("status", pa.dictionary(pa.int8(), pa.string())),
        *((name, pa.float32()) for name in NUMBERS),
        ("detail", pa.string()),
    ]
)


@dataclass(frozen=True)
class ScoreSummary:
    """What a run did."""

    rows: int
    by_status: dict[str, int]
    median_consistency: float
    """Over rows that are ok; NaN if none is."""

    @property
    def all_scored(self) -> bool:
        return self.by_status.get(Status.OK.label, 0) == self.rows


def score_table(
    table: KeypointTable,
    body: KeypointBody,
    shape: PersonShape,
    solver: Solver = "auto",
    threshold: float = REST_THRESHOLD,
) -> pa.RecordBatch:
    """One row of scores per row of keypoints, in the same order."""
    keypoints, confidence = body_columns(table, body)
    scores = score_rest_pictures(body, shape.betas, keypoints, confidence, solver, threshold=threshold)
    # A row that could not be read keeps its own status; the engine only saw a picture without keypoints.
    status = np.where(table.status == Status.OK, scores.status, table.status).astype(np.int8)
    return pa.RecordBatch.from_arrays(
        [
            table.image,
            pa.array(table.instance),
            pa.DictionaryArray.from_arrays(pa.array(status), pa.array(LABELS)),
            *(pa.array(np.asarray(getattr(scores, name), np.float32)) for name in NUMBERS),
            table.detail,
        ],
        schema=COLUMNS,
    )


def score_to_file(
    source: KeypointSource,
    body: BodyModel,
    shape: PersonShape,
    out: str | os.PathLike[str],
    solver: Solver = "auto",
    threshold: float = REST_THRESHOLD,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> ScoreSummary:
    """Score every row of the source and write the results where ``out`` says (.parquet, .csv or .jsonl).

    Args:
        on_rows: called after each table with the number of rows in it, for a progress display.

    Raises:
        ValueError: the shape belongs to another body, or the files cannot be read or written.
    """
    check_result_path(out)
    reduced = reduce_body(body, source.schema)
    shape.check_body(reduced, body.fingerprint)
    statuses: Counter[str] = Counter()
    consistencies: list[np.ndarray] = []
    metadata = {
        "samebody.version": shape.samebody_version,
        "samebody.mode": shape.mode,
        "samebody.body": shape.body_name,
        "samebody.threshold": str(threshold),
    }
    with open_result_writer(out, COLUMNS, metadata) as writer:
        for batch in _batches(source, reduced, shape, solver, threshold):
            writer.write(batch)
            codes = batch.column("status").indices.to_numpy()
            statuses.update({LABELS[code]: int(n) for code, n in enumerate(np.bincount(codes)) if n})
            consistencies.append(batch.column("consistency").to_numpy())
            on_rows(len(batch))
    known = np.concatenate([np.zeros(0, np.float32), *consistencies])
    known = known[~np.isnan(known)]
    return ScoreSummary(
        rows=sum(statuses.values()),
        by_status=dict(statuses),
        median_consistency=float(np.median(known)) if len(known) else float("nan"),
    )


def _batches(
    source: KeypointSource, body: KeypointBody, shape: PersonShape, solver: Solver, threshold: float
) -> Iterable[pa.RecordBatch]:
    for table in source:
        yield score_table(table, body, shape, solver, threshold)
