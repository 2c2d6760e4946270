"""Writers of result tables to .parquet, .csv or .jsonl, piece by piece, in memory bounded by the pieces.

Rows go to a temporary file that is renamed at the end: an exception, Ctrl-C included, leaves no file.

Unknown numbers (NaN) stay NaN in Parquet. Like missing values, they are an empty field in CSV and null in JSON lines.
Infinity is null in JSON too. float32 is written with the fewest digits that give the same number back. Only Parquet has
metadata, checksums of pages and a digest of the rows. Texts in CSV are escaped if a spreadsheet would take them for
formulas (``keypoints.containers.tables``).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

import msgspec
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from adapters.keypoints.containers.digest import DIGEST_KEY, TableDigest
from adapters.keypoints.containers.tables import escaped
from engine.body.files import whole_file

SUFFIXES = (".parquet", ".csv", ".jsonl")
_ROWS_PER_GROUP = 65536
_ROWS_PER_PIECE = 8192


@runtime_checkable
class ResultWriter(Protocol):
    """Takes the rows of a result in order."""

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows.

        Raises:
            ValueError: their columns differ from those that the writer was opened with.
        """
        ...


@contextmanager
def open_result_writer(
    path: str | os.PathLike[str],
    columns: pa.Schema,
    metadata: Mapping[str, str] | None = None,
    temporary_folder: Path | None = None,
) -> Iterator[ResultWriter]:
    """A writer for the format that the suffix of ``path`` names; the file is there when the block ends well.

    Args:
        columns: columns of numbers, booleans and texts; texts may be dictionary-encoded.
        metadata: key-value metadata of a Parquet file.
        temporary_folder: folder of the temporary file, see ``engine.body.files.whole_file``.

    Raises:
        ValueError: another suffix, a column of another type, or no such folder.
    """
    check_result_path(path)
    for column in columns:
        if not _is_plain(column.type):
            raise ValueError(f"column {column.name} is {column.type}; results hold numbers, booleans and texts")
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        with parquet_writer(path, columns, metadata or {}, temporary_folder=temporary_folder) as writer:
            yield writer
        return
    with whole_file(path, temporary_folder) as stream:
        if suffix == ".csv":
            with _CsvResults(stream, columns) as writer:
                yield writer
        else:
            yield _JsonLineResults(stream, columns)


@contextmanager
def parquet_writer(
    path: str | os.PathLike[str],
    columns: pa.Schema,
    metadata: Mapping[str, str],
    compression: str = "snappy",
    temporary_folder: Path | None = None,
) -> Iterator[ResultWriter]:
    """A writer of Parquet with columns of any type; the file is there when the block ends well.

    Raises:
        ValueError: no such folder.
    """
    with (
        whole_file(path, temporary_folder) as stream,
        _ParquetResults(stream, columns, metadata, compression) as writer,
    ):
        yield writer


def check_result_path(path: str | os.PathLike[str]) -> None:
    """Refuse an unknown suffix before any work is done.

    Raises:
        ValueError: no writer has this suffix; the message lists the suffixes.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: results are written as {', '.join(SUFFIXES)}; end the file's name in one of them")


class _ParquetResults:
    """Parquet results. Small pieces are gathered, because every write makes a row group and many of them read
    slowly."""

    def __init__(
        self, stream: IO[bytes], columns: pa.Schema, metadata: Mapping[str, str], compression: str = "snappy"
    ) -> None:
        self._columns = columns
        self._metadata = dict(metadata)
        self._digest = TableDigest()
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        # Numbers hardly repeat, so a dictionary of them would take more time and space.
        repeating = [column.name for column in columns if not _has_floats(column.type)]
        self._writer = pq.ParquetWriter(
            stream,
            columns.with_metadata(self._metadata),
            compression=compression,
            write_page_checksum=True,
            use_dictionary=repeating,  # pyright: ignore[reportArgumentType] (its stubs know only bool)
        )

    def __enter__(self) -> "_ParquetResults":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        try:
            if failure is None:
                self._flush()
                self._writer.add_key_value_metadata({DIGEST_KEY: self._digest.hexdigest(self._metadata)})
        finally:
            # A discarded file is closed too: pyarrow would write its footer later, into a closed stream.
            self._writer.close()

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        self._pending.append(_checked(rows, self._columns))
        self._pending_rows += rows.num_rows
        if self._pending_rows >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            gathered = pa.concat_tables(self._pending)
            self._pending, self._pending_rows = [], 0
            self._digest.add(gathered)
            self._writer.write_table(gathered, row_group_size=_ROWS_PER_GROUP)


class _CsvResults:
    def __init__(self, stream: IO[bytes], columns: pa.Schema) -> None:
        self._columns = columns
        plain = pa.schema([(column.name, _plain_type(column.type)) for column in columns])
        self._writer = arrow_csv.CSVWriter(stream, plain)

    def __enter__(self) -> "_CsvResults":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        plain = _without_nan(_checked(rows, self._columns))
        self._writer.write_table(
            pa.table(
                {
                    name: escaped(plain[name]) if _is_text(plain[name].type) else plain[name]
                    for name in plain.column_names
                }
            )
        )


class _JsonLineResults:
    def __init__(self, stream: IO[bytes], columns: pa.Schema) -> None:
        self._stream = stream
        self._columns = columns
        self._encode_lines = msgspec.json.Encoder().encode_lines

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        table = _checked(rows, self._columns)
        for start in range(0, table.num_rows, _ROWS_PER_PIECE):
            piece = _without_nan(table.slice(start, _ROWS_PER_PIECE))
            values = [_shortest(column).to_pylist() for column in piece.columns]
            names = piece.column_names
            self._stream.write(
                self._encode_lines([dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)])
            )


def _checked(rows: pa.RecordBatch | pa.Table, columns: pa.Schema) -> pa.Table:
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    if not table.schema.equals(columns):
        raise ValueError(f"columns {table.schema.to_string()} do not match those opened: {columns.to_string()}")
    return table


def _is_plain(kind: pa.DataType) -> bool:
    kind = _plain_type(kind)
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    return any(test(kind) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind)


def _has_floats(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind.value_type if pa.types.is_fixed_size_list(kind) else kind)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _without_nan(table: pa.Table) -> pa.Table:
    """Null for NaN, and plain columns for dictionary-encoded ones."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        plain = column.cast(_plain_type(column.type))
        if pa.types.is_floating(plain.type):
            plain = pa.array(plain.to_numpy(), plain.type, from_pandas=True)
        columns[name] = plain
    return pa.table(columns)


def _shortest(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """float32 as the float64 with the same short decimals: 0.1, not 0.10000000149011612."""
    return column.cast(pa.string()).cast(pa.float64()) if column.type == pa.float32() else column
