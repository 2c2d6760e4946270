"""From references and pictures to a folder: who comes first and why, in files, in words and in Python."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adapters.commands.check_text import summary_of
from adapters.commands.cli import main
from adapters.jobs.check import Check, CheckSettings, check, recalibrated, together
from adapters.jobs.check_folder import Looks, look_at, write_check
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable
from engine.body.model import BodyModel
from engine.evidence.calibration_file import default_calibration
from engine.picture.outline_places import PLACES, SIDES
from tests.places import DEMO

pytest.importorskip("imagehash", reason="needs the extra report")


@pytest.fixture(scope="module")
def pictures() -> KeypointTable:
    return read_keypoints([DEMO / "dataset.parquet"])


@pytest.fixture(scope="module")
def found(pictures: KeypointTable, anny: BodyModel) -> Check:
    return check(read_keypoints([DEMO / "references.parquet"]), pictures, anny, CheckSettings(least_pictures=20))


def _people(table: KeypointTable) -> np.ndarray:
    return np.array([image.rsplit("_", 1)[0] for image in table.image.to_pylist()])


def test_others_come_first_with_a_reason(found: Check, pictures: KeypointTable) -> None:
    others = _people(pictures)[found.scores.order] != "anna"
    # Chance that a picture of another person comes before one of hers; one half by chance. Pictures hold a bit.
    before = np.cumsum(others)[~others].mean() / others.sum()
    assert before > 0.55
    assert all(found.reasons[row] for row in found.scores.order[:20])
    assert found.calibrated_by in ("pictures", "shipped")


def test_all_pictures_of_a_person_tell_who_it_is(found: Check, pictures: KeypointTable) -> None:
    people = _people(pictures)
    chances = {name: together(found, np.flatnonzero(people == name))[1] for name in set(people)}
    assert max(chances, key=chances.__getitem__) == "anna"
    assert chances["anna"] > 0.5


def test_references_are_compared_with_each_other_most_unlike_first(found: Check) -> None:
    values = [one.log_bayes_factor for one in found.references]
    assert values == sorted(values)
    assert len(values) == found.shape.used_references


def test_the_same_evidence_at_another_calibration(found: Check) -> None:
    again = recalibrated(found.scores, found.shape, found.calibration)
    for name in ("log_bayes_factor", "same_body_probability", "information_bits"):
        np.testing.assert_array_equal(again.numbers[name], found.scores.numbers[name])
    shipped = recalibrated(found.scores, found.shape, default_calibration())
    np.testing.assert_array_equal(shipped.numbers["consistency"], found.scores.numbers["consistency"])


def test_the_folder_holds_what_was_found_and_twins_are_named(
    found: Check, pictures: KeypointTable, tmp_path: Path
) -> None:
    images = tmp_path / "pictures"
    images.mkdir()
    draw = np.random.default_rng(0)
    look = Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).resize((640, 640))
    names = pictures.image.to_pylist()
    for name in (names[3], names[5]):
        look.save(images / name)
    # One person in one place: the two pictures are then cut in the same way.
    keypoints, confidence = pictures.keypoints.copy(), pictures.confidence.copy()
    keypoints[5], confidence[5] = keypoints[3], confidence[3]
    looks = look_at(replace(pictures, keypoints=keypoints, confidence=confidence), images)
    assert looks.alike[5] == 3
    written = write_check(found, pictures, looks, tmp_path / "out")
    table = pq.read_table(written.scores_file)
    assert table["detail"][5].as_py().endswith(f"looks like {names[3]}")
    np.testing.assert_array_equal(table["rank"].to_numpy(), found.scores.rank)
    assert written.page is not None
    manifest = json.loads(re.search(r'id="manifest">(.*?)</script>', written.page.read_text(), re.S)[1])  # type: ignore[index]
    assert manifest["notes"] == []
    assert set(manifest["reasons"]) == {"", *found.reasons}


def test_the_terminal_lists_cards_and_counts_twins(found: Check, pictures: KeypointTable) -> None:
    order = found.scores.order
    alike = np.arange(len(pictures))
    alike[order[1]] = alike[order[7]] = order[0]
    text = summary_of(found, found.scores, alike)
    names = pictures.image.to_pylist()
    assert len(text.first) == 20
    assert text.first[0][2] == f"{names[order[0]]} (+2 alike)"
    assert text.first[1][2] == names[order[2]]
    assert Looks(None, alike).thumbnails is None


@pytest.mark.parametrize("outlined", [False, True])
def test_few_pictures_and_pictures_with_outlines_are_no_population(
    pictures: KeypointTable, anny: BodyModel, outlined: bool
) -> None:
    references = read_keypoints([DEMO / "references.parquet"])
    settings = CheckSettings(least_pictures=20 if outlined else len(pictures) + 1)
    outline = np.full((len(pictures), len(PLACES), SIDES), 20.0, np.float32) if outlined else None
    found = check(references, replace(pictures, outline_px=outline), anny, settings)
    assert found.calibrated_by == "shipped"
    assert any("calibration" in advice for advice in found.help)


def test_a_range_of_others_is_expected_only_of_a_calibrated_detector(found: Check, pictures: KeypointTable) -> None:
    alone = np.arange(len(pictures))
    text = summary_of(replace(found, calibration=default_calibration()), found.scores, alone)
    assert "expect" not in text.title
    mean = np.zeros(len(found.shape.betas))
    known = replace(found, calibration=replace(found.calibration, mean=mean))
    title = summary_of(known, known.scores, alone).title
    low, high = map(int, re.findall(r"expect (\d+) to (\d+) of 20", title)[0])
    first = _people(pictures)[found.scores.order[:20]]
    assert low <= np.sum(first != "anna") <= high


def test_keypoint_files_and_photographs_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / "missing"), str(tmp_path / "empty")]) == 2
    assert "missing" in capsys.readouterr().err
