"""Who is in which picture, and which pictures are of one clip."""

from dataclasses import replace

import numpy as np
import pytest

from adapters.jobs.calibrate import _spread_rows, calibration_advice, people_of, read_labels
from adapters.keypoints.clips import clip_of
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable, concat_tables, refuse_rows
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import default_calibration
from engine.picture.outline_places import PLACES, SIDES
from engine.scores import Status


@pytest.fixture
def table(tmp_path) -> KeypointTable:
    draw = np.random.default_rng(0)
    images = np.array(["a.jpg", "b.jpg", "clip_000001", "clip_000002", "unknown.jpg"])
    np.savez(
        tmp_path / "keypoints.npz",
        keypoints=draw.uniform(0, 500, (5, 17, 2)).astype(np.float32),
        confidence=np.ones((5, 17), np.float32),
        image=images,
    )
    return read_keypoints([tmp_path / "keypoints.npz"])


def _labels(tmp_path, text: str):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return read_labels(path)


def test_frames_of_a_video_are_told_by_their_names() -> None:
    assert clip_of("walk_000123") == clip_of("walk_000124") == "walk"
    assert clip_of("walk.mp4#000123") == "walk.mp4"
    assert clip_of("IMG_1234.jpg") is None
    assert clip_of("walk_000123.jpg") is None


def test_pictures_are_on_their_own_and_frames_of_a_clip_are_one_group(table, tmp_path) -> None:
    labels = _labels(tmp_path, "image,person\na.jpg,anna\nb.jpg,anna\nclip_000001,boris\nclip_000002,boris\n")
    found = people_of(table, labels)
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.person.tolist() == [0, 0, 1, 1]
    a, b, first, second = found.group
    assert first == second
    assert len({a, b, first}) == 3


def test_a_column_says_what_belongs_together_whatever_the_names(table, tmp_path) -> None:
    text = "image,person,group\na.jpg,anna,studio\nb.jpg,anna,studio\nclip_000001,boris,\nclip_000002,boris,studio\n"
    a, b, first, second = people_of(table, _labels(tmp_path, text)).group
    # The studio's pictures of another person are another group.
    assert a == b
    assert len({a, first, second}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,who\n", "image and person"),
        ("image,person\na.jpg,anna\na.jpg,boris\n", "labelled twice"),
        ("image,person,instance\na.jpg,anna,first\n", "no number"),
    ],
)
def test_mistakes_in_labels_are_named(tmp_path, text, message) -> None:
    with pytest.raises(ValueError, match=message):
        _labels(tmp_path, text)


def test_labels_without_pictures_are_named(table, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"nobody\.jpg"):
        people_of(table, _labels(tmp_path, "image,person\nnobody.jpg,anna\n"))


@pytest.mark.parametrize("most", [2, 3, 100])
def test_rows_are_spread_evenly_in_memory_that_does_not_grow(table, most) -> None:
    pieces = [table] * 7
    kept = _spread_rows(pieces, most)
    assert kept is not None
    everything = concat_tables(table.schema, pieces)
    assert most / 2 <= len(kept) <= most or len(kept) == len(everything) <= most
    step = -(-len(everything) // len(kept))
    power = 1 << (step - 1).bit_length()
    np.testing.assert_array_equal(kept.keypoints, everything.keypoints[::power])


def test_rows_keep_boxes_and_outlines_beside_pictures_without_a_person(table) -> None:
    draw = np.random.default_rng(1)
    rows = len(table)
    complete = replace(
        refuse_rows(table, {1: "nobody found"}, Status.NO_DETECTION),
        box=draw.uniform(size=(rows, 4)).astype(np.float32),
        outline_px=draw.uniform(size=(rows, len(PLACES), SIDES)).astype(np.float32),
    )
    kept = _spread_rows([complete], 100)
    assert kept is not None
    assert kept.box is not None
    assert kept.outline_px is not None
    np.testing.assert_array_equal(kept.box, np.delete(complete.box, 1, axis=0))
    np.testing.assert_array_equal(kept.outline_px, np.delete(complete.outline_px, 1, axis=0))


def test_only_scores_of_synthetic_calibrations_are_called_uncalibrated() -> None:
    assert calibration_advice(default_calibration()) is not None
    made = Calibration(1.0, np.zeros((10, 10)), "a test", mean=np.zeros(10))
    assert calibration_advice(made) is None
    assert calibration_advice(Calibration(1.0, np.zeros((10, 10)), "a test", people_known=True)) is None
