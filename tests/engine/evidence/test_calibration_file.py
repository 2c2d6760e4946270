"""Calibration files: what was written is read, the shipped one is whole, anything else is refused by name."""

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import (
    CalibrationFileError,
    as_record,
    calibration_id,
    default_calibration,
    from_record,
    load_calibration,
    save_calibration,
)
from engine.evidence.limbs import LimbModel

CALIBRATION = Calibration(
    1.3,
    np.diag(np.linspace(0, 0.3, 10)),
    "four people, a test",
    0.8,
    "0123456789abcdef",
    {"left_hip": 0.7},
    mean=np.linspace(-1, 1, 10),
    between_people=1.5 * np.eye(10),
    people_known=True,
    limbs=LimbModel(np.linspace(-1, 1, 7), np.full((7, 10), 0.02), 0.02 * np.eye(7), 0.01 * np.eye(7)),
)


def test_round_trip(tmp_path) -> None:
    save_calibration(tmp_path / "calibration.json", CALIBRATION)
    loaded = load_calibration(tmp_path / "calibration.json")
    np.testing.assert_array_equal(loaded.within_person, CALIBRATION.within_person)
    assert as_record(loaded) == as_record(CALIBRATION)
    assert calibration_id(loaded) == calibration_id(CALIBRATION)


def test_every_number_changes_the_id() -> None:
    changed = [
        replace(CALIBRATION, noise_scale=1.31),
        replace(CALIBRATION, within_person=np.zeros((10, 10))),
        replace(CALIBRATION, keypoint_noise={}),
        replace(CALIBRATION, mean=np.zeros(10)),
        replace(CALIBRATION, between_people=None),
        replace(CALIBRATION, limbs=None),
    ]
    assert len({calibration_id(one) for one in (CALIBRATION, *changed)}) == 1 + len(changed)


def test_a_file_of_version_1_is_read_and_has_the_population_of_the_body() -> None:
    record = as_record(CALIBRATION) | {"version": 1}
    for name in ("mean", "between_people", "people_known", "limbs"):
        del record[name]
    old = from_record(record)
    assert old.mean is None
    assert old.between_people is None
    np.testing.assert_array_equal(old.within_person, CALIBRATION.within_person)


def test_a_file_of_version_2_is_read_and_has_no_limbs() -> None:
    record = as_record(CALIBRATION) | {"version": 2}
    del record["limbs"]
    old = from_record(record)
    assert old.limbs is None
    assert as_record(old) == as_record(replace(CALIBRATION, limbs=None))


def test_a_file_of_before_keypoints_had_noise_of_their_own_is_read() -> None:
    record = as_record(CALIBRATION)
    del record["keypoint_noise"]
    assert from_record(record).keypoint_noise == {}


def test_the_shipped_calibration_fits_any_body_and_says_where_it_is_from() -> None:
    shipped = default_calibration()
    assert 0.5 < shipped.noise_scale < 2
    assert not shipped.within_person.any()
    shipped.check_body("any body at all")
    assert "synthetic" in shipped.provenance


def test_a_calibration_of_another_body_is_refused() -> None:
    CALIBRATION.check_body("0123456789abcdef")
    with pytest.raises(ValueError, match="samebody calibrate"):
        CALIBRATION.check_body("fedcba9876543210")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "samebody calibrate"),
        ({"version": 4}, "version 4"),
        ({"mean": [0.0, 1.0]}, "population"),
        ({"between_people": (-np.eye(10)).tolist()}, "positive definite"),
        ({"mean": [float("nan")] * 10}, "finite"),
        ({"noise_scale": 0.0}, "above 0"),
        ({"noise_scale": "much"}, "damaged"),
        ({"within_person": [[1.0, 2.0]]}, "shape"),
        ({"group_correlation": 1.5}, "between 0 and 1"),
        ({"keypoint_noise": {"left_hip": 0.0}}, "left_hip"),
        ({"keypoint_noise": ["left_hip"]}, "damaged"),
        ({"limbs": {"mean": [0.0]}}, "damaged"),
        ({"limbs": as_record(CALIBRATION)["limbs"] | {"total": [[1.0]]}}, "damaged"),
    ],
)
def test_records_that_are_no_calibration_are_refused(change, message) -> None:
    with pytest.raises(CalibrationFileError, match=message):
        from_record(as_record(CALIBRATION) | change)


@pytest.mark.parametrize("text", ["", "{", "[1]", json.dumps({"format": "samebody-calibration", "version": 1})])
def test_files_that_are_no_calibration_are_refused(tmp_path, text) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(CalibrationFileError, match=r"calibration\.json"):
        load_calibration(path)


def test_a_missing_file_is_refused_with_the_command_that_makes_one(tmp_path) -> None:
    with pytest.raises(CalibrationFileError, match="samebody calibrate"):
        load_calibration(tmp_path / "none.json")


def test_a_number_that_was_changed_is_noticed(tmp_path) -> None:
    path = tmp_path / "calibration.json"
    save_calibration(path, default_calibration())
    load_calibration(path)
    path.write_text(path.read_text().replace('"noise_scale": ', '"noise_scale": 1'))
    with pytest.raises(CalibrationFileError, match="changed since"):
        load_calibration(path)


@pytest.mark.parametrize(
    "change",
    [
        {"noise_scale": float("inf")},
        {"noise_scale": -1},
        {"within_person": (-5 * np.eye(10)).tolist()},
        {"within_person": np.full((10, 10), 1e30).tolist()},
        {"keypoint_noise": {"nose": float("inf")}},
        {"keypoint_noise": []},
        {"group_correlation": float("nan")},
    ],
    ids=str,
)
def test_impossible_numbers_are_refused(tmp_path, change) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({**as_record(default_calibration()), **change}))
    with pytest.raises(CalibrationFileError):
        load_calibration(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 10_000, "{", " " * (17 << 20)], ids=["deep", "long", "cut", "large"]
)
def test_texts_that_would_take_for_ever_are_refused(tmp_path, text) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(CalibrationFileError, match=r"calibration\.json"):
        load_calibration(path)
