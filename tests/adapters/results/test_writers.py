"""Results in three formats: the same values, whole files or none."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.results.writers import SUFFIXES, open_result_writer
from tests.adapters.sample_keypoints import with_files

COLUMNS = pa.schema(
    [
        ("image", pa.string()),
        ("instance", pa.int32()),
        ("status", pa.dictionary(pa.int8(), pa.string())),
        ("consistency", pa.float32()),
        ("oks", pa.float64()),
        ("used", pa.bool_()),
    ]
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
rows = st.tuples(
    st.one_of(st.none(), texts),
    st.integers(-1, 5),
    st.sampled_from(["ok", "bad_input"]),
    st.floats(width=32, allow_infinity=False),
    st.floats(allow_infinity=False),
    st.booleans(),
)


def table_of(values: list[tuple]) -> pa.Table:
    columns = list(zip(*values, strict=True)) if values else [[]] * len(COLUMNS)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)], COLUMNS)


def written(path: Path, pieces: list[pa.Table], metadata: dict[str, str] | None = None) -> Path:
    with open_result_writer(path, COLUMNS, metadata) as writer:
        for piece in pieces:
            writer.write(piece)
    return path


def same(value: object, expected: object, kind: pa.DataType) -> bool:
    """Whether a number comes back bit for bit in its own precision; NaN as nothing."""
    if not isinstance(expected, float):
        return value == expected
    if math.isnan(expected):
        return value is None
    assert isinstance(value, (int, float))
    return np.float32(value) == np.float32(expected) if kind == pa.float32() else value == expected


@given(st.lists(st.lists(rows, max_size=4), max_size=4))
@with_files
def test_parquet_gives_back_every_value(tmp_path_factory: pytest.TempPathFactory, pieces: list[list[tuple]]) -> None:
    path = written(tmp_path_factory.mktemp("r") / "r.parquet", [table_of(piece) for piece in pieces])
    expected = [row for piece in pieces for row in piece]
    read = pq.read_table(path)
    assert read.schema.remove_metadata() == COLUMNS
    for row, values in zip(read.to_pylist(), expected, strict=True):
        for value, wanted in zip(row.values(), values, strict=True):
            assert value == wanted or (math.isnan(value) and math.isnan(wanted))


@given(st.lists(st.lists(rows, max_size=4), max_size=4))
@with_files
def test_json_lines_have_null_for_nan(tmp_path_factory: pytest.TempPathFactory, pieces: list[list[tuple]]) -> None:
    path = written(tmp_path_factory.mktemp("r") / "r.jsonl", [table_of(piece) for piece in pieces])
    expected = [row for piece in pieces for row in piece]
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    for line, values in zip(lines, expected, strict=True):
        record = json.loads(line)
        assert list(record) == COLUMNS.names
        for value, wanted, kind in zip(record.values(), values, COLUMNS.types, strict=True):
            assert same(value, wanted, kind)


@given(st.lists(st.lists(rows, max_size=4), max_size=4))
@with_files
def test_csv_has_an_empty_field_for_nan(tmp_path_factory: pytest.TempPathFactory, pieces: list[list[tuple]]) -> None:
    path = written(tmp_path_factory.mktemp("r") / "r.csv", [table_of(piece) for piece in pieces])
    expected = [row for piece in pieces for row in piece]
    with path.open(encoding="utf-8", newline="") as stream:
        header, *lines = csv.reader(stream)
    assert header == COLUMNS.names
    for line, (image, instance, status, consistency, oks, used) in zip(lines, expected, strict=True):
        # A spreadsheet would take a text that begins so for a formula.
        text = f"'{image}" if image and image.lstrip("'")[:1] in tuple("=+-@\t") else image or ""
        assert line[:3] == [text, str(instance), status]
        assert line[5] == str(used).lower()
        for text, number, kind in ((line[3], consistency, pa.float32()), (line[4], oks, pa.float64())):
            assert same(float(text) if text else None, number, kind)


def test_what_could_not_be_computed_is_missing_in_text_and_nan_in_parquet(tmp_path: Path) -> None:
    table = table_of([("a", 0, "bad_input", math.nan, math.nan, False)])
    header_and_row = written(tmp_path / "r.csv", [table]).read_text().splitlines()
    assert header_and_row[1] == '"a",0,"bad_input",,,false'
    record = json.loads(written(tmp_path / "r.jsonl", [table]).read_text())
    assert (record["consistency"], record["oks"]) == (None, None)
    column = pq.read_table(written(tmp_path / "r.parquet", [table]))["oks"]
    assert column.null_count == 0
    assert math.isnan(column[0].as_py())


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_float32_is_written_with_its_own_digits(tmp_path: Path, suffix: str) -> None:
    text = written(tmp_path / f"r{suffix}", [table_of([("a", 0, "ok", 0.1, 0.1, True)])]).read_text()
    assert text.count("0.1") == 2
    assert "0.10000" not in text


def test_metadata_is_stored_in_parquet(tmp_path: Path) -> None:
    path = written(tmp_path / "r.parquet", [], {"samebody.shape": "{}"})
    assert pq.read_schema(path).metadata[b"samebody.shape"] == b"{}"


def test_many_small_pieces_become_one_row_group(tmp_path: Path) -> None:
    piece = table_of([("a", 0, "ok", 0.5, 0.5, True)])
    path = written(tmp_path / "r.parquet", [piece] * 50)
    assert (pq.read_metadata(path).num_row_groups, pq.read_metadata(path).num_rows) == (1, 50)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_rows_than_a_row_group_holds_are_all_there_once(tmp_path: Path, suffix: str) -> None:
    count = 40_000
    piece = table_of([(None, 0, "ok", 0.5, 0.5, True)] * count)
    path = written(tmp_path / f"r{suffix}", [piece] * 4)
    if suffix == ".parquet":
        assert pq.read_metadata(path).num_rows == 4 * count
    else:
        assert len(path.read_text().splitlines()) == 4 * count + (suffix == ".csv")


def test_results_have_the_permissions_of_an_ordinary_file(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert written(tmp_path / "r.csv", []).stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_record_batches_are_taken_too(tmp_path: Path, suffix: str) -> None:
    table = table_of([("a", 0, "ok", 0.5, 0.5, True), ("b", 0, "ok", 0.25, 1.0, False)])
    whole = written(tmp_path / f"whole{suffix}", [table]).read_bytes()
    with open_result_writer(tmp_path / f"batches{suffix}", COLUMNS) as writer:
        for batch in table.to_batches(max_chunksize=1):
            writer.write(batch)
    if suffix == ".parquet":
        assert pq.read_table(tmp_path / "batches.parquet") == pq.read_table(tmp_path / "whole.parquet")
    else:
        assert (tmp_path / f"batches{suffix}").read_bytes() == whole


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("existing", [None, b"the results of yesterday"])
def test_interrupted_writer_leaves_the_old_file_or_none(
    tmp_path: Path, suffix: str, failure: type[BaseException], existing: bytes | None
) -> None:
    path = tmp_path / f"r{suffix}"
    if existing is not None:
        path.write_bytes(existing)
    with pytest.raises(failure), open_result_writer(path, COLUMNS) as writer:  # noqa: PT012
        writer.write(table_of([("a", 0, "ok", 0.5, 0.5, True)]))
        raise failure
    assert [file.name for file in tmp_path.iterdir()] == ([path.name] if existing is not None else [])
    assert existing is None or path.read_bytes() == existing


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_appears_only_when_it_is_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r{suffix}"
    with open_result_writer(path, COLUMNS) as writer:
        writer.write(table_of([("a", 0, "ok", 0.5, 0.5, True)]))
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["r.txt", "r", "r.json", "r.csv.gz"])
def test_other_suffix_lists_the_three(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(ValueError, match=r"results are written as \.parquet, \.csv, \.jsonl"),
        open_result_writer(tmp_path / name, COLUMNS),
    ):
        pytest.fail("opened")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_with_other_columns_are_refused_and_leave_nothing(tmp_path: Path, suffix: str) -> None:
    with (
        pytest.raises(ValueError, match="do not match those opened"),
        open_result_writer(tmp_path / f"r{suffix}", COLUMNS) as writer,
    ):
        writer.write(pa.table({"image": ["a"]}))
    assert not list(tmp_path.iterdir())


def test_columns_that_no_text_format_holds_are_refused(tmp_path: Path) -> None:
    columns = pa.schema([("betas", pa.list_(pa.float32(), 10))])
    with (
        pytest.raises(ValueError, match="column betas is fixed_size_list"),
        open_result_writer(tmp_path / "r.parquet", columns),
    ):
        pytest.fail("opened")
