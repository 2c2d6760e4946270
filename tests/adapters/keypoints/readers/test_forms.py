"""Every form that is read gives the keypoints that are in it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.keypoints.readers import ReadingOptions, open_keypoints, read_keypoints
from adapters.keypoints.readers.file_schema import kept_schema
from benchmarks.keypoint_forms import FORMS, SIZE, KeypointForm, make_people
from engine.body.schemas import BLAZEPOSE_33, BODY_25, COCO_17, OPENPOSE_18, find_schema
from engine.scores import Status
from tests.adapters.sample_keypoints import instance, points, triples, write_json

BIG = ReadingOptions(image_size=SIZE)
by_name = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def _write(folder: Path, form: KeypointForm, count: int = 3) -> Path:
    path = folder / f"file{form.suffix}"
    path.write_bytes(form.write(make_people(count, form.schema), form.schema))
    return path


@by_name
def test_form_gives_what_is_in_it(tmp_path: Path, form: KeypointForm) -> None:
    table = read_keypoints([_write(tmp_path, form)], options=BIG if form.sized else ReadingOptions())
    people = make_people(3, form.schema)
    assert table.schema.keypoint_names == kept_schema(form.schema).keypoint_names
    assert table.status.tolist() == [Status.OK] * 3
    columns = list(form.schema.columns_of(table.schema.keypoint_names))
    np.testing.assert_array_equal(table.keypoints, people.keypoints[:, columns])
    # MediaPipe's landmarks of less than 0.5 are not seen.
    scores = np.where(people.scores < 0.5, 0, people.scores) if form.schema is BLAZEPOSE_33 else people.scores
    expected = scores[:, columns] if form.scored else (scores[:, columns] > 0).astype(np.float32)
    np.testing.assert_allclose(table.confidence, expected, rtol=1e-6)
    assert len(set(zip(table.image.to_pylist(), table.instance.tolist(), strict=True))) == 3


@by_name
def test_pieces_are_the_whole(tmp_path: Path, form: KeypointForm) -> None:
    path = _write(tmp_path, form, 7)
    whole = read_keypoints([path], options=BIG)
    tables = list(open_keypoints([path], chunk_size=2, options=BIG))
    assert [len(table) for table in tables[:3]] == [2, 2, 2]
    np.testing.assert_array_equal(np.concatenate([table.keypoints for table in tables]), whole.keypoints)
    assert [name for table in tables for name in table.image.to_pylist()] == whole.image.to_pylist()


@pytest.mark.parametrize("form", [form for form in FORMS if form.sized], ids=lambda form: form.name)
def test_fractions_without_a_size_are_refused_with_the_remedy(tmp_path: Path, form: KeypointForm) -> None:
    table = read_keypoints([_write(tmp_path, form)])
    assert table.status.tolist() == [Status.BAD_INPUT] * 3
    assert "look normalised" in table.detail[0].as_py()
    assert "--image-size WIDTHxHEIGHT" in table.detail[0].as_py()


@pytest.mark.parametrize(
    "content",
    [
        {"people": []},
        [{"people": [], "canvas_width": 9, "canvas_height": 9}],
        [{"people": [{"pose_keypoints_2d": None}], "canvas_width": 9, "canvas_height": 9}],
        {"predictions": [[]], "visualization": []},
        [[]],
        [],
        {"keypoints": [], "scores": []},
        {"keypoints": [{}], "skeleton": {"0": "nose"}},
        {"boxes": [], "labels": [], "scores": [], "keypoints": [], "keypoints_scores": []},
        {"pose_landmarks": []},
        {"pose_landmarks": None},
        {"images": [{"id": 1, "file_name": "file"}], "annotations": [], "categories": []},
    ],
    ids=lambda content: json.dumps(content)[:40],
)
def test_picture_without_anybody_is_one(tmp_path: Path, content: Any) -> None:
    table = read_keypoints([write_json(tmp_path / "file.json", content)])
    assert table.status.tolist() == [Status.NO_DETECTION]
    assert table.image.to_pylist() == ["file"]


def test_empty_labels_are_a_picture_without_anybody(tmp_path: Path) -> None:
    (tmp_path / "anna.txt").write_text("")
    assert read_keypoints([tmp_path]).status.tolist() == [Status.NO_DETECTION]


@pytest.mark.parametrize("value", [(0.0, 0.0), (-1.0, -1.0), (-5.0, 100.0)])
def test_marks_and_points_outside_of_the_picture_are_not_seen_whatever_their_score(tmp_path: Path, value) -> None:
    person = instance(1)
    person["keypoints"][4] = list(value)
    person["keypoint_scores"][4] = 0.9
    table = read_keypoints([write_json(tmp_path / "a.json", [person])])
    assert np.flatnonzero(table.confidence[0] == 0).tolist() == [4]


def test_low_scores_are_not_seen_and_flags_are_no_scores(tmp_path: Path) -> None:
    person = instance(1)
    person["keypoint_scores"][3] = 0.29
    path = write_json(tmp_path / "a.json", [person])
    assert read_keypoints([path]).confidence[0, 3] == 0
    assert read_keypoints([path], options=ReadingOptions(0.2)).confidence[0, 3] == np.float32(0.29)
    flat = triples(1)
    flat[2::3] = [1] * 17
    names = list(COCO_17.keypoint_names)
    dataset = {
        "images": [{"id": 1, "file_name": "a"}],
        "annotations": [{"image_id": 1, "category_id": 1, "keypoints": flat}],
        "categories": [{"id": 1, "keypoints": names}],
    }
    path = write_json(tmp_path / "b.json", dataset)
    assert (read_keypoints([path], options=ReadingOptions(0.9)).confidence == 0.5).all()


def test_points_beyond_the_size_that_the_file_gives_are_not_seen(tmp_path: Path) -> None:
    person = {"pose_keypoints_2d": [number for x, y in points(1, 18) for number in (x, y, 0.9)]}
    content = {"people": [person], "canvas_width": 500, "canvas_height": 10_000}
    table = read_keypoints([write_json(tmp_path / "a.json", content)])
    wide = np.array(points(1, 18))[:, 0] > 499.5
    assert 0 < wide.sum() < 18
    np.testing.assert_array_equal(table.confidence[0] == 0, wide)


def test_points_left_of_the_picture_for_most_of_a_person_are_refused(tmp_path: Path) -> None:
    person = instance(1)
    person["keypoints"] = [[x - 2000, y] for x, y in person["keypoints"]]
    table = read_keypoints([write_json(tmp_path / "a.json", [person])])
    assert table.status.tolist() == [Status.BAD_INPUT]
    assert "17 of its 17 points have a negative coordinate" in table.detail[0].as_py()


def test_boxes_come_with_the_people_and_survive_parquet_and_npz(tmp_path: Path) -> None:
    from adapters.keypoints.writers import write_keypoints

    table = read_keypoints([write_json(tmp_path / "a.json", [instance(1), {**instance(2), "bbox": None}])])
    assert table.box is not None
    assert table.box[0].tolist() == [0.0, 0.0, 10.0, 20.0]
    assert np.isnan(table.box[1]).all()
    for suffix in (".parquet", ".npz"):
        write_keypoints(tmp_path / f"k{suffix}", table)
        np.testing.assert_array_equal(read_keypoints([tmp_path / f"k{suffix}"]).box, table.box)


def test_openpose_names_pictures_by_their_files(tmp_path: Path) -> None:
    for k in range(2):
        flat = [number for x, y in points(k, 25) for number in (x, y, 0.9)]
        write_json(tmp_path / f"walk_{k:012d}_keypoints.json", {"people": [{"pose_keypoints_2d": flat}]})
    table = read_keypoints([tmp_path])
    assert table.schema == BODY_25
    assert table.image.to_pylist() == ["walk_000000000000", "walk_000000000001"]


def test_openpifpaf_writes_a_video_as_one_object_a_line(tmp_path: Path) -> None:
    frames = [{"frame": k, "predictions": [{"keypoints": triples(k), "score": 0.9}] * (k != 1)} for k in range(3)]
    (tmp_path / "walk.json").write_text("\n".join(json.dumps(frame) for frame in frames))
    table = read_keypoints([tmp_path / "walk.json"])
    assert table.image.to_pylist() == ["walk_000000", "walk_000001", "walk_000002"]
    assert table.status.tolist() == [Status.OK, Status.NO_DETECTION, Status.OK]


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name.replace("_", " ").title(),
        lambda name: name.replace("_", "-").capitalize(),
        lambda name: name.replace("left_", "l_").replace("right_", "r_"),
        lambda name: "-".join(reversed(name.split("_"))),
        lambda name: "".join(part.capitalize() for part in name.split("_")),
        lambda name: name.upper(),
    ],
)
def test_names_are_known_however_they_are_spelt(tmp_path: Path, spell: Any) -> None:
    order = np.random.default_rng(0).permutation(17)
    names = [spell(COCO_17.keypoint_names[k]) for k in order]
    content = {
        "images": [{"id": 1, "file_name": "a"}],
        "annotations": [{"image_id": 1, "category_id": 1, "keypoints": triples(1)}],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    table = read_keypoints([write_json(tmp_path / "a.json", content)], COCO_17)
    np.testing.assert_array_equal(table.keypoints[0, order], np.array(points(1), np.float32))


def _dataset_with_names(folder: Path, names: list[str], count: int = 17) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a"}],
        "annotations": [{"image_id": 1, "category_id": 1, "keypoints": triples(1, count)}],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    return write_json(folder / "a.json", content)


def test_unknown_names_are_listed_and_overridden_by_the_schema(tmp_path: Path) -> None:
    path = _dataset_with_names(tmp_path, [str(k) for k in range(17)])
    with pytest.raises(ValueError, match=r"unknown keypoint names: 0, 1, 2, .*knows nose, .*give --schema coco17"):
        read_keypoints([path])
    assert read_keypoints([path], COCO_17).keypoints[0].tolist() == points(1)


def test_records_decide_where_categories_list_another_number(tmp_path: Path) -> None:
    path = _dataset_with_names(tmp_path, list(COCO_17.keypoint_names), 26)
    assert read_keypoints([path]).schema == find_schema("halpe26")


def test_eighteen_keypoints_of_unknown_origin_are_refused_and_named_by_the_caller(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [{"image_id": 1, "keypoints": triples(1, 18)}])
    with pytest.raises(ValueError, match="18 keypoints do not tell their order: OpenPose's COCO order"):
        read_keypoints([path])
    assert read_keypoints([path], OPENPOSE_18).schema == OPENPOSE_18


def test_unknown_form_says_what_was_seen_and_where_recipes_are(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [{"skeleton": [1, 2], "person": 3}])
    with pytest.raises(ValueError, match=r"1 objects with the keys person, skeleton; docs/keypoint-files\.md"):
        read_keypoints([path])


def test_csv_with_a_bad_number_loses_one_row(tmp_path: Path) -> None:
    form = next(form for form in FORMS if form.name == "CSV, wide")
    lines = form.write(make_people(3, COCO_17), COCO_17).decode().split("\n")
    lines[2] = lines[2].replace(lines[2].split(",")[1], "oops", 1)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    table = read_keypoints([tmp_path / "a.csv"])
    assert table.status.tolist() == [Status.OK, Status.BAD_INPUT, Status.OK]
    assert table.detail[1].as_py().startswith(f"{tmp_path / 'a.csv'}: row 1: ")
