"""COCO keypoint JSON: results and datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import HIDDEN_CONFIDENCE
from engine.body.schemas import COCO_17, WHOLEBODY_133
from engine.scores import Status
from tests.adapters.sample_keypoints import assert_person, triples, write_json

PERSON = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoint_names)}


def result(image_id: int | str, seed: int) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "keypoints": triples(seed), "score": 0.9}


def annotation(image_id: int, seed: int, flag: int = 2, category_id: int = 1) -> dict[str, Any]:
    keypoints = triples(seed)
    keypoints[2::3] = [flag] * 17
    return {"id": seed, "image_id": image_id, "category_id": category_id, "keypoints": keypoints, "iscrowd": 0}


def dataset(annotations: list[Any], **changes: Any) -> dict[str, Any]:
    images = [{"id": k, "file_name": f"{k:03d}.jpg", "height": 9} for k in range(4)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": [PERSON], **changes}


def test_results_number_the_people_of_each_picture_in_order(tmp_path: Path) -> None:
    content = [result(7, 1), result("b.jpg", 2), result(7, 3)]
    table = read_keypoints([write_json(tmp_path / "r.json", content)])
    assert table.image.to_pylist() == ["7", "b.jpg", "7"]
    assert table.instance.tolist() == [0, 0, 1]
    for row, seed in enumerate((1, 2, 3)):
        assert_person(table, row, seed)


def test_dataset_calls_pictures_by_file_and_lists_those_without_people_last(tmp_path: Path) -> None:
    content = dataset([annotation(2, 1), annotation(0, 2), annotation(2, 3)])
    table = read_keypoints([write_json(tmp_path / "d.json", content)])
    assert table.image.to_pylist() == ["002.jpg", "000.jpg", "002.jpg", "001.jpg", "003.jpg"]
    assert table.instance.tolist() == [0, 0, 1, -1, -1]
    assert table.status.tolist() == [Status.OK] * 3 + [Status.NO_DETECTION] * 2


@pytest.mark.parametrize(("flag", "confidence"), [(0, 0.0), (1, HIDDEN_CONFIDENCE), (2, 1.0)])
def test_visibility_flags_become_confidences(tmp_path: Path, flag: int, confidence: float) -> None:
    table = read_keypoints([write_json(tmp_path / "d.json", dataset([annotation(0, 1, flag)]))])
    assert (table.confidence[0] == np.float32(confidence)).all()


def test_third_number_of_results_is_a_score_and_not_a_flag(tmp_path: Path) -> None:
    record = result(1, 1)
    record["keypoints"][2:9:3] = [1, 1.5, -1]
    table = read_keypoints([write_json(tmp_path / "r.json", [record])])
    assert table.confidence[0, :3].tolist() == [1.0, 1.0, 0.0]


def test_categories_name_the_keypoints(tmp_path: Path) -> None:
    names = ["left_hip", "right_hip", "nose"]
    person = {"id": 1, "name": "person", "keypoints": names}
    record = {"image_id": 0, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 2, 5, 6, 2]}
    table = read_keypoints([write_json(tmp_path / "d.json", dataset([record], categories=[person]))])
    assert table.schema.keypoint_names == tuple(names)
    assert table.schema.swap == (1, 0, 2)
    assert table.schema.sigmas == (0.107, 0.107, 0.026)
    assert table.keypoints[0].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_annotations_of_other_categories_are_not_people(tmp_path: Path) -> None:
    car = {"id": 3, "name": "car"}
    annotations = [{"image_id": 0, "category_id": 3, "bbox": [0, 0, 1, 1]}, annotation(0, 1), annotation(1, 2, 2, 3)]
    content = dataset(annotations, categories=[car, PERSON])
    table = read_keypoints([write_json(tmp_path / "d.json", content)])
    assert table.image.to_pylist()[:1] == ["000.jpg"]
    assert (table.status == Status.OK).sum() == 1


def test_annotation_without_keypoints_of_a_person_is_bad_input(tmp_path: Path) -> None:
    content = dataset([{"image_id": 0, "category_id": 1}, annotation(0, 1)])
    table = read_keypoints([write_json(tmp_path / "d.json", content)])
    assert table.status.tolist()[:2] == [Status.BAD_INPUT, Status.OK]
    assert table.instance.tolist()[:2] == [0, 1]
    assert "annotations[0]: it has no keypoints" in table.detail[0].as_py()


@pytest.mark.parametrize("as_dataset", [True, False])
def test_wholebody_parts_are_joined(tmp_path: Path, as_dataset: bool) -> None:
    whole = triples(1, 133)
    cuts = np.cumsum([0, 17, 6, 68, 21, 21]) * 3
    keys = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
    record = {key: whole[a:b] for key, a, b in zip(keys, cuts[:-1], cuts[1:], strict=True)}
    record |= {"image_id": 0, "category_id": 1}
    table = read_keypoints([write_json(tmp_path / "w.json", dataset([record]) if as_dataset else [record])])
    assert table.schema == WHOLEBODY_133
    np.testing.assert_array_equal(table.keypoints[0, :, 0], np.array(whole[0::3], np.float32))


@pytest.mark.parametrize(
    ("broken", "message", "image"),
    [
        ({"image_id": 5, "keypoints": [1.0] * 48}, "16 keypoints, expected 17", "5"),
        ({"image_id": 5, "keypoints": "x"}, "keypoints is 'x', expected a list of numbers", "5"),
        ({"image_id": 5, "keypoints": [[1, 2, 3, 4, 5]] * 17}, "a point has 5 numbers", "5"),
        ({"image_id": 5}, "it has no keypoints", "5"),
        ({"keypoints": [1.0] * 51}, "it has no image_id", "r"),
        ({"image_id": 1.5, "keypoints": [1.0] * 51}, "image_id is 1.5", "r"),
        ({"image_id": True, "keypoints": [1.0] * 51}, "image_id is True", "r"),
        (["x"], "is not an object", "r"),
    ],
)
def test_broken_record_is_named_and_loses_no_other(tmp_path: Path, broken: object, message: str, image: str) -> None:
    table = read_keypoints([write_json(tmp_path / "r.json", [result(1, 1), broken, result(2, 2)])])
    assert table.status.tolist() == [Status.OK, Status.BAD_INPUT, Status.OK]
    assert table.image.to_pylist() == ["1", image, "2"]
    assert table.detail[1].as_py().startswith(f"{tmp_path / 'r.json'}: record[1]: ")
    assert message in table.detail[1].as_py()
    assert_person(table, 2, 2)


def test_null_coordinates_were_not_seen(tmp_path: Path) -> None:
    record = result(1, 1)
    record["keypoints"][3] = None
    record["keypoints"][8] = None
    table = read_keypoints([write_json(tmp_path / "r.json", [record])])
    assert np.flatnonzero(table.confidence[0] == 0).tolist() == [1, 2]


def test_broken_image_entry_is_named_and_loses_no_annotation(tmp_path: Path) -> None:
    content = dataset([annotation(1, 1)], images=[{"file_name": "x.jpg"}, {"id": 1, "file_name": "y.jpg"}])
    table = read_keypoints([write_json(tmp_path / "d.json", content)])
    assert table.status.tolist() == [Status.BAD_INPUT, Status.OK]
    assert "images[0]: " in table.detail[0].as_py()
    assert table.image[1].as_py() == "y.jpg"


@pytest.mark.parametrize("categories", [5, [{"keypoints": 7}], [{"name": "p", "keypoints": ["nose", "nose"]}]])
def test_unusable_categories_are_an_error_that_names_the_file(tmp_path: Path, categories: object) -> None:
    path = write_json(tmp_path / "d.json", dataset([annotation(0, 1)], categories=categories))
    with pytest.raises(ValueError, match=r"d\.json: categories: "):
        read_keypoints([path])
