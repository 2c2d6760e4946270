"""References against each other: who is named, who is left out, what the history keeps; fits are stood in for."""

import numpy as np
import pytest

from adapters.commands.cli import main
from adapters.commands.fit import _used
from adapters.jobs import fit as job
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable, slice_table
from adapters.smpl_optimizer import optimize_shared_beta
from engine.body.model import BodyModel
from engine.evidence.limbs import LIMBS
from engine.evidence.shape_evidence import Evidence
from engine.shape import Shape
from tests.places import DEMO

BETAS = 10
ODD = 3


def _no_limbs(count: int) -> np.ndarray:
    return np.full((count, len(LIMBS)), np.nan)


@pytest.fixture
def table(tmp_path) -> KeypointTable:
    draw = np.random.default_rng(0)
    confidence = np.ones((6, 17), np.float32)
    confidence[5] = 0
    np.savez(
        tmp_path / "keypoints.npz",
        keypoints=draw.uniform(0, 500, (6, 17, 2)).astype(np.float32),
        confidence=confidence,
        image=np.array([f"{i}.jpg" for i in range(6)]),
    )
    return read_keypoints([tmp_path / "keypoints.npz"])


@pytest.fixture
def fitted_rows(monkeypatch) -> list[int]:
    """How many references each fit gets; the fourth picture shows somebody else."""
    calls: list[int] = []

    def fit(prepared, seen, settings) -> job._Fitted:
        count = len(seen.keypoints)
        calls.append(count)
        shapes = np.zeros((count, BETAS), np.float32)
        shapes[:, 0] = 2.0
        if count > ODD + 1:
            shapes[ODD, 0] = -2.0
        own = Evidence(np.tile(10 * np.eye(BETAS, dtype=np.float32), (count, 1, 1)), 10 * shapes)
        fused = Evidence(own.precision.sum(axis=0), own.information.sum(axis=0))
        alike = job._alike(own, None, _no_limbs(count))
        return job._Fitted(shapes[0], True, fused, np.zeros(count, int), np.zeros(count), alike)

    monkeypatch.setattr(job, "_fit_free", fit)
    return calls


def test_the_reference_that_does_not_look_like_the_others_is_named(table, fitted_rows, anny) -> None:
    shape = job.fit_references(table, anny)
    assert [one.image for one in shape.references if one.outlier] == [f"{ODD}.jpg"]
    assert all(one.used for one in shape.references)
    assert len(fitted_rows) == 1


def test_it_is_left_out_on_request_and_stays_in_the_history(table, fitted_rows, anny, tmp_path) -> None:
    shape = job.fit_references(table, anny, job.FitSettings(drop_outliers=True))
    first, second = fitted_rows
    assert second == first - 1
    shape.save(tmp_path / "shape.npz")
    kept = Shape.load(tmp_path / "shape.npz")
    assert [one.image for one in kept.references if one.dropped] == [f"{ODD}.jpg"]
    assert kept.references[ODD].log_bayes_factor == pytest.approx(shape.references[ODD].log_bayes_factor)
    assert kept.used_references == second
    # Limbs of the references come back as they were; the dropped one is not among them.
    assert kept.limb_logs.shape == (second, len(LIMBS))
    np.testing.assert_array_equal(kept.limb_logs, shape.limb_logs)
    assert f"{second} of 6" in _used(table, shape)


def test_two_references_are_not_compared() -> None:
    evidence = Evidence(np.tile(np.eye(BETAS, dtype=np.float32), (2, 1, 1)), np.zeros((2, BETAS), np.float32))
    assert np.isnan(job._alike(evidence, None, _no_limbs(2))).all()


@pytest.fixture
def unmeasurable(tmp_path) -> KeypointTable:
    """References with enough keypoints, all of them in one place."""
    np.savez(
        tmp_path / "point.npz",
        keypoints=np.full((3, 17, 2), 100, np.float32),
        confidence=np.ones((3, 17), np.float32),
        image=np.array(["a.jpg", "b.jpg", "c.jpg"]),
    )
    return read_keypoints([tmp_path / "point.npz"])


class TestNoUsableReference:
    """No shape comes of references that show nothing of it."""

    MESSAGE = "none of 3 references can be used"

    def test_in_python(self, unmeasurable: KeypointTable, anny: BodyModel) -> None:
        settings = job.FitSettings(mode="rest")
        with pytest.raises(ValueError, match=self.MESSAGE):
            job.fit_references(unmeasurable, anny, settings)
        usable = slice_table(read_keypoints([DEMO / "references.parquet"]), 0, 2)
        alone = job.fit_references(usable, anny, settings)
        failed, fitted = job.fit_each([unmeasurable, usable], anny, settings)
        assert self.MESSAGE in str(failed)
        assert isinstance(fitted, Shape)
        assert fitted.betas.tobytes() == alone.betas.tobytes()

    def test_on_the_command_line(self, unmeasurable: KeypointTable, tmp_path, capsys) -> None:
        out = tmp_path / "shape.npz"
        assert main(["fit", str(tmp_path / "point.npz"), "--pose", "rest", "--out", str(out)]) == 2
        assert self.MESSAGE in capsys.readouterr().err
        assert not out.exists()

    def test_in_the_host_contract(self, anny: BodyModel) -> None:
        person = {"keypoints": np.full((17, 2), 100.0), "confidence": np.ones(17)}
        with pytest.raises(ValueError, match=self.MESSAGE):
            optimize_shared_beta([person] * 3, anny, mode="rest")
