"""Folders beside a page: nothing that samebody did not write there is ever deleted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.results import own_folder
from adapters.results.own_folder import (
    LIST_NAME,
    check_own_files,
    check_own_folder,
    fill_own_folder,
    own_files,
    remove_own_folder,
)

FIRST = [("000000.jpg", b"first"), ("000001.jpg", b"second")]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LIST_NAME}


def test_a_folder_of_its_own_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "page_files"
    fill_own_folder(folder, FIRST)
    fill_own_folder(folder, [("000001.jpg", b"new")])
    assert _contents(folder) == {"000001.jpg": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["page_files"]
    remove_own_folder(folder)
    assert list(tmp_path.iterdir()) == []


def _photographs(folder: Path) -> None:
    """Names as COCO has them."""
    folder.mkdir()
    for number in (139, 285, 632):
        (folder / f"{number:012d}.jpg").write_bytes(b"an original")


def _one_more(folder: Path) -> None:
    fill_own_folder(folder, FIRST)
    (folder / "000002.jpg").write_bytes(b"an original")


def _another_content(folder: Path) -> None:
    fill_own_folder(folder, FIRST)
    (folder / "000001.jpg").write_bytes(b"an original")


def _a_folder_inside(folder: Path) -> None:
    fill_own_folder(folder, FIRST)
    (folder / "originals").mkdir()


def _a_link_inside(folder: Path) -> None:
    fill_own_folder(folder, FIRST)
    (folder.parent / "original.jpg").write_bytes(b"first")
    (folder / "000000.jpg").unlink()
    (folder / "000000.jpg").symlink_to(folder.parent / "original.jpg")


def _a_list_of_others(folder: Path) -> None:
    _photographs(folder)
    (folder / LIST_NAME).write_text('{"format": "samebody-files-1", "files": {"000000000139.jpg": "0"}}')


def _a_link(folder: Path) -> None:
    fill_own_folder(folder.with_name("elsewhere"), FIRST)
    folder.symlink_to(folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    "make",
    [_photographs, _one_more, _another_content, _a_folder_inside, _a_link_inside, _a_list_of_others, _a_link],
)
def test_a_folder_with_anything_else_is_refused_and_stays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "photos_files"
    make(folder)
    before = {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}
    with pytest.raises(ValueError, match="photos_files"):
        fill_own_folder(folder, [("000000.jpg", b"new")])
    assert {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))} == before


def test_a_folder_that_holds_an_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page_files" / "below").mkdir(parents=True)
    for keep in (tmp_path / "page_files", tmp_path / "page_files" / "below"):
        with pytest.raises(ValueError, match="lies in it"):
            check_own_folder(tmp_path / "page_files", [keep])
    check_own_folder(tmp_path / "other_files", [tmp_path])


def test_an_interruption_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "page_files"
    fill_own_folder(folder, FIRST)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(own_folder.os, "rename", interrupt)
    monkeypatch.setattr(own_folder, "remove_own_folder", lambda folder: None)
    with pytest.raises(KeyboardInterrupt):
        fill_own_folder(folder, [("000000.jpg", b"new")])
    assert _contents(folder) == dict(FIRST)
    assert os.listdir(tmp_path) == ["page_files"]


class TestOwnFiles:
    """Files in a folder that others use too."""

    def test_its_own_are_written_again_and_others_stay(self, tmp_path: Path) -> None:
        folder = tmp_path / "made"
        for content in (b"first", b"second"):
            with own_files(folder, ["a", "b"]):
                (folder / "a").write_bytes(content)
            (folder / "other").write_bytes(b"an original")
        assert _contents(folder) == {"a": b"second", "other": b"an original"}
        with own_files(folder, ["c"]):
            (folder / "c").write_bytes(b"third")
        check_own_files(folder, ["a", "b", "c"])

    def test_an_interrupted_run_may_write_again(self, tmp_path: Path) -> None:
        def interrupted() -> None:
            (tmp_path / "a").write_bytes(b"half")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), own_files(tmp_path, ["a", "b"]):
            interrupted()
        with own_files(tmp_path, ["a", "b"]):
            (tmp_path / "a").write_bytes(b"whole")
        assert _contents(tmp_path) == {"a": b"whole"}

    @pytest.mark.parametrize("name", ["a", LIST_NAME])
    def test_files_of_others_are_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"an original")
        with pytest.raises(ValueError, match="did not write"), own_files(tmp_path, ["a"]):
            pass
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an original"]

    def test_a_file_that_was_changed_or_is_a_link_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "made"
        with own_files(folder, ["a", "b"]):
            for name in ("a", "b"):
                (folder / name).write_bytes(b"ours")
        (folder / "a").write_bytes(b"theirs")
        (folder / "b").rename(tmp_path / "elsewhere")
        (folder / "b").symlink_to(tmp_path / "elsewhere")
        for name in ("a", "b"):
            with pytest.raises(ValueError, match=f"{name} would be overwritten"):
                check_own_files(folder, [name])
