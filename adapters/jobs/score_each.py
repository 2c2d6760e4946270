"""Many small tables, each against its own shape, by one engine call, for a server with many clients.

Rows equal those of a ``Scorer`` for each table alone, bit for bit.
"""

from collections.abc import Sequence

import numpy as np

from adapters.jobs.prepared import COMPUTING, PreparedBody, Seen, prepare
from adapters.jobs.scorer import ScoredColumns, ScoreSettings, calibration_of, fit_columns, scores_of
from adapters.keypoints.table import KeypointTable, concat_tables
from adapters.results.scores import Scores
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.evidence.calibration_file import calibration_id
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import Comparison, PictureEvidence, compare_evidence
from engine.rest.scoring import score_rest_people
from engine.shape import Shape


def score_each(
    body: BodyModel, schema: KeypointSchema, tables: Sequence[KeypointTable], shapes: Sequence[Shape]
) -> list[Scores]:
    """Scores of each table against the shape at the same position.

    Args:
        schema: schema of the tables.

    Raises:
        ValueError: a shape belongs to another body.
    """
    prepared = prepare(body, schema)
    alike: dict[tuple[str, str, str], list[int]] = {}
    for number, shape in enumerate(shapes):
        shape.check_body(prepared.reduced, body.fingerprint)
        solver = prepared.free_solver(shape_solvers=[shape.solver]) if shape.mode == "free" else ""
        alike.setdefault((shape.mode, solver, calibration_id(calibration_of((shape,)))), []).append(number)
    results: dict[int, Scores] = {}
    for numbers in alike.values():
        own = [tables[number] for number in numbers]
        results |= zip(numbers, _score_alike(prepared, own, [shapes[number] for number in numbers]), strict=True)
    return [results[number] for number in range(len(tables))]


def _score_alike(prepared: PreparedBody, tables: Sequence[KeypointTable], shapes: Sequence[Shape]) -> list[Scores]:
    """Scores of tables whose shapes have one mode, one source of evidence and one calibration."""
    seen = prepared.seen(concat_tables(tables[0].schema, tables))
    ends = np.cumsum([len(table) for table in tables]).tolist()
    rows = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    score = _score_rest if shapes[0].mode == "rest" else _score_free
    with COMPUTING:
        found = score(prepared, seen, shapes, rows)
    return [scores_of(shapes[0].mode, table, found.rows(own)) for table, own in zip(tables, rows, strict=True)]


def _score_rest(
    prepared: PreparedBody,
    seen: Seen,
    shapes: Sequence[Shape],
    rows: Sequence[slice],
) -> ScoredColumns:
    person = np.repeat(np.arange(len(shapes)), [own.stop - own.start for own in rows])
    betas = np.stack([shape.betas for shape in shapes])
    found = score_rest_people(prepared.reduced, betas, seen.keypoints, seen.confidence, person)
    return ScoredColumns(np.asarray(found.status), vars(found))


def _score_free(
    prepared: PreparedBody,
    seen: Seen,
    shapes: Sequence[Shape],
    rows: Sequence[slice],
) -> ScoredColumns:
    calibration = calibration_of((shapes[0],))
    solver = prepared.free_solver(shape_solvers=[shapes[0].solver])
    pictures = prepared.evidence_stage(calibration, solver)(*seen)
    compared = [
        compare_evidence(_part(pictures, own), [shape], calibration) for shape, own in zip(shapes, rows, strict=True)
    ]
    together = Comparison(*(np.concatenate(column) for column in zip(*compared, strict=True)))
    betas = np.repeat(np.stack([shape.betas for shape in shapes]), [own.stop - own.start for own in rows], axis=0)
    fits = fit_columns(
        prepared.context, pictures, (seen.keypoints, seen.confidence), betas, ScoreSettings(), calibration
    )
    numbers = {**together._asdict(), **fits}
    return ScoredColumns(
        together.status, numbers, together.best, np.asarray(pictures.swapped_labels), pictures.evidence
    )


def _part(pictures: PictureEvidence, rows: slice) -> PictureEvidence:
    evidence = Evidence(*(np.asarray(part)[rows] for part in pictures.evidence))
    return PictureEvidence(evidence, pictures.status[rows], pictures.swapped_labels[rows], pictures.known[rows])
