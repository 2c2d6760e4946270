"""Parquet and .npz in the forms that other programs give them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.readers.file_schema import METADATA_KEY
from adapters.keypoints.writers import write_keypoints
from engine.body.schemas import BODY_25, COCO_17
from engine.scores import Status
from tests.adapters.sample_keypoints import assert_person, assert_tables_equal, points, scores

KEYPOINTS = np.array([points(seed) for seed in range(5)], np.float32)
SCORES = np.array([scores(seed) for seed in range(5)], np.float32)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"keypoints": KEYPOINTS, "keypoint_scores": SCORES, **arrays})
    return path


def parquet(path: Path, metadata: dict[str, str] | None = None, **columns: Any) -> Path:
    given = {"keypoints": KEYPOINTS.reshape(5, 34).tolist(), "keypoint_scores": SCORES.tolist(), **columns}
    pq.write_table(pa.table({k: v for k, v in given.items() if v is not None}, metadata=metadata), path)
    return path


def lists(values: np.ndarray, width: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), width)


PARQUET_FORMS = {
    "fixed": lambda k: lists(k, 34),
    "fixed float64": lambda k: lists(k.astype(np.float64), 34),
    "variable": lambda k: pa.array(k.reshape(5, 34).tolist(), pa.list_(pa.float32())),
    "large": lambda k: pa.array(k.reshape(5, 34).tolist(), pa.large_list(pa.float64())),
    "nested": lambda k: pa.array(k.tolist(), pa.list_(pa.list_(pa.float32()))),
    "nested fixed": lambda k: pa.array(k.tolist(), pa.list_(pa.list_(pa.float32(), 2), 17)),
}


@pytest.mark.parametrize("form", PARQUET_FORMS.values(), ids=PARQUET_FORMS.keys())
def test_parquet_lists_of_every_kind_hold_the_same_keypoints(tmp_path: Path, form) -> None:
    table = read_keypoints([parquet(tmp_path / "k.parquet", keypoints=form(KEYPOINTS))])
    assert table.schema == COCO_17
    assert table.image.to_pylist() == [f"k_{row:06d}" for row in range(5)]
    assert table.instance.tolist() == [0] * 5
    for row in range(5):
        assert_person(table, row, row)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.uint8, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_numbers_of_every_kind_are_read_as_numpy_reads_them(tmp_path: Path, dtype: Any, order: Any) -> None:
    keypoints = np.asarray(np.round(KEYPOINTS / 4), dtype=dtype, order=order)
    confidence = np.asarray(SCORES > 0.5, dtype=dtype, order=order)
    path = tmp_path / "k.npz"
    np.savez_compressed(path, keypoints=keypoints, confidence=confidence)
    for chunk_size in (2, 100):
        tables = list(open_keypoints([path], chunk_size=chunk_size))
        read = np.concatenate([table.keypoints for table in tables])
        np.testing.assert_array_equal(read, keypoints.astype(np.float32))
        np.testing.assert_array_equal(np.concatenate([t.confidence for t in tables]), confidence.astype(np.float32))


def test_fixed_width_parquet_is_read_without_a_copy(tmp_path: Path) -> None:
    (table,) = open_keypoints([parquet(tmp_path / "k.parquet", keypoints=lists(KEYPOINTS, 34))])
    assert not table.keypoints.flags.owndata
    assert not table.keypoints.flags.writeable


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("chunk_size", [1, 2, 3, 100])
def test_people_of_one_picture_are_numbered_across_pieces(tmp_path: Path, suffix: str, chunk_size: int) -> None:
    path = tmp_path / f"k{suffix}"
    (npz if suffix == ".npz" else parquet)(path, image=["a", "a", "a", "b", "a"])
    tables = list(open_keypoints([path], chunk_size=chunk_size))
    assert max(len(table) for table in tables) <= chunk_size
    assert np.concatenate([table.instance for table in tables]).tolist() == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_schema_is_taken_from_the_file(tmp_path: Path, suffix: str) -> None:
    wide, flat = np.zeros((1, 25, 2), np.float32), np.zeros((1, 25), np.float32)
    text = '{"name": "mine", "keypoint_names": ["nose", "left_ear", "right_ear"]}'
    for stored, count, expected in (
        ("body25", 25, BODY_25.keypoint_names),
        (text, 3, ("nose", "left_ear", "right_ear")),
    ):
        path = tmp_path / f"k{suffix}"
        if suffix == ".npz":
            npz(path, keypoints=wide[:, :count], keypoint_scores=flat[:, :count], schema=stored)
        else:
            columns = {"keypoints": lists(wide[:, :count], 2 * count), "keypoint_scores": lists(flat[:, :count], count)}
            parquet(path, {METADATA_KEY: stored}, **columns)
        assert open_keypoints([path]).schema.keypoint_names == expected


def test_parquet_rows_of_another_width_are_bad_input(tmp_path: Path) -> None:
    keypoints = KEYPOINTS.reshape(5, 34).tolist()
    keypoints[1] = None
    keypoints[3] = keypoints[3][:32]
    confidence = SCORES.tolist()
    confidence[4] = [0.5]
    path = parquet(tmp_path / "k.parquet", keypoints=keypoints, keypoint_scores=confidence)
    table = read_keypoints([path])
    assert table.status.tolist() == [Status.OK, *[Status.BAD_INPUT] * 1, Status.OK, *[Status.BAD_INPUT] * 2]
    assert table.detail[3].as_py() == f"{path}: row 3: not 17 keypoints with a score each"
    assert_person(table, 2, 2)


def test_nested_parquet_point_of_another_length_spoils_its_row_only(tmp_path: Path) -> None:
    keypoints = KEYPOINTS.tolist()
    keypoints[1][3] = [1.0]
    table = read_keypoints([parquet(tmp_path / "k.parquet", keypoints=keypoints)])
    assert table.status.tolist() == [Status.OK, Status.BAD_INPUT, Status.OK, Status.OK, Status.OK]
    assert_person(table, 2, 2)
    assert not table.keypoints[1].any()


def test_parquet_null_numbers_were_not_seen(tmp_path: Path) -> None:
    keypoints = KEYPOINTS.reshape(5, 34).tolist()
    keypoints[2][5] = None
    fixed = pa.array(keypoints, pa.list_(pa.float32(), 34))
    table = read_keypoints([parquet(tmp_path / "k.parquet", keypoints=fixed)])
    assert np.argwhere(table.confidence == 0).tolist() == [[2, 2]]


def test_null_names_get_the_place_in_the_file(tmp_path: Path) -> None:
    table = read_keypoints([parquet(tmp_path / "k.parquet", image=["a", None, "b", None, "c"])])
    assert table.image.to_pylist() == ["a", "k_000001", "b", "k_000003", "c"]


PARQUET_MISTAKES = {
    "no keypoints": ({"keypoints": None}, "no columns keypoints and keypoint_scores; it has keypoint_scores"),
    "text": ({"keypoints": ["x"] * 5}, "column keypoints is string, expected lists of numbers"),
    "lists of text": ({"keypoint_scores": [["x"]] * 5}, r"column keypoint_scores is list<.*string>, expected lists"),
    "number as name": ({"image": [0.5] * 5}, "column image is double, expected text"),
    "instance": ({"instance": ["x"] * 5}, "column instance is string, expected whole numbers"),
    "status": ({"row_status": ["splendid"] * 5}, "row_status 'splendid'; known: ok, no_detection, bad_input"),
    "width": (
        {"keypoints": lists(KEYPOINTS[:, :16], 32), "keypoint_scores": SCORES.tolist()},
        "16 keypoints do not",
    ),
    "scores": ({"keypoint_scores": lists(SCORES[:, :16], 16)}, "keypoint_scores has 16 entries a row, expected 17"),
}


@pytest.mark.parametrize(("columns", "message"), PARQUET_MISTAKES.values(), ids=PARQUET_MISTAKES.keys())
def test_unusable_parquet_column_is_an_error_that_names_it(tmp_path: Path, columns: dict, message: str) -> None:
    path = parquet(tmp_path / "k.parquet", **columns)
    with pytest.raises(ValueError, match=message) as caught:
        read_keypoints([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


NPZ_MISTAKES = {
    "objects": ({"image": np.array(["a", None, "b", "c", "d"], object)}, "image holds pickled objects"),
    "objects as keypoints": ({"keypoints": np.array([None] * 5)}, "keypoints holds pickled objects"),
    "flat": ({"keypoints": KEYPOINTS.reshape(5, 34)}, r"keypoints \(5, 34\) and keypoint_scores \(5, 17\), expected"),
    "one number": ({"keypoints": np.float32(1)}, r"keypoints \(\)"),
    "rows": ({"keypoint_scores": SCORES[:4]}, r"keypoint_scores \(4, 17\), expected"),
    "names": ({"image": np.array(["a"])}, "image is <U1"),
    "bytes": ({"image": np.array([b"a"] * 5)}, "image is .*, expected 5 texts"),
    "long names": ({"image": np.array(["a" * 5000] * 5)}, "image has texts of 5000 characters"),
    "text": ({"keypoints": np.full((5, 17, 2), "x")}, "keypoints is <U1, expected numbers"),
    "complex": ({"keypoints": KEYPOINTS + 0j}, "keypoints holds neither plain numbers nor texts"),
    "schema": ({"schema": "antlers"}, "unknown keypoint schema 'antlers'; known: "),
    "schema as number": ({"schema": 5}, "schema is int64"),
    "width of schema": ({"schema": "body25"}, "17 keypoints, expected the 25 of body25"),
    "status": ({"row_status": np.array(["splendid"] * 5)}, "row_status 'splendid'"),
    "unknown count": ({"keypoints": KEYPOINTS[:, :3], "keypoint_scores": SCORES[:, :3]}, "has 3 keypoints; known: "),
}


@pytest.mark.parametrize(("arrays", "message"), NPZ_MISTAKES.values(), ids=NPZ_MISTAKES.keys())
def test_unusable_npz_array_is_an_error_that_names_it(tmp_path: Path, arrays: dict, message: str) -> None:
    path = npz(tmp_path / "k.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_keypoints([path])
    assert str(path) in str(caught.value)


def test_npz_that_claims_a_thousand_million_rows_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = npz(tmp_path / "k.npz")
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["keypoints.npy"] = content["keypoints.npy"].replace(b"(5, 17, 2), }        ", b"(1000000000, 17, 2), }")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="keypoints should take 136000000000 bytes"):
        read_keypoints([path])


def test_npz_without_rows_has_none(tmp_path: Path) -> None:
    assert len(read_keypoints([npz(tmp_path / "k.npz", keypoints=KEYPOINTS[:0], keypoint_scores=SCORES[:0])])) == 0


def test_row_groups_of_any_size_give_the_same_rows(tmp_path: Path) -> None:
    whole = read_keypoints([npz(tmp_path / "k.npz")])
    write_keypoints(tmp_path / "k.parquet", whole)
    stored = pq.read_table(tmp_path / "k.parquet")
    for size in (1, 2, 5):
        pq.write_table(stored, tmp_path / "cut.parquet", row_group_size=size)
        assert_tables_equal(read_keypoints([tmp_path / "cut.parquet"]), whole)


WRONG_INSTANCES = {
    "null": pa.array([0, None, 0, 0, 0]),
    "beyond 32 bits": pa.array([0, 2**40, 0, 0, 0]),
    "beyond 63 bits": pa.array([0, 2**63 + 7, 0, 0, 0], pa.uint64()),
    "negative": pa.array([0, -7, 0, 0, 0]),
}


@pytest.mark.parametrize("case", WRONG_INSTANCES)
def test_an_impossible_instance_makes_a_bad_row(tmp_path: Path, case: str) -> None:
    paths = [parquet(tmp_path / "k.parquet", image=list("abcde"), instance=WRONG_INSTANCES[case])]
    if case != "null":
        paths.append(npz(tmp_path / "k.npz", image=np.array(list("abcde")), instance=WRONG_INSTANCES[case].to_numpy()))
    for path in paths:
        table = read_keypoints([path])
        assert table.status.tolist() == [Status.OK, Status.BAD_INPUT, *[Status.OK] * 3]
        assert table.instance.tolist() == [0, -1, 0, 0, 0]
        assert table.detail[1].as_py().startswith(f"{path}: row 1: its instance ")


@pytest.mark.parametrize("chunk_size", [2, 65536])
def test_a_picture_and_instance_that_come_again_make_a_bad_row(tmp_path: Path, chunk_size: int) -> None:
    columns = {"image": list("abcab"), "instance": [0, 0, 0, 0, 1]}
    arrays = {name: np.array(values) for name, values in columns.items()}
    for path in (parquet(tmp_path / "k.parquet", **columns), npz(tmp_path / "k.npz", **arrays)):
        source = open_keypoints([path], chunk_size=chunk_size)
        status = np.concatenate([table.status for table in source])
        assert status.tolist() == [Status.OK] * 3 + [Status.BAD_INPUT, Status.OK]
    with pytest.raises(ValueError, match="row 3 has the image and instance of another row"):
        open_keypoints([tmp_path / "k.parquet"]).pieces(2)
