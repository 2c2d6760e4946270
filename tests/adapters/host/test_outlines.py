"""Outlines and clothes that a host gives with keypoints, to the scores of its analyzer."""

from typing import Any

import numpy as np
import pytest

import samebody as sb
from adapters.body_analyzer import BodyAnalyzer
from adapters.host.inputs import keypoint_table
from adapters.keypoints.table import KeypointTable, with_clothes
from engine.body.model import BodyModel
from engine.picture.outline_places import PLACES, SIDES
from engine.scores import Status
from tests.adapters.commands.test_clothes import outlined

ROWS = 6


@pytest.fixture(scope="module")
def pictures() -> KeypointTable:
    return outlined("dataset.parquet", ROWS)


def people(table: KeypointTable, clothes: str | None = None) -> list[dict[str, Any]]:
    assert table.outline_px is not None
    rows = zip(table.keypoints.tolist(), table.confidence.tolist(), table.outline_px.tolist(), strict=True)
    return [{"keypoints": k, "confidence": c, "outline": o, "clothes": clothes} for k, c, o in rows]


def test_a_host_s_outlines_and_clothes_give_the_bits_of_a_table(pictures: KeypointTable, anny: BodyModel) -> None:
    names = pictures.image.to_pylist()
    shape = sb.fit(people(pictures, "tight"))
    assert sum(one.clothes_m is not None for one in shape.references) == ROWS - 1
    expected = sb.score(with_clothes(pictures, "tight"), shape)["log_bayes_factor"]
    found = BodyAnalyzer(anny).analyze_batch(names, people(pictures, "tight"), shape)
    assert [one.log_bayes_factor for one in found] == expected.tolist()
    plain = BodyAnalyzer(anny).analyze_batch(names, people(pictures), shape)
    assert [one.log_bayes_factor for one in plain] == sb.score(pictures, shape)["log_bayes_factor"].tolist()


def test_an_outline_that_cannot_be_used_leaves_a_note(pictures: KeypointTable) -> None:
    given = people(pictures)
    given[1]["outline"] = [[1, 2]]
    given[2]["clothes"] = "velvet"
    given[3]["outline"][0] = [None, -5.0]
    del given[4]["outline"]
    table = keypoint_table(pictures.image.to_pylist(), given)
    assert table.outline_px is not None
    assert (table.status == Status.OK).all()
    seen = np.isfinite(table.outline_px).any(axis=(1, 2))
    assert seen.tolist() == [False, False, False, True, False, True]
    assert np.isnan(table.outline_px[3, 0]).all()
    notes = table.detail.to_pylist()
    assert f"({len(PLACES)}, {SIDES})" in notes[1]
    assert "'velvet'" in notes[2]
    assert notes[3:] == [None] * 3


def test_keypoints_without_outlines_stay_as_they_are(pictures: KeypointTable) -> None:
    bare = [{"keypoints": one["keypoints"], "confidence": one["confidence"]} for one in people(pictures)]
    table = keypoint_table(pictures.image.to_pylist(), bare)
    assert table.outline_px is None
    assert table.clothes_m is None
