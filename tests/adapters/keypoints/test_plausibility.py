"""Keypoints in a wrong order are told from people, as a whole and row by row."""

from dataclasses import replace

import numpy as np
import pytest

from adapters.keypoints.people import box_areas, chosen_lines
from adapters.keypoints.plausibility import FILE_CLUTTER, FILE_STRETCH, PlausibilityTally, judged, measure
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.reading_report import ReadingReport
from adapters.keypoints.table import KeypointTable
from engine.body.schemas import COCO_17, HALPE_26, OPENPOSE_18
from engine.scores import Status
from tests.places import DEMO


@pytest.fixture(scope="module")
def people() -> KeypointTable:
    return read_keypoints([DEMO / "dataset.parquet"])


def _problem(table: KeypointTable) -> str | None:
    tally = PlausibilityTally()
    judged(table, tally)
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


def test_measures_do_not_depend_on_scale_place_and_turn(people) -> None:
    turned = people.keypoints @ np.float32([[0, 3], [-3, 0]]) + np.float32([7000, 50])
    for before, after in zip(measure(people), measure(replace(people, keypoints=turned)), strict=True):
        np.testing.assert_allclose(after, before, atol=2e-3)


def test_measures_of_the_same_points_are_the_same_in_every_schema(people) -> None:
    wide = np.zeros((len(people), 26, 2), np.float32)
    seen = np.zeros((len(people), 26), np.float32)
    wide[:, :17], seen[:, :17] = people.keypoints, people.confidence
    other = replace(people, schema=HALPE_26, keypoints=wide, confidence=seen)
    for before, after in zip(measure(people), measure(other), strict=True):
        np.testing.assert_array_equal(before, after)


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
    assert np.isnan(measure(replace(people, confidence=confidence))[0]).all()


def test_no_points_and_coinciding_points_are_no_error(people) -> None:
    for keypoints in (np.zeros_like(people.keypoints), np.full_like(people.keypoints, 7)):
        for values in measure(replace(people, keypoints=keypoints)):
            assert np.isnan(values).all()


def test_pieces_give_the_median_of_the_whole(people) -> None:
    stretch, clutter = measure(people)
    assert np.median(stretch) < FILE_STRETCH
    assert np.median(clutter) < FILE_CLUTTER
    bent = _reordered(people, list(range(17))[::-1])
    one, many = PlausibilityTally(), PlausibilityTally()
    one.add(*measure(bent))
    for values in zip(*(np.array_split(v, 7) for v in measure(bent)), strict=True):
        many.add(*values)
    assert one.problem() == many.problem() is not None


def test_report_counts_and_refuses(people) -> None:
    report = ReadingReport()
    report.add(people)
    assert list(report.lines()) == []
    report.check_references(force=False)
    reversed_people = _reordered(people, list(range(17))[::-1])
    report.clear()
    report.add(judged(reversed_people, report.plausibility))
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
