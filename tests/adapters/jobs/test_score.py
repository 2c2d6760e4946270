"""The scoring job: what it keeps of the evidence, and that the size of tables changes nothing."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.prepared import prepare
from adapters.jobs.score import RunSettings, score_to_file
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.results.evidence_table import read_evidence
from engine.body.model import BodyModel
from engine.scores import LABELS
from engine.shape import Shape
from tests.places import DEMO


@pytest.fixture(scope="module")
def shape(anny: BodyModel) -> Shape:
    return fit_references(read_keypoints([DEMO / "references.parquet"]), anny)


@pytest.fixture(scope="module")
def rest_shape(anny: BodyModel) -> Shape:
    return fit_references(read_keypoints([DEMO / "references.parquet"]), anny, FitSettings(mode="rest"))


def test_kept_evidence_is_raw_and_of_single_pictures(anny, shape, tmp_path) -> None:
    source = open_keypoints([DEMO / "dataset.parquet"])
    out, kept = tmp_path / "scores.parquet", tmp_path / "evidence.parquet"
    summary = score_to_file(source, anny, shape, out, run=RunSettings(keep_evidence=kept))
    scores, stored = pq.read_table(out), read_evidence(kept)
    assert len(stored) == summary.rows == len(scores)
    assert stored.image.to_pylist() == scores["image"].to_pylist()
    assert stored.body_fingerprint == anny.fingerprint
    assert not any(name in scores.column_names for name in ("precision", "information"))
    table = read_keypoints([DEMO / "dataset.parquet"])
    prepared = prepare(anny, table.schema)
    own = prepared.evidence_stage()(*prepared.columns(table))
    np.testing.assert_array_equal(stored.evidence().precision, own.evidence.precision)
    np.testing.assert_array_equal(stored.evidence().information, own.evidence.information)


def test_the_summary_counts_what_is_in_the_file(anny, rest_shape, tmp_path) -> None:
    out = tmp_path / "scores.parquet"
    summary = score_to_file(open_keypoints([DEMO / "dataset.parquet"], chunk_size=7), anny, rest_shape, out)
    scores = pq.read_table(out)
    statuses = scores["status"].to_pylist()
    assert summary.by_status == {label: statuses.count(label) for label in LABELS if label in statuses}
    consistency = scores["consistency"].to_numpy()
    assert summary.median_consistency == pytest.approx(np.nanmedian(consistency), abs=1e-6)


def test_tables_of_any_size_give_the_same_file(anny, rest_shape, tmp_path) -> None:
    files = []
    for rows in (7, 64, 65536):
        out = tmp_path / f"{rows}.csv"
        score_to_file(open_keypoints([DEMO / "dataset.parquet"], chunk_size=rows), anny, rest_shape, out)
        files.append(out.read_bytes())
    assert files[0] == files[1] == files[2]


def test_the_rest_pose_has_no_evidence_to_keep(anny, rest_shape, tmp_path) -> None:
    source = open_keypoints([DEMO / "dataset.parquet"])
    with pytest.raises(ValueError, match="--pose free"):
        score_to_file(
            source, anny, rest_shape, tmp_path / "s.csv", run=RunSettings(keep_evidence=tmp_path / "e.parquet")
        )
    assert list(tmp_path.iterdir()) == []
