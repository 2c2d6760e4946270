"""The JSON forms of MMPose's demo scripts and of its inferencer."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import FARTHEST_PX
from engine.body.schemas import COCO_17, HALPE_26, WHOLEBODY_133
from engine.scores import Status
from tests.adapters.sample_keypoints import assert_person, instance, meta_info, with_files, write_json


def test_picture_of_the_inferencer_has_a_row_for_each_person(tmp_path: Path) -> None:
    table = read_keypoints([write_json(tmp_path / "anna.json", [instance(1), instance(2)])])
    assert table.schema == COCO_17
    assert table.image.to_pylist() == ["anna", "anna"]
    assert table.instance.tolist() == [0, 1]
    assert table.detail.to_pylist() == [None, None]
    assert_person(table, 0, 1)
    assert_person(table, 1, 2)


def test_picture_of_the_demo_scripts_is_called_as_the_picture(tmp_path: Path) -> None:
    content = {"meta_info": meta_info(), "instance_info": [instance(1)]}
    table = read_keypoints([write_json(tmp_path / "results_anna.json", content)])
    assert table.image.to_pylist() == ["anna"]
    assert_person(table, 0, 1)


def test_inferencer_picture_keeps_a_name_that_begins_like_the_demo_scripts(tmp_path: Path) -> None:
    table = read_keypoints([write_json(tmp_path / "results_anna.json", [instance(1)])])
    assert table.image.to_pylist() == ["results_anna"]


@pytest.mark.parametrize("with_meta", [True, False])
def test_video_frames_keep_their_own_numbers(tmp_path: Path, with_meta: bool) -> None:
    frames = [
        {"frame_id": 3, "instances": [instance(1), instance(2)]},
        {"frame_id": 12, "instances": []},
        {"frame_id": 13, "instances": [instance(3)]},
    ]
    content = {"meta_info": meta_info(), "instance_info": frames} if with_meta else frames
    table = read_keypoints([write_json(tmp_path / "cam01.json", content)])
    assert table.image.to_pylist() == ["cam01_000003", "cam01_000003", "cam01_000012", "cam01_000013"]
    assert table.instance.tolist() == [0, 1, -1, 0]
    assert table.status.tolist() == [Status.OK, Status.OK, Status.NO_DETECTION, Status.OK]
    for row, seed in ((0, 1), (1, 2), (3, 3)):
        assert_person(table, row, seed)
    assert not table.confidence[2].any()


def test_frame_that_comes_twice_does_not_mix_people(tmp_path: Path) -> None:
    frames = [{"frame_id": 0, "instances": [instance(seed)]} for seed in (1, 2)]
    table = read_keypoints([write_json(tmp_path / "v.json", frames)])
    assert table.instance.tolist() == [0, 1]


@pytest.mark.parametrize("content", [[], {"meta_info": meta_info(), "instance_info": []}, {"instance_info": []}])
def test_nobody_found_is_one_row_that_says_so(tmp_path: Path, content: object) -> None:
    table = read_keypoints([write_json(tmp_path / "empty.json", content)])
    assert table.status.tolist() == [Status.NO_DETECTION]
    assert (table.image.to_pylist(), table.instance.tolist()) == (["empty"], [-1])


@pytest.mark.parametrize("schema", [COCO_17, HALPE_26, WHOLEBODY_133], ids=lambda schema: schema.name)
def test_number_of_keypoints_tells_the_schema_where_nothing_else_does(tmp_path: Path, schema) -> None:
    table = read_keypoints([write_json(tmp_path / "a.json", [instance(1, len(schema))])])
    assert table.schema == schema
    assert_person(table, 0, 1)


def test_meta_info_names_the_keypoints(tmp_path: Path) -> None:
    names = ("left_hip", "right_hip", "antler")
    content = {"meta_info": meta_info(names), "instance_info": [instance(1, 3)]}
    table = read_keypoints([write_json(tmp_path / "a.json", content)])
    assert table.schema.keypoint_names == names


def test_scores_that_are_no_probabilities_are_clipped(tmp_path: Path) -> None:
    person = instance(1)
    person["keypoint_scores"][:4] = [1.7, -0.2, float("nan"), float("inf")]
    table = read_keypoints([write_json(tmp_path / "a.json", [person])])
    assert table.confidence[0, :4].tolist() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -float("inf"), None, 2 * FARTHEST_PX])
def test_keypoint_without_a_usable_place_was_not_seen(tmp_path: Path, nonsense: float | None) -> None:
    person = instance(1)
    person["keypoints"][5][1] = nonsense
    person["keypoints"][6] = [nonsense, nonsense]
    table = read_keypoints([write_json(tmp_path / "a.json", [person, instance(2)])])
    assert table.status.tolist() == [Status.OK, Status.OK]
    assert np.flatnonzero(table.confidence[0] == 0).tolist() == [5, 6]
    assert not table.keypoints[0, 5:7].any()
    assert_person(table, 1, 2)


def test_number_beyond_float64_and_a_point_that_is_null_were_not_seen(tmp_path: Path) -> None:
    person = instance(1)
    person["keypoints"][0] = None
    text = json.dumps([person]).replace(str(person["keypoints"][1][0]), "1e999")
    (tmp_path / "a.json").write_text(text.replace(str(person["keypoints"][2][0]), "9" * 400))
    table = read_keypoints([tmp_path / "a.json"])
    assert np.flatnonzero(table.confidence[0] == 0).tolist() == [0, 1, 2]


def test_not_a_number_inside_a_text_stays_as_it_is(tmp_path: Path) -> None:
    record = {"image_id": 'a "NaN", -Infinity \\', "keypoints": [float("nan")] * 51}
    table = read_keypoints([write_json(tmp_path / "a.json", [record])])
    assert table.image.to_pylist() == [record["image_id"]]


BROKEN_INSTANCES = {
    "wrong count": (instance(1, 16), "16 keypoints, expected 17"),
    "scores of another count": ({**instance(1), "keypoint_scores": [0.5]}, "17 keypoints and 1 keypoint_scores"),
    "no keypoints": ({"keypoint_scores": [0.5] * 17}, "it has no keypoints"),
    "no scores": ({"keypoints": instance(1)["keypoints"]}, "it has no keypoint_scores"),
    "text": ({**instance(1), "keypoints": "abc"}, "keypoints is 'abc'"),
    "text in a point": ({**instance(1), "keypoints": [["1", 2.0]] * 17}, "keypoints[0][0] is '1', expected a number"),
    "truth value": ({**instance(1), "keypoint_scores": [True] * 17}, "keypoint_scores[0] is True"),
    "three coordinates": ({**instance(1), "keypoints": [[1.0, 2.0, 3.0]] * 17}, "expected [x, y]"),
    "not an object": ("person", "'person' is not an object"),
    "null": (None, "None is not an object"),
}


@pytest.mark.parametrize(("broken", "message"), BROKEN_INSTANCES.values(), ids=BROKEN_INSTANCES.keys())
@pytest.mark.parametrize("video", [True, False])
def test_broken_instance_is_named_and_loses_no_other(tmp_path: Path, broken: object, message: str, video: bool) -> None:
    people = [instance(1), broken, instance(2)]
    content = [{"frame_id": 0, "instances": [instance(3)]}, {"frame_id": 1, "instances": people}] if video else people
    table = read_keypoints([write_json(tmp_path / "a.json", content)])
    first = 1 if video else 0
    assert table.status[first:].tolist() == [Status.OK, Status.BAD_INPUT, Status.OK]
    assert table.instance[first:].tolist() == [0, 1, 2]
    assert_person(table, first, 1)
    assert_person(table, first + 2, 2)
    detail = table.detail[first + 1].as_py()
    place = "record[1].instances[1]" if video else "record[1]"
    assert detail.startswith(f"{tmp_path / 'a.json'}: {place}: ")
    assert message in detail
    assert "\n" not in detail


@pytest.mark.parametrize("broken", [{"instances": []}, {"frame_id": "x", "instances": []}, {"frame_id": 1}, 7, None])
def test_broken_frame_is_named_and_loses_no_other(tmp_path: Path, broken: object) -> None:
    frames = [{"frame_id": 0, "instances": [instance(1)]}, broken, {"frame_id": 2, "instances": [instance(2)]}]
    content = {"meta_info": meta_info(), "instance_info": frames}
    table = read_keypoints([write_json(tmp_path / "a.json", content)])
    assert table.status.tolist() == [Status.OK, Status.BAD_INPUT, Status.OK]
    assert f"{tmp_path / 'a.json'}: instance_info[1]: " in table.detail[1].as_py()


def test_broken_first_record_hides_neither_form_nor_schema(tmp_path: Path) -> None:
    table = read_keypoints([write_json(tmp_path / "a.json", ["?", instance(1, 16), instance(2)])])
    assert table.schema == COCO_17
    assert table.status.tolist() == [Status.BAD_INPUT, Status.BAD_INPUT, Status.OK]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
@with_files
def test_every_person_of_every_frame_has_one_row(tmp_path_factory, people: list[int]) -> None:
    frames = [
        {"frame_id": k, "instances": [instance(10 * k + i) for i in range(count)]} for k, count in enumerate(people)
    ]
    table = read_keypoints([write_json(tmp_path_factory.mktemp("v") / "v.json", frames)])
    expected = [(f"v_{k:06d}", i) for k, count in enumerate(people) for i in (range(count) if count else [-1])]
    assert list(zip(table.image.to_pylist(), table.instance.tolist(), strict=True)) == expected
