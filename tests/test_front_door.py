"""``import samebody``: light to import, takes every form of keypoints, gives what the command line gives."""

import subprocess
import sys

import numpy as np
import pytest

import samebody as sb
from adapters.keypoints.readers import read_keypoints
from tests.places import DEMO, ROOT

REST = {"mode": "rest"}


@pytest.fixture(scope="module")
def table():
    return read_keypoints([DEMO / "references.parquet"])


def test_importing_loads_nothing_heavy() -> None:
    script = (
        "import sys, samebody; print([m for m in ('jax', 'numpy', 'pyarrow', 'scipy', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in sb.__all__:
        assert getattr(sb, name) is not None
    with pytest.raises(AttributeError):
        sb.nothing_of_that_name  # noqa: B018


def test_paths_tables_arrays_and_mmpose_results_give_the_same_shape(table) -> None:
    settings = sb.FitSettings(**REST)
    people = [
        {"keypoints": k.tolist(), "keypoint_scores": c.tolist()}
        for k, c in zip(table.keypoints, table.confidence, strict=True)
    ]
    expected = sb.fit(DEMO / "references.parquet", settings=settings).betas
    for given in (table, people, [{"predictions": [[person]]} for person in people]):
        np.testing.assert_array_equal(sb.fit(given, settings=settings).betas, expected)
    np.testing.assert_array_equal(sb.fit(table.keypoints, table.confidence, settings=settings).betas, expected)


def test_scores_of_a_saved_shape_are_those_of_the_shape_and_of_the_file(table, tmp_path) -> None:
    shape = sb.fit(table, settings=sb.FitSettings(**REST))
    shape.save(tmp_path / "anna.npz")
    scores = sb.score(DEMO / "dataset.parquet", shape)
    again = sb.score(sb.read_keypoints(DEMO / "dataset.parquet"), tmp_path / "anna.npz")
    np.testing.assert_array_equal(scores["consistency"], again["consistency"])
    summary = sb.score_file(DEMO / "dataset.parquet", shape, tmp_path / "scores.csv")
    assert summary.rows == len(scores)
    assert len(scores.worst(20)) == 20


def test_another_package_of_the_name_adapters_is_told(tmp_path) -> None:
    other = tmp_path / "adapters"
    other.mkdir()
    (other / "__init__.py").write_text("__version__ = '1.0'\n")
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import samebody; "
        f"sys.path.insert(0, {str(tmp_path)!r}); samebody.read_keypoints('x')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "environment of its own" in done.stderr


def test_a_focal_length_goes_with_the_free_pose(table) -> None:
    with pytest.raises(ValueError, match="--pose free"):
        sb.fit(table, settings=sb.FitSettings(mode="rest", focal_length_px=1000.0))
    with pytest.raises(ValueError, match="positive"):
        sb.fit(table, settings=sb.FitSettings(focal_length_px=-1.0))


@pytest.mark.slow
def test_a_short_focal_length_changes_the_shape_and_a_long_one_does_not(table) -> None:
    plain, near, far = (
        sb.fit(table, settings=sb.FitSettings(solver="lm", focal_length_px=focal)).betas for focal in (None, 400.0, 1e7)
    )
    assert np.abs(far - plain).max() < 0.05 < np.abs(near - plain).max()


def test_a_known_focal_length_takes_fits(table) -> None:
    assert sb.fit(table, settings=sb.FitSettings(focal_length_px=1e7)).solver == "lm"
    assert sb.fit(table).solver == "amortised"
