"""Small things that a newcomer sees first: counts, reasons, the installation in a pipe, objects in a notebook."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import samebody as sb
from adapters.commands.check_text import _people
from adapters.commands.doctor import LINE_WIDTH, folded_lines
from adapters.results.reasons import PROPORTIONS, reasons_of
from adapters.results.vocabulary import Kind
from engine.evidence.calibration_file import default_calibration
from engine.scores import Status
from tests.places import DEMO


def test_people_are_counted_in_grammar() -> None:
    assert _people(1, 1) == "1 person in 1 picture"
    assert _people(0, 2) == "0 people in 2 pictures"
    assert _people(1200, 1) == "1,200 people in 1 picture"


def test_rows_of_the_same_body_have_no_reason() -> None:
    deviations = np.full((3, len(PROPORTIONS)), 2.0)
    kinds = np.array([Kind.SAME_BODY, Kind.UNDECIDED, Kind.ANOTHER_BODY], np.uint8)
    assert [bool(reason) for reason in reasons_of(deviations, kinds)] == [False, True, True]
    assert reasons_of(np.zeros((3, 0)), kinds) == [""] * 3


def test_lines_of_doctor_fit_into_a_pipe() -> None:
    rows = [("jax", "1.0", ""), ("embedded body", "many words " * 40, "pip install --upgrade " + "x" * 90)]
    lines = folded_lines(rows)
    commands = [line for line in lines if rows[1][2] in line]
    assert len(commands) == 1
    assert all(len(line) <= LINE_WIDTH for line in lines if line not in commands)
    assert " ".join(" ".join(lines).split()).count("many words") == 40


@pytest.fixture(scope="module")
def shape() -> sb.Shape:
    return sb.fit(DEMO / "references.parquet", settings=sb.FitSettings(mode="rest"))


def test_objects_are_shown_in_a_line(shape: sb.Shape) -> None:
    table = sb.read_keypoints(DEMO / "references.parquet")
    status = table.status.copy()
    status[0] = Status.NO_DETECTION
    for shown in (table, replace(table, status=status), shape, default_calibration()):
        assert len(repr(shown).splitlines()) == 1
        assert len(repr(shown)) < 400
    assert f"{len(table) - 1} with keypoints" in repr(replace(table, status=status))
    assert f"{shape.betas[0]:+.2f}" in repr(shape)


def test_masks_in_python_are_those_of_the_command_line(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra report")
    from adapters.commands.keypoint_input import Reading, table_with_masks
    from adapters.keypoints.readers.file_rules import FILE_RULES

    table = sb.read_keypoints(DEMO / "references.parquet")
    points = table.keypoints[0][table.confidence[0] > 0].astype(int)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    mask = np.zeros((bottom + 50, right + 50), np.uint8)
    mask[top:bottom, left:right] = 255
    image.fromarray(mask).save(tmp_path / f"{Path(table.image[0].as_py()).stem}.png")
    by_command = table_with_masks([DEMO / "references.parquet"], None, Reading(FILE_RULES, tmp_path))
    assert by_command is not None
    for given in (DEMO / "references.parquet", table):
        found = sb.read_keypoints(given, masks=tmp_path)
        assert found.outlined == 1
        np.testing.assert_array_equal(found.outline_px, by_command.outline_px)


def test_masks_that_cannot_be_used_are_warned_of(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra report")
    image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "nobody.png")
    with pytest.warns(UserWarning, match="no picture has a mask"):
        sb.read_keypoints(DEMO / "references.parquet", masks=tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        sb.read_keypoints(DEMO / "references.parquet", masks=tmp_path / "elsewhere")
