"""Shape files: what was written is read, the same fit writes the same bytes, anything else is refused by name."""

import dataclasses

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


@pytest.mark.parametrize("information", [np.zeros(9, np.float32), np.full(10, np.inf, np.float32)])
def test_evidence_that_does_not_fit_is_refused(tmp_path, shape, information) -> None:
    evidence = Evidence(np.eye(10, dtype=np.float32), information)
    dataclasses.replace(shape, evidence=evidence).save(tmp_path / "shape.npz")
    with pytest.raises(ShapeFileError, match="evidence"):
        Shape.load(tmp_path / "shape.npz")


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
    shape.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as stored:
        np.savez(tmp_path / "bad.npz", header=stored["header"], betas=betas)
    with pytest.raises(ShapeFileError, match="betas"):
        Shape.load(tmp_path / "bad.npz")


def test_another_body_is_refused(coco_body, shape) -> None:
    with pytest.raises(ShapeFileError, match="--body"):
        shape.check_body(coco_body, "fedcba9876543210")
