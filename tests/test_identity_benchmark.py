"""The identity benchmark's own arithmetic, and a small run of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.identity import main
from benchmarks.identity_methods import PICTURES, REFERENCES, pairs_of
from benchmarks.identity_metrics import separation


def test_a_perfect_score_separates_and_a_constant_one_does_not() -> None:
    same = np.arange(200) < 50
    perfect = separation(same.astype(float), same)
    assert perfect == pytest.approx((1.0, 0.0, 1.0))
    useless = separation(np.zeros(200), same)
    assert useless.auc == pytest.approx(0.5)
    assert useless.true_accepts == 0


def test_separation_of_gaussian_scores_is_the_closed_form() -> None:
    """Two unit Gaussians two apart: AUC Φ(√2), equal error Φ(−1), accepted at 1 % Φ(2 − 2.326)."""
    draw = np.random.default_rng(0)
    same = np.arange(40_000) % 2 == 0
    figures = separation(draw.standard_normal(40_000) + 2 * same, same)
    assert figures.auc == pytest.approx(0.9214, abs=0.005)
    assert figures.equal_error_rate == pytest.approx(0.1587, abs=0.005)
    assert figures.true_accepts == pytest.approx(0.3721, abs=0.02)


def test_separation_does_not_depend_on_the_unit_of_the_score() -> None:
    draw = np.random.default_rng(1)
    same = draw.random(500) < 0.4
    score = draw.standard_normal(500) + same
    assert separation(np.exp(score), same) == separation(score, same)


def test_a_score_that_is_not_a_number_accepts_nobody() -> None:
    same = np.array([True, True, False, False])
    assert separation(np.array([np.nan, 3.0, 1.0, 2.0]), same).auc == pytest.approx(0.5)


def test_one_kind_of_pairs_is_not_enough() -> None:
    with pytest.raises(ValueError, match="one kind is missing"):
        separation(np.zeros(3), np.ones(3, bool))


def test_pairs_never_hold_a_reference_and_each_probe_meets_its_own_person_once() -> None:
    pairs = pairs_of(people=7, pictures=PICTURES)
    assert (pairs.probe % PICTURES >= REFERENCES).all()
    np.testing.assert_array_equal(pairs.same, pairs.person == pairs.probe // PICTURES)
    assert pairs.same.sum() == 7 * (PICTURES - REFERENCES)
    assert len(set(zip(pairs.person, pairs.probe, strict=True))) == len(pairs.probe)


@pytest.mark.slow
def test_a_small_run_writes_every_figure(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["visible", "--identities", "4", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "identity.json").read_text())
    # Two visible parts, each with the evidence of fits, of the network and of both.
    assert len(rows) == 6
    assert len({(row["row"], row["method"]) for row in rows}) == 6
    assert all(0 <= row["separation"]["auc"] <= 1 and row["calibration_error"] is not None for row in rows)
