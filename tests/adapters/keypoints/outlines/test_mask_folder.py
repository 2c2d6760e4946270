"""From a folder of masks to the column of a table, and from there through files and the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from adapters.commands.cli import main
from adapters.keypoints.outlines.mask_folder import add_outlines, find_masks
from adapters.keypoints.outlines.measure import measure_outline
from adapters.keypoints.readers import ReadingOptions, read_keypoints
from adapters.keypoints.readers.columnar.outline_column import OUTLINE_PLACES_KEY
from adapters.keypoints.readers.source_files import BrokenFile
from adapters.keypoints.table import KeypointTable, concat_tables, refuse_rows, slice_table
from adapters.keypoints.writers import arrow_table, write_keypoints
from engine.body.schemas import COCO_17
from engine.scores import Status
from tests.adapters.keypoints.outlines.drawn_people import drawn, standing

POINTS = standing()
OUTLINE = measure_outline(drawn(POINTS), POINTS, np.ones(17, bool), COCO_17)


def _table(*names: str) -> KeypointTable:
    count = len(names)
    return KeypointTable(
        COCO_17,
        pa.array(names, pa.string()),
        np.zeros(count, np.int32),
        np.repeat(POINTS[None], count, axis=0),
        np.ones((count, 17), np.float32),
        np.zeros(count, np.int8),
        pa.nulls(count, pa.string()),
    )


def _mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, mask)


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("anna.jpg", "anna.npz"),
        ("anna.jpg", "anna.jpg.npz"),
        ("anna", "anna.npz"),
        ("day2/anna.jpg", "day2/anna.npz"),
        ("day2/anna.jpg", "anna.npz"),
        ("anna.jpg", "day2/anna.npz"),
        ("anna.jpg", "anna_0.npz"),
        ("walk.mp4#000120", "walk_000120.npz"),
        ("walk.mp4#000120", "walk.mp4#000120.npz"),
        ("walk_000120", "walk_000120.npz"),
    ],
)
def test_a_picture_finds_its_mask(tmp_path: Path, image: str, file: str) -> None:
    _mask(tmp_path / file, drawn(POINTS))
    _mask(tmp_path / "other" / "bela.npz", drawn(POINTS))
    table, summary = add_outlines(_table(image, "nobody.jpg"), find_masks(tmp_path))
    assert table.outline_px is not None
    np.testing.assert_array_equal(table.outline_px[0], OUTLINE)
    assert np.isnan(table.outline_px[1]).all()
    assert (summary.outlined, summary.without_file, summary.refused) == (1, 1, 0)


@pytest.mark.parametrize(("image", "file"), [("walk.mp4#000120", "walk.npz"), ("version 1.2", "version 1.npz")])
def test_a_part_of_a_name_is_not_the_name(tmp_path: Path, image: str, file: str) -> None:
    _mask(tmp_path / file, drawn(POINTS))
    assert not find_masks(tmp_path).of(image)


def test_a_name_that_two_folders_have_finds_nothing(tmp_path: Path) -> None:
    for day in ("day1", "day2"):
        _mask(tmp_path / day / "anna.npz", drawn(POINTS))
    assert not find_masks(tmp_path).of("anna.jpg")
    assert len(find_masks(tmp_path).of("day2/anna.jpg")) == 1
    assert [path.name for path in find_masks(tmp_path).of("x/day2/anna.jpg")] == []


def test_masks_of_several_people_are_taken_together(tmp_path: Path) -> None:
    # Ten and more are in the order of their numbers; anna_1 is a picture of its own.
    for number in (0, 2, 10):
        _mask(tmp_path / f"anna_{number}.npz", drawn(POINTS))
    assert [path.name for path in find_masks(tmp_path).of("anna.jpg")] == ["anna_0.npz", "anna_2.npz", "anna_10.npz"]
    assert [path.name for path in find_masks(tmp_path).of("anna_2.jpg")] == ["anna_2.npz"]


def test_bad_masks_leave_a_detail_and_the_row(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"hello")
    _mask(tmp_path / "small.npz", drawn(POINTS)[150:250, 200:300])
    _mask(tmp_path / "good.npz", drawn(POINTS))
    table, summary = add_outlines(_table("broken.jpg", "small.jpg", "good.jpg"), find_masks(tmp_path))
    assert table.status.tolist() == [Status.OK] * 3
    assert "broken.npz" in table.detail[0].as_py()
    assert "100 × 100" in table.detail[1].as_py()
    assert table.detail[2].as_py() is None
    assert summary.refused == 2
    assert table.outline_px is not None
    np.testing.assert_array_equal(table.outline_px[2], OUTLINE)


def test_folders_without_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no masks"):
        find_masks(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        find_masks(tmp_path / "nowhere")


def _outlined(*names: str) -> KeypointTable:
    outlines = np.stack([OUTLINE * np.float32(1 + k) for k in range(len(names))])
    return replace(_table(*names), outline_px=outlines)


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_outlines_come_back_from_files_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    table = _outlined("a", "b", "c")
    write_keypoints(tmp_path / f"k{suffix}", table)
    read = read_keypoints([tmp_path / f"k{suffix}"])
    np.testing.assert_array_equal(read.outline_px, table.outline_px)
    without = read_keypoints([tmp_path / f"k{suffix}"], options=ReadingOptions(outlines=False))
    assert without.outline_px is None
    np.testing.assert_array_equal(without.keypoints, table.keypoints)


def test_outlines_at_other_places_are_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    stored = arrow_table(_outlined("a"))
    other = {**stored.schema.metadata, OUTLINE_PLACES_KEY.encode(): b"another"}
    pq.write_table(stored.replace_schema_metadata(other), tmp_path / "k.parquet")
    with pytest.raises(BrokenFile, match="other places"):
        read_keypoints([tmp_path / "k.parquet"])
    assert len(read_keypoints([tmp_path / "k.parquet"], options=ReadingOptions(outlines=False))) == 1


def test_tables_are_cut_and_joined_with_their_outlines() -> None:
    table = _outlined("a", "b", "c")
    parts = [slice_table(table, 0, 1), slice_table(table, 1, 3)]
    np.testing.assert_array_equal(concat_tables(COCO_17, parts).outline_px, table.outline_px)
    mixed = concat_tables(COCO_17, [_table("x"), table])
    assert mixed.outline_px is not None
    assert np.isnan(mixed.outline_px[0]).all()
    np.testing.assert_array_equal(mixed.outline_px[1:], table.outline_px)
    refused = refuse_rows(table, {1: "odd"}, Status.IMPLAUSIBLE)
    assert refused.outline_px is not None
    assert np.isnan(refused.outline_px[1]).all()
    np.testing.assert_array_equal(refused.outline_px[2], table.outline_px[2])
    with pytest.raises(ValueError, match="outline_px"):
        replace(table, outline_px=table.outline_px[:2])


def test_masks_in_coco_json_become_outlines(tmp_path: Path) -> None:
    other = standing((256 + 150, 16))
    front = drawn(other)
    own = drawn(POINTS) * (front == 0)
    records = [
        {
            "image_id": "anna.jpg",
            "category_id": 1,
            "keypoints": np.concatenate([points, np.ones((17, 1))], axis=1).ravel().tolist(),
            "score": 0.9,
            "segmentation": {"size": [512, 512], "counts": _runs(mask)},
        }
        for points, mask in ((POINTS, own), (other, front))
    ]
    broken = {**records[0], "image_id": "bela.jpg", "segmentation": {"size": [9, 9], "counts": [1]}}
    plain = {key: value for key, value in records[0].items() if key != "segmentation"} | {"image_id": "c.jpg"}
    (tmp_path / "k.json").write_text(json.dumps([records[0], broken, plain, records[1]]))
    table = read_keypoints([tmp_path / "k.json"])
    assert table.status.tolist() == [Status.OK] * 4
    assert table.outline_px is not None
    expected = measure_outline(own, POINTS, np.ones(17, bool), COCO_17, front > 0)
    np.testing.assert_array_equal(table.outline_px[0], expected)
    assert np.isnan(table.outline_px[1:3]).all()
    assert "its mask is not used" in table.detail[1].as_py()
    assert table.detail[2].as_py() is None


def _runs(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[0], (mask.T.ravel() > 0).astype(int), [2]])
    ends = np.flatnonzero(np.diff(flat) != 0)
    return np.diff([0, *ends]).tolist()


def test_the_command_line_writes_keypoints_with_outlines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_keypoints(tmp_path / "k.parquet", _table("anna.jpg", "bela.jpg"))
    _mask(tmp_path / "masks" / "anna.npz", drawn(POINTS))
    out = tmp_path / "outlined.parquet"
    assert main(["outlines", str(tmp_path / "k.parquet"), "--masks", str(tmp_path / "masks"), "--out", str(out)]) == 0
    read = read_keypoints([out])
    assert read.outline_px is not None
    np.testing.assert_array_equal(read.outline_px[0], OUTLINE)
    assert main(["outlines", str(tmp_path / "k.parquet"), "--out", str(tmp_path / "o.parquet")]) == 2
    assert "--masks" in capsys.readouterr().err
    assert main(["outlines", str(out), "--masks", str(tmp_path), "--no-outlines", "--out", str(out)]) == 2


@pytest.mark.slow
def test_fit_and_score_take_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The keypoints that are kept beside the scores hold the outlines; in rest pose a line tells that none is used."""
    keypoints, shape, out = (str(tmp_path / name) for name in ("k.parquet", "shape.npz", "scores.parquet"))
    write_keypoints(keypoints, _table("anna.jpg", "bela.jpg"))
    _mask(tmp_path / "masks" / "anna.npz", drawn(POINTS))
    given = [keypoints, "--masks", str(tmp_path / "masks"), "--pose", "rest"]
    assert main(["fit", *given, "--out", shape]) == 0
    told = capsys.readouterr().err
    assert "outlines of 1 of 2 people" in told
    assert "--pose rest" in told
    assert main(["score", *given, "--shape", shape, "--out", out]) == 0
    assert "--pose rest" in capsys.readouterr().err
    kept = read_keypoints([tmp_path / "scores.keypoints.parquet"])
    assert kept.outline_px is not None
    np.testing.assert_array_equal(kept.outline_px[0], OUTLINE)
    assert np.isnan(kept.outline_px[1]).all()
