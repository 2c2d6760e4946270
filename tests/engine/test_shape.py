"""Shape files: what was written is read, the same fit writes the same bytes, anything else is refused by name."""

import dataclasses
import json

import numpy as np
import pytest

from engine.evidence.shape_evidence import Evidence
from engine.shape import Reference, Shape, ShapeFileError


@pytest.fixture
def shape() -> Shape:
    return Shape(
        betas=np.linspace(-2, 2, 10, dtype=np.float32),
        body_name="Anny-24 (SMPL layout)",
        body_fingerprint="0123456789abcdef",
        schema="coco17",
        mode="rest",
        solver="auto",
        noise_level=0.03,
        converged=True,
        samebody_version="0.1.0",
        references=(Reference("a.jpg", 0, "ok", 0.02), Reference("ü.jpg", 1, "too_few_keypoints", None)),
    )


def test_round_trip(tmp_path, shape) -> None:
    shape.save(tmp_path / "shape.npz")
    loaded = Shape.load(tmp_path / "shape.npz")
    np.testing.assert_array_equal(loaded.betas, shape.betas)
    assert loaded.record() == shape.record()
    assert loaded.digest == shape.digest


def test_round_trip_with_evidence(tmp_path, shape) -> None:
    evidence = Evidence(np.eye(10, dtype=np.float32), np.arange(10, dtype=np.float32))
    dataclasses.replace(shape, mode="free", evidence=evidence).save(tmp_path / "shape.npz")
    loaded = Shape.load(tmp_path / "shape.npz").evidence
    assert loaded is not None
    np.testing.assert_array_equal(loaded.precision, evidence.precision)
    np.testing.assert_array_equal(loaded.information, evidence.information)


def _rewritten(path, shape, header=None, **arrays) -> None:
    """The file of a shape with other contents and no digest, as a program of others might write it."""
    shape.save(path)
    with np.load(path) as stored:
        record = {**json.loads(str(stored["header"])), **(header or {})}
        kept = {name: stored[name] for name in stored.files if name != "header"}
    record.pop("digest")
    np.savez(path, header=np.array(json.dumps(record)), **{**kept, **arrays})


IMPOSSIBLE = {
    "size": {"information": np.zeros(9, np.float32)},
    "infinite": {"information": np.full(10, np.inf, np.float32)},
    "negative": {"precision": -np.eye(10, dtype=np.float32)},
    "huge": {"precision": np.float32(3e38) * np.eye(10, dtype=np.float32)},
    "complex": {"precision": np.eye(10) + 0j},
    "shape that nobody has": {"betas": np.full(10, 1e6, np.float32)},
    "one array more": {"other": np.zeros(3, np.float32)},
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_numbers_are_refused(tmp_path, shape, case) -> None:
    evidence = Evidence(np.eye(10, dtype=np.float32), np.arange(10, dtype=np.float32))
    path = tmp_path / "shape.npz"
    _rewritten(path, dataclasses.replace(shape, mode="free", evidence=evidence))
    Shape.load(path)
    _rewritten(path, dataclasses.replace(shape, mode="free", evidence=evidence), **IMPOSSIBLE[case])
    with pytest.raises(ShapeFileError, match=r"shape\.npz"):
        Shape.load(path)


@pytest.mark.parametrize(
    "header",
    [
        {"mode": "t-pose"},
        {"body_name": 3},
        {"converged": "yes"},
        {"noise_level": float("nan")},
        {"references": [{"image": "a", "instance": 2**40, "status": "ok", "reprojection_error": None}]},
        {"references": [{"image": "a", "instance": -1, "status": "ok", "reprojection_error": None}]},
        {"references": [{"image": "a", "instance": 0, "status": "splendid", "reprojection_error": None}]},
        {"references": [3]},
        {"references": None},
        {"calibration": {"format": "samebody-calibration"}},
        {"calibration": 3},
        {"extra": 1},
        {"version": [[[]]]},
    ],
    ids=str,
)
def test_a_header_of_other_types_is_refused(tmp_path, shape, header) -> None:
    _rewritten(tmp_path / "shape.npz", shape, header)
    with pytest.raises(ShapeFileError, match=r"shape\.npz"):
        Shape.load(tmp_path / "shape.npz")


def test_arrays_of_another_shape_are_refused(tmp_path, shape) -> None:
    path = tmp_path / "shape.npz"
    shape.save(path)
    with np.load(path) as stored:
        np.savez(path, header=stored["header"], betas=-stored["betas"])
    with pytest.raises(ShapeFileError, match="not those that were written"):
        Shape.load(path)


def test_a_shape_that_nobody_has_is_not_written(tmp_path, shape) -> None:
    with pytest.raises(ShapeFileError, match="beta"):
        dataclasses.replace(shape, betas=np.full(10, 25, np.float32)).save(tmp_path / "shape.npz")
    assert list(tmp_path.iterdir()) == []


def test_the_same_shape_writes_the_same_bytes(tmp_path, shape) -> None:
    shape.save(tmp_path / "a.npz")
    shape.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_truncated_file_is_refused(tmp_path, shape) -> None:
    shape.save(tmp_path / "shape.npz")
    whole = (tmp_path / "shape.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShapeFileError, match=r"half\.npz: damaged"):
        Shape.load(tmp_path / "half.npz")


def test_a_missing_file_is_refused_with_the_command_that_makes_one(tmp_path) -> None:
    with pytest.raises(ShapeFileError, match="samebody fit"):
        Shape.load(tmp_path / "none.npz")


def test_pickles_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "pickled.npz", header=np.array({"format": "samebody-shape"}, dtype=object), betas=np.zeros(10))
    with pytest.raises(ShapeFileError):
        Shape.load(tmp_path / "pickled.npz")


@pytest.mark.parametrize("betas", [np.full(10, np.nan, np.float32), np.zeros((2, 5), np.float32), np.zeros(10)])
def test_betas_that_are_no_betas_are_refused(tmp_path, shape, betas) -> None:
    _rewritten(tmp_path / "bad.npz", shape, betas=betas)
    with pytest.raises(ShapeFileError, match=r"bad\.npz.*beta"):
        Shape.load(tmp_path / "bad.npz")


def test_another_body_is_refused(coco_body, shape) -> None:
    with pytest.raises(ShapeFileError, match="--body"):
        shape.check_body(coco_body, "fedcba9876543210")
