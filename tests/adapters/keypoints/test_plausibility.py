"""Keypoints in a wrong order are told from people, as a whole and row by row."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters.keypoints.file_plausibility import FEWEST_ROWS, FilesPlausibility, Tally
from adapters.keypoints.people import box_areas, chosen_lines
from adapters.keypoints.plausibility import judged, measure
from adapters.keypoints.readers import ReadingOptions, open_keypoints, read_keypoints
from adapters.keypoints.reading_report import ReadingReport
from adapters.keypoints.table import KeypointTable
from engine.body.schemas import BODY_25, COCO_17, HALPE_26, OPENPOSE_18
from engine.scores import Status
from tests.places import DEMO


@pytest.fixture(scope="module")
def people() -> KeypointTable:
    return read_keypoints([DEMO / "dataset.parquet"])


def _problem(table: KeypointTable) -> str | None:
    tally = Tally()
    tally.add(measure(table))
    return tally.problem()


def _reordered(table: KeypointTable, order: list[int]) -> KeypointTable:
    return replace(table, keypoints=table.keypoints[:, order], confidence=table.confidence[:, order])


def test_people_are_plausible(people) -> None:
    assert _problem(people) is None
    assert judged(people) is people


def test_wrong_orders_are_not(people) -> None:
    openpose = [COCO_17.keypoint_names.index(n) for n in OPENPOSE_18.keypoint_names if n in COCO_17.keypoint_names]
    for order in (openpose, list(np.random.default_rng(0).permutation(17)), list(range(17))[::-1]):
        message = _problem(_reordered(people, order))
        assert message is not None
        assert "likely causes: keypoints in another order" in message


def test_pictures_stretched_to_twice_their_width_are_not(people) -> None:
    assert _problem(replace(people, keypoints=people.keypoints * np.float32([2, 1]))) is not None


def test_pictures_of_half_their_width_are_not(people) -> None:
    message = _problem(replace(people, keypoints=people.keypoints * np.float32([0.5, 1])))
    assert message is not None
    assert "resized without keeping their proportions" in message


def _who_face_the_camera(table: KeypointTable) -> KeypointTable:
    """People with both ears and the left shoulder on the right; the others of the demo show faces through heads."""
    rows = np.flatnonzero(measure(table).mirrored == 0)
    names = ("instance", "keypoints", "confidence", "status")
    arrays = {name: getattr(table, name)[rows] for name in names}
    return replace(table, image=table.image.take(rows), detail=table.detail.take(rows), **arrays)


def test_exchanged_axes_are_told_from_people_who_lie(people) -> None:
    seen = _who_face_the_camera(people)
    assert len(seen) > 5
    assert _problem(seen) is None
    message = _problem(replace(seen, keypoints=seen.keypoints[..., ::-1]))
    assert message is not None
    assert "x and y exchanged" in message
    lying = np.stack([seen.keypoints[..., 1], 1000 - seen.keypoints[..., 0]], axis=-1)
    assert _problem(replace(seen, keypoints=lying)) is None


def test_measures_do_not_depend_on_scale_and_place_nor_distances_on_turns(people) -> None:
    larger = measure(replace(people, keypoints=people.keypoints * 3 + np.float32([7000, 50])))
    for name, before in vars(measure(people)).items():
        np.testing.assert_allclose(getattr(larger, name), before, atol=2e-3)
    turned = measure(replace(people, keypoints=people.keypoints @ np.float32([[0, 3], [-3, 0]])))
    for name in ("stretch", "clutter"):
        np.testing.assert_allclose(getattr(turned, name), getattr(measure(people), name), atol=2e-3)


def test_measures_of_the_same_points_are_the_same_in_every_schema(people) -> None:
    wide = np.zeros((len(people), 26, 2), np.float32)
    seen = np.zeros((len(people), 26), np.float32)
    wide[:, :17], seen[:, :17] = people.keypoints, people.confidence
    other = replace(people, schema=HALPE_26, keypoints=wide, confidence=seen)
    for name, before in vars(measure(people)).items():
        np.testing.assert_array_equal(before, getattr(measure(other), name))


def test_a_row_that_cannot_be_a_person_has_its_own_status_and_loses_its_keypoints(people) -> None:
    keypoints = people.keypoints.copy()
    keypoints[3] = 500 + 0.5 * np.arange(34).reshape(17, 2) % 3
    keypoints[3, 9:11] = [[10, 10], [900, 900]]
    table = judged(replace(people, keypoints=keypoints))
    assert np.flatnonzero(table.status != Status.OK).tolist() == [3]
    assert table.status[3] == Status.IMPLAUSIBLE
    assert not table.confidence[3].any()
    assert "not those of a person" in table.detail[3].as_py()


def test_few_points_are_not_judged(people) -> None:
    confidence = people.confidence.copy()
    confidence[:, 7:] = 0
    assert np.isnan(measure(replace(people, confidence=confidence)).stretch).all()


def test_no_points_and_coinciding_points_are_no_error(people) -> None:
    for keypoints in (np.zeros_like(people.keypoints), np.full_like(people.keypoints, 7)):
        for values in vars(measure(replace(people, keypoints=keypoints))).values():
            assert np.isnan(values).all()


def test_one_keypoint_that_is_far_off_does_not_cost_the_others(people) -> None:
    keypoints = people.keypoints.copy()
    keypoints[:, 0] = [0, 5000]
    far = replace(people, keypoints=keypoints)
    assert (measure(far).stretch > 2).all()
    assert judged(far) is far


def test_pieces_give_the_median_of_the_whole(people) -> None:
    bent = measure(_reordered(people, list(range(17))[::-1]))
    one, many = Tally(), Tally()
    one.add(bent)
    for start in range(0, len(people), 7):
        many.add(bent.rows(start, start + 7))
    assert one.problem() == many.problem() is not None


def test_one_picture_has_wider_bounds_than_many_and_a_pose_that_is_held_counts_once(people) -> None:
    stretch = measure(people).stretch
    odd = int(np.flatnonzero((stretch > 0.5) & (stretch < 0.7))[0])
    held = replace(people, keypoints=np.repeat(people.keypoints[odd : odd + 1], len(people), axis=0))
    assert _problem(held) is None


def test_one_wrong_file_among_several_is_named(people, tmp_path) -> None:
    paths = [tmp_path / name for name in ("a.npz", "b.npz", "c.npz")]
    wrong = _reordered(people, list(range(17))[::-1])
    for path, table in zip(paths, (people, wrong, people), strict=True):
        np.savez(path, keypoints=table.keypoints, keypoint_scores=table.confidence)
    source = open_keypoints(paths, options=ReadingOptions(judge=True))
    assert sum(len(table) for table in source) == 3 * len(people)
    (line,) = (line for line in source.report.lines() if "as a whole" in line)
    assert line.startswith(f"{paths[1]}: ")


def test_folders_of_one_file_a_picture_are_judged_together(people) -> None:
    wrong = measure(_reordered(people, list(range(17))[::-1]))
    good = measure(people)
    count = len(people)
    paths = tuple(f"{folder}/{k}.json" for folder in ("good", "wrong", "more") for k in range(count))
    files = FilesPlausibility(paths)
    for first, measures in ((0, good), (count, wrong), (2 * count, good)):
        files.add(measures, np.arange(first, first + count))
    (problem,) = files.problems()
    assert problem.startswith("wrong: ")
    assert count >= FEWEST_ROWS


def test_report_counts_and_refuses(people) -> None:
    report = ReadingReport()
    report.add(people)
    assert list(report.lines()) == []
    report.check_references(force=False)
    reversed_people = _reordered(people, list(range(17))[::-1])
    report.clear()
    report.plausibility.add(measure(reversed_people))
    report.add(judged(reversed_people))
    with pytest.raises(ValueError, match=r"implausible as a whole.*--force"):
        report.check_references(force=False)
    report.check_references(force=True)


def test_the_files_own_boxes_decide_who_is_largest(people) -> None:
    two = replace(
        people,
        **{
            name: getattr(people, name)[:2]
            for name in ("image", "instance", "keypoints", "confidence", "status", "detail")
        },
    )
    two = replace(two, image=two.image.take([0, 0]), instance=np.array([0, 1], np.int32))
    boxed = replace(two, box=np.float32([[0, 0, 9, 9], [0, 0, 90, 90]]))
    assert box_areas(boxed).tolist() == [81, 8100]
    # One box among two people is no measure.
    half = replace(two, box=np.float32([[0, 0, 1e4, 1e4], [np.nan] * 4]))
    np.testing.assert_array_equal(box_areas(half), box_areas(two))
    (line,) = chosen_lines(boxed, np.array([1]))
    assert line.startswith(f"{two.image[0].as_py()}: person 1 of 2, around (")


def _results(path: Path, table: KeypointTable, names: tuple[str, ...]) -> Path:
    """COCO results without names; a neck is the middle of the shoulders; unknown points are not seen."""
    place = {name: table.keypoints[:, k] for k, name in enumerate(table.schema.keypoint_names)}
    place["neck"] = (place["left_shoulder"] + place["right_shoulder"]) / 2
    points = np.stack([place.get(name, np.zeros_like(place["neck"])) for name in names], axis=1)
    records = [{"image_id": k, "category_id": 1, "keypoints": own.tolist()} for k, own in enumerate(points)]
    path.write_text(json.dumps(records))
    return path


def test_the_order_of_keypoints_without_names_is_that_in_which_they_look_like_people(people, tmp_path) -> None:
    coco = COCO_17.keypoint_names
    orders = {
        "openpose18": OPENPOSE_18.keypoint_names,
        "coco17": (*coco, "neck"),
        "body25": BODY_25.keypoint_names,
        "body25b": (*coco, *map(str, range(8))),
    }
    for name, order in orders.items():
        assert read_keypoints([_results(tmp_path / f"{name}.json", people, order)]).schema.name == name
    with pytest.raises(ValueError, match="18 keypoints do not tell their order"):
        read_keypoints([_results(tmp_path / "x.json", people, tuple(reversed(OPENPOSE_18.keypoint_names)))])
