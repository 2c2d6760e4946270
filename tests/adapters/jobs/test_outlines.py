"""Outlines on their way from a table to the evidence of fits and scores."""

from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

from adapters.jobs import prepared
from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.score import score_table
from adapters.jobs.scorer import Scorer, ScoreSettings
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable, slice_table
from engine.body.model import BodyModel
from engine.evidence.amortised.evidence import AmortisedModel, make_amortised
from engine.evidence.amortised.network import init_network
from engine.evidence.amortised.stage import joint_evidence
from engine.picture.outline import outline_rays
from engine.picture.outline_places import PLACES, SIDES
from engine.posed.scoring import fit_own
from tests.places import DEMO

ROWS = 6


@pytest.fixture(scope="module")
def model(anny: BodyModel) -> AmortisedModel:
    """A small network with random weights; its evidence means nothing, but depends on everything that it gets."""
    network, _ = init_network(jax.random.key(3), 32, 1, anny.beta_count, outlines=True)
    return make_amortised(anny, network)


@pytest.fixture(autouse=True)
def with_network(monkeypatch: pytest.MonkeyPatch, model: AmortisedModel) -> Iterator[None]:
    prepared._prepared.cache_clear()
    monkeypatch.setattr(prepared, "amortised_model", lambda body: model)
    yield
    prepared._prepared.cache_clear()


@pytest.fixture(scope="module")
def pictures() -> KeypointTable:
    table = slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, ROWS)
    seen = table.confidence > 0
    longest = outline_rays(table.keypoints, seen, table.schema).longest
    shares = np.random.default_rng(0).uniform(0.1, 0.9, (ROWS, len(PLACES), SIDES))
    outlines = (shares * longest[:, None, None]).astype(np.float32)
    outlines[0] = np.nan
    return replace(table, outline_px=outlines)


SETTINGS = ScoreSettings(solver="amortised")


def test_scores_depend_on_outlines_where_there_are_any(anny: BodyModel, pictures: KeypointTable) -> None:
    shape = fit_references(pictures, anny, FitSettings("all", solver="amortised"))
    scorer = Scorer(anny, pictures.schema, shape, SETTINGS)
    own, without = scorer(pictures).numbers, scorer(replace(pictures, outline_px=None)).numbers
    for name in ("log_bayes_factor", "information_bits", "consistency"):
        assert own[name][0] == without[name][0]
        assert (own[name][1:] != without[name][1:]).all()


def test_scores_do_not_depend_on_chunks(anny: BodyModel, pictures: KeypointTable) -> None:
    shape = fit_references(pictures, anny, FitSettings("all", solver="amortised"))
    scorer = Scorer(anny, pictures.schema, shape, SETTINGS)
    whole = score_table(scorer, pictures)
    for row in range(ROWS):
        alone = scorer(slice_table(pictures, row, row + 1))
        for name, values in alone.numbers.items():
            np.testing.assert_array_equal(values, whole.numbers[name][row : row + 1])


def test_fits_depend_on_outlines(anny: BodyModel, pictures: KeypointTable) -> None:
    settings = FitSettings("all", solver="amortised")
    with_outlines = fit_references(pictures, anny, settings)
    without = fit_references(replace(pictures, outline_px=None), anny, settings)
    assert not np.array_equal(with_outlines.betas, without.betas)
    nothing_seen = np.full_like(pictures.outline_px, np.nan)
    again = fit_references(replace(pictures, outline_px=nothing_seen), anny, settings)
    np.testing.assert_array_equal(again.betas, without.betas)


def test_only_networks_that_know_outlines_use_them(anny: BodyModel, pictures: KeypointTable) -> None:
    body = prepared.prepare(anny, pictures.schema)
    assert body.sees_outlines("amortised")
    assert body.sees_outlines("joint")
    assert not body.sees_outlines("lm")


@pytest.mark.slow
def test_joint_evidence_has_outlines_in_its_fits_where_clothes_are_known(
    anny: BodyModel, pictures: KeypointTable
) -> None:
    """Pictures without an outline have the evidence of keypoint fits, those in unknown clothes that of the network, and
    no picture depends on another."""
    clothes = np.where(np.arange(ROWS) < 3, np.nan, 0.003).astype(np.float32)
    body = prepared.prepare(anny, pictures.schema)
    seen = body.seen(replace(pictures, clothes_m=clothes))
    found = body.evidence_stage(solver="joint")(*seen)
    fits = fit_own(body.context(), seen.keypoints, seen.confidence)
    network = body.evidence_stage(solver="amortised")(*seen)
    keypoints_alone = joint_evidence(fits, network)
    alone = body.evidence_stage(solver="joint")(*seen.rows(np.array([4])))
    for one, own, bare, single in zip(
        found.evidence, network.evidence, keypoints_alone.evidence, alone.evidence, strict=True
    ):
        np.testing.assert_array_equal(one[0], bare[0])
        np.testing.assert_array_equal(one[1:3], own[1:3])
        assert (one[3:] != bare[3:]).reshape(ROWS - 3, -1).any(axis=1).all()
        np.testing.assert_array_equal(one[4], single[0])
