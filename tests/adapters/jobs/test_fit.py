"""References against each other: who is named, who is left out, what the history keeps; fits are stood in for."""

import numpy as np
import pytest

from adapters.commands.fit import _used
from adapters.jobs import fit as job
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable
from engine.evidence.shape_evidence import Evidence
from engine.shape import Shape

BETAS = 10
ODD = 3


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

    def fit(prepared, keypoints, confidence, settings) -> job._Fitted:
        count = len(keypoints)
        calls.append(count)
        shapes = np.zeros((count, BETAS), np.float32)
        shapes[:, 0] = 2.0
        if count > ODD + 1:
            shapes[ODD, 0] = -2.0
        own = Evidence(np.tile(10 * np.eye(BETAS, dtype=np.float32), (count, 1, 1)), 10 * shapes)
        fused = Evidence(own.precision.sum(axis=0), own.information.sum(axis=0))
        return job._Fitted(shapes[0], True, fused, np.zeros(count, int), np.zeros(count), job._alike(own, None))

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
    assert f"{second} of 6" in _used(table, shape)


def test_two_references_are_not_compared() -> None:
    evidence = Evidence(np.tile(np.eye(BETAS, dtype=np.float32), (2, 1, 1)), np.zeros((2, BETAS), np.float32))
    assert np.isnan(job._alike(evidence, None)).all()
