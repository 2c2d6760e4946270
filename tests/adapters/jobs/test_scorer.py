"""One pipeline: command line, host, Python and Ray give the same numbers for one shape, bit for bit."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy.orm import sessionmaker

from adapters.batch_processor import BatchProcessor
from adapters.body_analyzer import BodyAnalyzer
from adapters.commands.cli import main
from adapters.host.database import (
    HostDatabase,
    NewReference,
    create_tables,
    fit_shared_shape,
    load_shared_shape,
    open_database,
    replace_references,
)
from adapters.jobs import prepared
from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.score import ScoringJob
from adapters.jobs.scorer import Scorer, ScoreSettings
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.table import KeypointTable, slice_table
from adapters.keypoints.writers import write_keypoints
from adapters.results.scores import Scores, scores_of_table
from engine.body.model import BodyModel
from engine.body.schemas import HALPE_26
from engine.evidence.calibration import Calibration
from engine.scores import MODES, Mode, score_names
from engine.shape import Shape, ShapeFileError
from tests.places import DEMO

ROWS = 5


class Case(NamedTuple):
    mode: Mode
    references: KeypointTable
    pictures: KeypointTable
    shape: Shape
    scores: Scores
    """By the scorer itself."""


def a_calibration(body: BodyModel) -> Calibration:
    within = 0.05 * np.eye(10) + 0.01
    return Calibration(1.3, within, "by hand", 0.5, body.fingerprint, {"left_ankle": 1.4, "right_ankle": 1.4})


@pytest.fixture(scope="module", params=MODES)
def case(request: pytest.FixtureRequest, anny: BodyModel) -> Case:
    references = slice_table(read_keypoints([DEMO / "references.parquet"]), 0, 3)
    pictures = slice_table(read_keypoints([DEMO / "dataset.parquet"]), 20, 20 + ROWS)
    settings = FitSettings("all", request.param, calibration=a_calibration(anny))
    shape = fit_references(references, anny, settings)
    return Case(request.param, references, pictures, shape, Scorer(anny, pictures.schema, shape)(pictures))


def assert_same_bits(scores: Scores, given: dict[str, np.ndarray]) -> None:
    for name in score_names(scores.mode, fits=scores.fits):
        np.testing.assert_array_equal(given[name], scores[name], err_msg=name)


def host_keypoints(table: KeypointTable) -> list[dict[str, list]]:
    return [
        {"keypoints": k.tolist(), "confidence": c.tolist()}
        for k, c in zip(table.keypoints, table.confidence, strict=True)
    ]


@pytest.mark.slow
def test_command_line_gives_the_same_bits(case: Case, tmp_path: Path) -> None:
    case.shape.save(tmp_path / "shape.npz")
    write_keypoints(tmp_path / "pictures.parquet", case.pictures)
    out = tmp_path / "scores.parquet"
    arguments = ["score", str(tmp_path / "pictures.parquet"), "--shape", str(tmp_path / "shape.npz")]
    assert main([*arguments, "--out", str(out)]) == 0
    assert_same_bits(case.scores, dict(scores_of_table(pq.read_table(out)).numbers))


@pytest.mark.slow
def test_the_host_gives_the_same_bits(case: Case, anny: BodyModel, tmp_path: Path) -> None:
    sql = open_database(f"sqlite:///{tmp_path / 'host.db'}")
    create_tables(sql)
    database = HostDatabase(sessionmaker(sql))
    new = [
        NewReference(name, "body_front", person)
        for name, person in zip(case.references.image.to_pylist(), host_keypoints(case.references), strict=True)
    ]
    replace_references(database, "anna", new)
    stored = fit_shared_shape(database, "anna", anny, case.mode, calibration=a_calibration(anny))
    np.testing.assert_array_equal(stored.betas, case.shape.betas)
    assert load_shared_shape(database, "anna").digest == stored.digest == case.shape.digest
    names, people = case.pictures.image.to_pylist(), host_keypoints(case.pictures)
    result = BatchProcessor(database, anny).process("anna", names, people)
    batch = {name: np.array([row[name] for row in result.rows], np.float32) for name in score_names(case.mode)}
    assert_same_bits(case.scores, batch)
    for row, analysis in enumerate(BodyAnalyzer(anny).analyze_batch(names, people, stored)):
        assert analysis.consistency_3d == case.scores["consistency"][row]
        if case.scores.fits:
            assert analysis.reprojection_error == case.scores["reprojection_error"][row]
        if case.mode == "free":
            assert analysis.log_bayes_factor == case.scores["log_bayes_factor"][row]
    sql.dispose()


@pytest.mark.slow
def test_a_worker_of_a_cluster_gives_the_same_bits(case: Case, anny: BodyModel, tmp_path: Path) -> None:
    """What a Ray actor does with its job, without Ray; tests/adapters/jobs/test_ray_runner.py starts a cluster."""
    write_keypoints(tmp_path / "pictures.parquet", case.pictures)
    source = open_keypoints([tmp_path / "pictures.parquet"])
    job = ScoringJob(source, anny, case.shape, ScoreSettings(), case.mode == "free", 2, 0)
    score = job.scorer()
    batches = [score(source.read_piece(piece)) for piece in source.pieces(2)]
    for name in score_names(case.mode, fits=case.scores.fits):
        together = np.concatenate([batch.column(name).to_numpy() for batch in batches])
        np.testing.assert_array_equal(together, case.scores[name], err_msg=name)


@pytest.mark.slow
def test_a_calibration_of_the_shape_changes_free_scores(case: Case, anny: BodyModel) -> None:
    plain = Scorer(
        anny, case.pictures.schema, case.shape, ScoreSettings(calibration=Calibration(1.0, np.zeros((10, 10)), ""))
    )
    if case.mode == "free":
        assert not np.array_equal(plain(case.pictures)["log_bayes_factor"], case.scores["log_bayes_factor"])
    else:
        np.testing.assert_array_equal(plain(case.pictures)["consistency"], case.scores["consistency"])


@pytest.fixture(scope="module")
def rest(anny: BodyModel) -> tuple[Shape, KeypointTable]:
    references = read_keypoints([DEMO / "references.parquet"])
    return fit_references(references, anny, FitSettings(mode="rest")), references


def test_a_rest_shape_is_not_scored_in_free_pose(rest, anny: BodyModel) -> None:
    shape, table = rest
    with pytest.raises(ShapeFileError, match="--pose rest"):
        Scorer(anny, table.schema, shape, ScoreSettings(mode="free"))


def test_scores_take_the_source_of_evidence_of_their_shapes(anny: BodyModel) -> None:
    references = read_keypoints([DEMO / "references.parquet"])
    network = fit_references(references, anny, FitSettings())
    assert network.solver == "amortised"
    assert Scorer(anny, references.schema, network).solver == "amortised"
    assert Scorer(anny, references.schema, network, ScoreSettings(solver="lm")).solver == "lm"
    fits = replace(network, solver="lm")
    assert Scorer(anny, references.schema, fits).solver == "lm"
    assert Scorer(anny, references.schema, replace(network, solver="adam")).solver == "lm"
    assert Scorer(anny, references.schema, {"a": network, "b": fits}).solver == "amortised"
    assert Scorer(anny, references.schema, replace(network, solver="joint")).solver == "joint"
    assert Scorer(anny, references.schema, network, ScoreSettings(focal_length_px=1000.0)).solver == "lm"
    with pytest.raises(ValueError, match="focal length"):
        Scorer(anny, references.schema, network, ScoreSettings(solver="amortised", focal_length_px=1000.0))


def test_the_source_of_evidence_of_a_body_without_a_network(anny: BodyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "amortised_model", lambda body: None)
    assert prepared.free_solver(anny) == "lm"
    assert prepared.free_solver(anny, shape_solvers=["auto", "lm"]) == "lm"
    for given in ({"name": "amortised"}, {"name": "joint"}, {"shape_solvers": ["amortised"]}):
        with pytest.raises(ValueError, match="no evidence network"):
            prepared.free_solver(anny, **given)


@pytest.mark.slow
def test_fits_add_columns_and_change_no_other(anny: BodyModel) -> None:
    references = read_keypoints([DEMO / "references.parquet"])
    pictures = slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, ROWS)
    shape = fit_references(references, anny, FitSettings())
    plain = Scorer(anny, pictures.schema, shape)(pictures)
    fitted = Scorer(anny, pictures.schema, shape, ScoreSettings(fit=True))(pictures)
    assert not plain.fits
    assert "oks" not in plain.to_arrow().column_names
    assert_same_bits(plain, dict(fitted.numbers))
    assert np.all((fitted["reprojection_error"] > 0) & (fitted["reprojection_error"] < 0.05))
    assert np.all(fitted["scale"] > 0)


def test_keypoints_of_another_schema_are_refused(rest, anny: BodyModel) -> None:
    shape, table = rest
    with pytest.raises(ValueError, match="are not among them"):
        Scorer(anny, HALPE_26, shape)(table)


def test_ranks_follow_the_order_and_worst_rows_come_first(rest, anny: BodyModel) -> None:
    shape, table = rest
    scores = Scorer(anny, table.schema, shape)(table)
    lowest = scores.worst(2)
    assert lowest["consistency"].tolist() == sorted(scores["consistency"].tolist())[:2]
    assert sorted(scores.rank.tolist()) == list(range(1, len(table) + 1))
    assert scores.rank[scores.order].tolist() == sorted(scores.rank.tolist())
    assert scores.percentile.min() == 0
    assert scores.percentile.max() < 100


def test_scores_survive_arrow(rest, anny: BodyModel) -> None:
    shape, table = rest
    scores = Scorer(anny, table.schema, shape)(table)
    again = scores_of_table(scores.to_arrow())
    assert again.labels == scores.labels
    assert again.image.equals(scores.image)
    for name, values in scores.numbers.items():
        np.testing.assert_array_equal(again[name], values)
    assert scores.image[0].as_py() in scores._repr_html_()
