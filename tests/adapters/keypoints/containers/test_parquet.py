"""Parquet that stands for more than it should, and Parquet that was damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.keypoints.containers import parquet
from adapters.keypoints.containers.parquet import open_parquet_file


class Failure(ValueError):
    """What every failure must become."""


def _read(path: Path, *columns: str) -> pa.Table:
    with open_parquet_file(path, Failure) as file:
        return pa.Table.from_batches(file.batches(columns, 1000))


def test_what_is_asked_for_is_read_in_its_order(tmp_path: Path) -> None:
    table = pa.table(
        {"number": pa.array(range(2500)), "name": [f"n{row % 7}" for row in range(2500)], "other": [{"x": 1}] * 2500}
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    assert _read(tmp_path / "a.parquet", "name", "number").equals(table.select(["name", "number"]).combine_chunks())


def _one_row_of_many_numbers() -> pa.Table:
    return pa.table({"a": pa.ListArray.from_arrays([0, 1_000_000], np.zeros(1_000_000))})


def _one_text_in_many_rows() -> pa.Table:
    return pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(1000, np.int32), ["x" * 16_000])})


def _a_long_text() -> pa.Table:
    return pa.table({"a": ["x" * 200_000]})


@pytest.mark.parametrize("make", [_one_row_of_many_numbers, _one_text_in_many_rows, _a_long_text])
def test_what_would_grow_beyond_measure_is_refused_before_it_does(
    tmp_path: Path, make: Callable[[], pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.parquet"
    pq.write_table(make(), path, compression="zstd")
    assert path.stat().st_size < 1 << 17
    for name in ("LARGEST_CHUNK_BYTES", "LARGEST_TEXTS_BYTES"):
        monkeypatch.setattr(parquet, name, 1 << 20)
    before = pa.total_allocated_bytes()
    with pytest.raises(Failure, match=r"bomb\.parquet.*column a"):
        _read(path, "a")
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_more_rows_than_bytes_can_hold_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.nulls(10_000_000, pa.float32())}), tmp_path / "a.parquet")
    with pytest.raises(Failure, match="10,000,000 rows"):
        _read(tmp_path / "a.parquet", "a")


def test_a_column_cannot_hide_from_the_checks_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"numbers": [1.0, 2.0], "texts": ["a", "b"]}), path)
    content = bytearray(path.read_bytes())
    place = content.rfind(b"numbers")  # behind the names of the schema
    content[place : place + 7] = b"nombres"
    path.write_bytes(content)
    assert pq.read_table(path)["numbers"].to_pylist() == [1.0, 2.0]
    with pytest.raises(Failure, match="footer"):
        _read(path, "numbers")


def test_every_flipped_bit_of_a_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    pq.write_table(pa.table({"a": values}), path, write_page_checksum=True, use_dictionary=False, compression="none")
    whole = path.read_bytes()
    start = whole.index(values.tobytes())
    for bit in np.random.default_rng(1).integers(8 * start, 8 * (start + values.nbytes), 40).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(Failure, match="CRC"):
            _read(path, "a")


def test_damaged_files_fail_in_one_way(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"name": ["a", "b"], "lists": pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1))})
    pq.write_table(table, path)
    whole, draw = path.read_bytes(), np.random.default_rng(0)
    failures = 0
    for trial in range(300):
        damaged = bytearray(whole)
        for place in draw.integers(0, len(whole), 1 + trial % 4):
            damaged[place] = draw.integers(256)
        path.write_bytes(damaged[: draw.integers(len(whole))] if trial % 5 == 0 else damaged)
        try:
            _read(path, "name", "lists")
        except Failure:
            failures += 1
    assert failures > 100
