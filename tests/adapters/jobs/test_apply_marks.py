"""Marks carried out on files: what goes, what stays and why; nothing is overwritten, nothing is lost."""

import json
import os
from pathlib import Path

import pytest

from adapters.commands.cli import main
from adapters.jobs.apply_marks import MarkedPicture, MarkFileError, carry_out, plan_marks, read_marks

NAMES = ("a/one.jpg", "a/two.jpg", "b/one.jpg", "three.png", "four.jpg")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"picture {name}")
    (folder / "four.txt").write_text("caption of four")
    return folder


def _contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _marks(path: Path, **marks: str) -> Path:
    path.write_text("image,instance,mark\n" + "".join(f"{name},0,{mark}\n" for name, mark in marks.items()))
    return path


def test_the_first_run_changes_nothing_and_the_second_what_the_first_showed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = _marks(tmp_path / "marks.csv", **{"a/one.jpg": "drop", "b/one.jpg": "keep", "four.jpg": "drop"})
    before, target = _contents(pictures), tmp_path / "dropped"
    arguments = ["apply", str(marks), "--pictures", str(pictures), "--move-to", str(target)]
    assert main(arguments) == 0
    assert _contents(pictures) == before
    assert not target.exists()
    shown = [line.split(" -> ")[1] for line in capsys.readouterr().out.splitlines() if " -> " in line]
    assert main([*arguments, "--yes"]) == 0
    assert sorted(shown) == sorted(str(path) for path in target.rglob("*") if path.is_file())
    assert _contents(target) == {name: before[name] for name in ("a/one.jpg", "four.jpg", "four.txt")}
    assert {**_contents(pictures), **_contents(target)} == before
    assert main([*arguments, "--yes"]) == 0  # again: there is nothing left to do
    assert {**_contents(pictures), **_contents(target)} == before


def test_copies_stay_where_they_were(pictures: Path, tmp_path: Path) -> None:
    before = _contents(pictures)
    plan = plan_marks([MarkedPicture("three.png", "keep")], "keep", pictures, tmp_path / "kept")
    assert carry_out(plan, move=False) == 1
    assert _contents(pictures) == before
    assert _contents(tmp_path / "kept") == {"three.png": "picture three.png"}


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize("links", [True, False])
def test_nothing_is_overwritten(
    pictures: Path, tmp_path: Path, move: bool, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file appears after the plan was made, and where the file system has no links."""
    if not links:

        def refused(*_: object, **__: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", refused)
    target = tmp_path / "target"
    marks = [MarkedPicture(name, "drop") for name in ("a/two.jpg", "three.png")]
    plan = plan_marks(marks, "drop", pictures, target)
    (target / "a").mkdir(parents=True)
    (target / "a" / "two.jpg").write_text("mine")
    with pytest.raises(FileExistsError):
        carry_out(plan, move)
    assert _contents(target) == {"a/two.jpg": "mine"}
    assert set(_contents(pictures)) >= set(NAMES)
    again = plan_marks(marks, "drop", pictures, target)
    assert [name for name, _ in again.left] == ["a/two.jpg"]
    assert carry_out(again, move) == 1
    assert _contents(target) == {"a/two.jpg": "mine", "three.png": "picture three.png"}


def test_names_reach_only_pictures_of_the_folder(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_text("outside")
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), "one.jpg", "c/two.jpg", "missing.jpg", "four.txt"]
    plan = plan_marks([MarkedPicture(name, "drop") for name in names], "drop", pictures, tmp_path / "out")
    # one.jpg could be either of two; four.txt means the picture called four.
    assert {name for name, _ in plan.left} == set(names) - {"four.txt"}
    assert [step.source.name for step in plan.steps] == ["four.jpg", "four.txt"]


def test_people_of_one_picture_who_are_marked_differently_keep_it_where_it_is(pictures: Path, tmp_path: Path) -> None:
    marks = [MarkedPicture("three.png", "drop", 0), MarkedPicture("three.png", "keep", 1)]
    plan = plan_marks(marks, "drop", pictures, tmp_path / "out")
    assert not plan.steps
    assert "differently" in plan.left[0][1]


def test_both_formats_and_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('\ufeffimage,mark\r\n"a,""b\nc.jpg",drop\r\nd.jpg,\r\n', newline="")
    assert read_marks(tmp_path / "m.csv") == [MarkedPicture('a,"b\nc.jpg', "drop")]
    record = {"format": "samebody-marks-1", "marks": [{"image": "a.jpg", "instance": 1, "mark": "keep"}]}
    (tmp_path / "m.json").write_text(json.dumps(record))
    assert read_marks(tmp_path / "m.json") == [MarkedPicture("a.jpg", "keep", 1)]
    wrong = {
        "no.csv": "name,mark\na,drop\n",
        "word.csv": "image,mark\na.jpg,delete\n",
        "other.json": json.dumps({**record, "format": "x"}),
        "broken.json": "{",
        "bytes.csv": "image,mark\n\udcff,drop\n",
    }
    for name, text in wrong.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(MarkFileError, match=name.replace(".", r"\.")):
            read_marks(tmp_path / name)
    assert main(["apply", str(tmp_path / "missing.csv"), "--pictures", str(tmp_path), "--move-to", "x"]) == 2
