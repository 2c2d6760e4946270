"""Result tables from .parquet, .csv and .jsonl, column by column with the types that are wanted, in bounded memory.

Spreadsheets also open CSV, and they take a cell that begins with = + - @ or a tab for a formula. Such texts are written
with an apostrophe before them, and so are texts with apostrophes before such a beginning; reading removes one
apostrophe. Names with line breaks are quoted.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from adapters.keypoints.containers.digest import DIGEST_KEY, TableDigest
from adapters.keypoints.containers.parquet import open_parquet_file

LARGEST_TEXT_FILE_BYTES = 512 << 20
"""Largest CSV or JSON lines file, which has to be read whole: two million rows. Parquet has no such bound."""
LONGEST_LINE_BYTES = 1 << 20
_CHUNK_SIZE = 65536
_FORMULA = r"^'*[=+\-@\t\r]"
_ESCAPED = r"^'+[=+\-@\t\r]"


class TableFileError(ValueError):
    """A table is damaged, or has other columns than it should."""


class ReadTable(NamedTuple):
    """The wanted columns that the file has, in the file's order, and the metadata of a Parquet file."""

    table: pa.Table
    metadata: Mapping[str, str]


def read_table(path: str | os.PathLike[str], failure: type[ValueError], wanted: pa.Schema) -> ReadTable:
    """Some columns of a table.

    Args:
        failure: the exception for every error of the libraries below; its message begins with the path.
        wanted: names and plain types; a file may lack some and may have others.

    Raises:
        FileNotFoundError: there is no such file.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".parquet":
            return _read_parquet(path, failure, wanted)
        size = os.path.getsize(path)
        if size > LARGEST_TEXT_FILE_BYTES:
            raise TableFileError(f"{size >> 20} MiB are too many for text; write results of that size as .parquet")
        batches = _csv_batches(path, wanted) if suffix == ".csv" else _json_line_batches(path, wanted)
        return ReadTable(pa.Table.from_batches(list(batches)), {})
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes raise different errors in Arrow and msgspec
        if isinstance(error, failure) and not isinstance(error, TableFileError):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error) or type(error).__name__
        raise failure(f"{path}: damaged, or no such table: {' '.join(reason.split())[:300]}") from error


def escaped(column: pa.ChunkedArray | pa.Array) -> Any:
    """Texts as they are written to CSV."""
    formula = pc.match_substring_regex(column, _FORMULA)  # pyright: ignore[reportAttributeAccessIssue]
    if not pc.any(formula).as_py():  # pyright: ignore[reportAttributeAccessIssue]
        return column
    marked = pc.binary_join_element_wise("'", column, "")  # pyright: ignore[reportAttributeAccessIssue]
    return pc.if_else(formula, marked, column)  # pyright: ignore[reportAttributeAccessIssue]


def _unescaped(column: pa.Array) -> pa.Array:
    marked = pc.match_substring_regex(column, _ESCAPED)  # pyright: ignore[reportAttributeAccessIssue]
    if not pc.any(marked).as_py():  # pyright: ignore[reportAttributeAccessIssue]
        return column
    without = pc.utf8_slice_codeunits(column, 1)  # pyright: ignore[reportAttributeAccessIssue]
    return pc.if_else(marked, without, column)  # pyright: ignore[reportAttributeAccessIssue]


def _read_parquet(path: str | os.PathLike[str], failure: type[ValueError], wanted: pa.Schema) -> ReadTable:
    with open_parquet_file(path, failure) as file:
        present = [name for name in file.schema.names if name in wanted.names]
        for name in present:
            kind = file.kind(name)
            if kind is None or pa.types.is_nested(kind) != pa.types.is_nested(wanted.field(name).type):
                raise TableFileError(f"column {name} is {kind}, expected {wanted.field(name).type}")
        # The digest covers all columns.
        names = file.schema.names if DIGEST_KEY in file.metadata else present
        digest, batches = TableDigest(), []
        for batch in file.batches(names, _CHUNK_SIZE):
            if DIGEST_KEY in file.metadata:
                digest.add(batch)
            arrays = [batch.column(name).cast(wanted.field(name).type) for name in present]
            batches.append(pa.RecordBatch.from_arrays(arrays, names=present))
        if file.metadata.get(DIGEST_KEY, "") not in ("", digest.hexdigest(file.metadata)):
            raise TableFileError("its rows or its metadata are not those that were written")
        schema = pa.schema([wanted.field(name) for name in present])
        return ReadTable(pa.Table.from_batches(batches, schema=schema), file.metadata)


def _csv_batches(path: str | os.PathLike[str], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    # Texts are taken literally: a picture may be called NA.
    options = arrow_csv.ConvertOptions(
        column_types={field.name: field.type for field in wanted}, strings_can_be_null=False
    )
    parsing = arrow_csv.ParseOptions(newlines_in_values=True)
    with arrow_csv.open_csv(os.fspath(path), convert_options=options, parse_options=parsing) as reader:
        names = reader.schema.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TableFileError(f"column {twice[0]} is there twice")
        present = [name for name in names if name in wanted.names]
        if not present:
            raise TableFileError(f"it lacks the columns {', '.join(wanted.names)}"[:200])
        yield _typed([pa.array([], wanted.field(name).type) for name in present], present, wanted)
        for batch in reader:
            columns = [batch.column(name) for name in present]
            yield _typed([_unescaped(c) if pa.types.is_string(c.type) else c for c in columns], present, wanted)


def _json_line_batches(path: str | os.PathLike[str], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    fields: list[tuple[str, Any, Any]] = [(f.name, _json_type(f.type), msgspec.UNSET) for f in wanted]
    decode = msgspec.json.Decoder(msgspec.defstruct("Row", fields)).decode
    rows, present = [], list(wanted.names)
    with open(path, "rb") as stream:
        while line := stream.readline(LONGEST_LINE_BYTES + 1):
            if len(line) > LONGEST_LINE_BYTES:
                raise TableFileError(f"a line is longer than {LONGEST_LINE_BYTES >> 20} MiB")
            if not line.isspace():
                rows.append(decode(line))
            if len(rows) == _CHUNK_SIZE:
                present = _given(rows[0], wanted)
                yield _of_rows(rows, present, wanted)
                rows = []
    present = _given(rows[0], wanted) if rows else present
    yield _of_rows(rows, present, wanted)


def _json_type(kind: pa.DataType) -> Any:
    plain = str if pa.types.is_string(kind) else int if pa.types.is_integer(kind) else float
    return plain | None | msgspec.UnsetType


def _given(row: Any, wanted: pa.Schema) -> list[str]:
    return [name for name in wanted.names if getattr(row, name) is not msgspec.UNSET]


def _of_rows(rows: list[Any], present: list[str], wanted: pa.Schema) -> pa.RecordBatch:
    if any(getattr(row, name) is msgspec.UNSET for name in present for row in rows):
        raise TableFileError("its lines have different names")
    columns = [pa.array([getattr(row, name) for row in rows], wanted.field(name).type) for name in present]
    return _typed(columns, present, wanted)


def _typed(columns: list[pa.Array], present: list[str], wanted: pa.Schema) -> pa.RecordBatch:
    arrays = [column.cast(wanted.field(name).type) for column, name in zip(columns, present, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=present)
