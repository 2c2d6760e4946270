"""Broken and hostile files: one clear line, never a traceback of another kind, and the other files are not lost."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.writers import write_keypoints
from engine.scores import Status
from tests.adapters.sample_keypoints import assert_person, instance, meta_info, triples, write_json

GOOD = [instance(1)]

BROKEN_JSON = {
    "empty": (b"", "empty file"),
    "blank": (b" \n\t ", "empty file"),
    "cut": (b'[{"keypoints": [[1.0, 2.0', r"not valid JSON: input data was truncated \(after 25 bytes\)"),
    "binary": (bytes(range(256)), "no JSON list or object; it begins with b'"),
    "binary inside": (b"[\x00\x01]", r"not valid JSON: invalid character \(byte 1\)"),
    "comma": (b'[{"a": 1},]', r"not valid JSON: .*\(byte 10\)"),
    "two documents": (b"[] [", r"trailing characters \(byte 4\)"),
    "NaN and then an error": (b"[NaN, -Infinity, NaN, oops]", r"invalid character \(byte 22\)"),
    "number": (b"42", "no JSON list or object"),
    "deep list": (b"[" * 100_000, "nested too deeply"),
    "deep and closed": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "deep in a key that nobody reads": (b'[{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested too deeply"),
    "other object": (b'{"skeleton": []}', "an object with the keys skeleton"),
    "other list": (b'[1, "a", {"b": 2}]', "holds no keypoints .* a list of 3, the first 1"),
    "instance_info": (b'{"instance_info": {"a": 1}}', "expected 'array', got 'object' - at '$.instance_info'"),
    "meta_info": (b'{"meta_info": 3, "instance_info": []}', "bad meta_info: not an object"),
    "meta_info without names": (b'{"meta_info": {}, "instance_info": []}', "bad meta_info: "),
    "meta_info in UTF-16": (b'{"meta_info": {"\xff": 1}, "instance_info": []}', "meta_info: 'utf-8' codec"),
    "no sigmas": (b'{"meta_info": {"keypoint_id2name": {"0": "a"}}, "instance_info": []}', "bad meta_info: .*sigmas"),
    "huge index": (
        b'{"meta_info": {"keypoint_id2name": {"1000000000": "a"}, "sigmas": []}, "instance_info": []}',
        "bad meta_info: ",
    ),
}


@pytest.mark.parametrize(("content", "message"), BROKEN_JSON.values(), ids=BROKEN_JSON.keys())
def test_broken_file_is_an_error_alone_and_a_row_among_others(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message.replace("$", r"\$")) as caught:
        read_keypoints([path])
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    write_json(tmp_path / "a.json", GOOD)
    write_json(tmp_path / "c.json", [instance(2)])
    table = read_keypoints([tmp_path])
    assert table.status.tolist() == [Status.OK, Status.BAD_INPUT, Status.OK]
    assert (table.image[1].as_py(), table.instance[1]) == ("b", -1)
    assert table.detail[1].as_py() == str(caught.value)
    assert_person(table, 0, 1)
    assert_person(table, 2, 2)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"PAR1 no table PAR1", b"\x93NUMPY"])
def test_broken_archive_is_an_error_alone_and_a_row_among_others(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"b{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged") as caught:
        read_keypoints([path])
    assert "\n" not in str(caught.value)
    table = read_keypoints([write_json(tmp_path / "a.json", GOOD), path])
    assert table.status.tolist() == [Status.OK, Status.BAD_INPUT]
    assert table.detail[1].as_py() == str(caught.value)


def test_only_broken_files_are_an_error(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.json").write_text("{")
    with pytest.raises(ValueError, match=r"none of 2 files can be read; .*a\.json: not valid JSON"):
        open_keypoints([tmp_path])


def test_file_that_may_not_be_read_is_a_row_among_others(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", GOOD)
    (tmp_path / "b.json").symlink_to(tmp_path / "gone.json")
    table = read_keypoints([tmp_path])
    assert table.status.tolist() == [Status.OK, Status.BAD_INPUT]
    assert "b.json: cannot be read: No such file or directory" in table.detail[1].as_py()


def test_of_a_repeated_key_the_last_value_counts(tmp_path: Path) -> None:
    first, last = (str(instance(seed)["keypoints"]) for seed in (1, 2))
    text = f'[{{"keypoints": {first}, "keypoint_scores": {instance(2)["keypoint_scores"]}, "keypoints": {last}}}]'
    (tmp_path / "a.json").write_text(text)
    assert_person(read_keypoints([tmp_path / "a.json"]), 0, 2)


def test_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert_person(read_keypoints([path]), 0, 1)


def test_deep_record_among_good_ones_condemns_the_file_not_the_folder(tmp_path: Path) -> None:
    record = b'{"keypoints": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    (tmp_path / "a.json").write_bytes(b"[" + record + b"]")
    write_json(tmp_path / "b.json", GOOD)
    assert read_keypoints([tmp_path]).status.tolist() == [Status.BAD_INPUT, Status.OK]


def test_pickle_in_an_npz_is_never_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    good = np.zeros((1, 17), np.float32)
    for name in ("keypoints", "keypoint_scores", "image", "schema"):
        arrays = {"keypoints": np.zeros((1, 17, 2), np.float32), "keypoint_scores": good}
        np.savez(tmp_path / "trap.npz", **{**arrays, name: np.array([Trap()], object)})
        with pytest.raises(ValueError, match=f"{name} holds pickled objects, which samebody never reads"):
            read_keypoints([tmp_path / "trap.npz"])
    assert not (tmp_path / "sprung").exists()


def _sample_files(folder: Path) -> dict[str, bytes]:
    video = [{"frame_id": k, "instances": [instance(k)]} for k in range(3)]
    write_json(folder / "video.json", {"meta_info": meta_info(), "instance_info": video})
    write_json(folder / "picture.json", [instance(1), instance(2)])
    write_json(folder / "results.json", [{"image_id": k, "keypoints": triples(k)} for k in range(3)])
    table = read_keypoints([folder / "video.json"])
    for suffix in (".npz", ".parquet"):
        write_keypoints(folder / f"table{suffix}", table)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", ["video.json", "picture.json", "results.json", "table.npz", "table.parquet"])
def test_damaged_bytes_give_rows_or_one_clear_line(tmp_path: Path, name: str) -> None:
    content = _sample_files(tmp_path)[name]
    random = np.random.default_rng(0)
    path = tmp_path / f"damaged{Path(name).suffix}"
    failures = []
    for trial in range(150):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 1 + trial % 4):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(len(content))] if trial % 3 == 0 else damaged)
        try:
            table = read_keypoints([path])
        except ValueError as error:
            failures.append(str(error))
        else:
            assert np.isfinite(table.keypoints).all()
            assert ((table.confidence >= 0) & (table.confidence <= 1)).all()
    assert failures
    assert all(str(path) in failure and "\n" not in failure for failure in failures)


def test_message_stays_on_one_line_whatever_a_file_holds(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a\n\x1b[31mb": [1], "c" * 5000: [2]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"it has a \[31mb, ccc") as caught:
        read_keypoints([tmp_path / "a.parquet"])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 1000


def test_archive_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(ValueError, match=r"no arrays keypoints and keypoint_scores; it has readme\.txt"):
        read_keypoints([tmp_path / "a.npz"])


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": NaN, "b": "' + b"a" * 1_000_000,
        b'{"a": NaN, "b": "' + b"\\" * 1_000_001,
        b"[NaN, " + b"N" * 1_000_000,
        b"[NaN, " + b'"a' * 500_001,
        b"[NaN, " + b"x" * 1_000_000,
        b"[NaN, " + b"-" * 1_000_000,
    ],
)
def test_mending_json_takes_one_pass(tmp_path: Path, text: bytes) -> None:
    """A pattern that goes back would need days for these."""
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(ValueError, match="not valid JSON"):
        read_keypoints([tmp_path / "a.json"])


def test_nan_in_a_name_stays(tmp_path: Path) -> None:
    record = {"image_id": 'NaN -Infinity \\" NaN', "keypoints": [float("nan"), float("-inf"), *triples(1)[2:]]}
    table = read_keypoints([write_json(tmp_path / "a.json", [record])])
    assert table.image.to_pylist() == [record["image_id"]]
    assert table.confidence[0, 0] == 0
