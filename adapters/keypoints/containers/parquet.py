"""Parquet in batches of bounded size, from files that may be damaged or hostile.

    with open_parquet_file(path, BrokenFile) as file:
        file.schema, file.metadata, file.row_count
        for batch in file.batches(["image", "keypoints"], 65536): ...

A Parquet file of a megabyte may decode to gigabytes: one value that is repeated, one text that many rows share, a page
of zeros. The footer is therefore compared with the size of the file before anything is decoded, texts stay dictionaries
until their length is known, and only the requested columns are read. Pages with checksums are verified.

Files are opened through Arrow's own file objects: if a thread of Arrow's releases a Python stream while the interpreter
ends, the process aborts.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.keypoints.containers.parquet_footer import ChunkSize, check_pages, chunk_sizes

LARGEST_CHUNK_BYTES = 256 << 20
LARGEST_GROWTH = 50
"""A decoded column of a row group may exceed the size or the factor, but not both."""
LARGEST_TEXTS_BYTES = 64 << 20
"""Largest decoded size of a column of texts in one batch."""
LONGEST_TEXT = 16384
MOST_COLUMNS = 10_000
_ROWS_PER_BYTE, _FEW_ROWS = 8, 1_000_000
_BUFFER_BYTES = 1 << 20


class ParquetFileError(ValueError):
    """A file is damaged, or decodes to more than is allowed."""


class StoredTable:
    """A Parquet file that is open."""

    def __init__(
        self, path: str | os.PathLike[str], file: pq.ParquetFile, chunks: list[list[ChunkSize]], size_bytes: int
    ) -> None:
        self._path = path
        self._file = file
        self._chunks = chunks
        self.schema: pa.Schema = file.schema_arrow
        """Columns of texts are dictionaries."""
        footer = file.metadata
        self.metadata = {
            key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for key, value in (footer.metadata or {}).items()
            if key != b"ARROW:schema"
        }
        self.rows_per_group = tuple(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
        # Arrow matches chunks by order and not by name: a changed name would hide a chunk from the checks.
        names = [name for name, _ in groupby(self.schema.names)]
        named = all([name for name, _ in groupby(chunk.column for chunk in group)] == names for group in chunks)
        if len(self.rows_per_group) != len(chunks) or not named:
            raise ParquetFileError("its footer is damaged")
        if min(self.rows_per_group, default=0) < 0 or self.row_count > max(_FEW_ROWS, _ROWS_PER_BYTE * size_bytes):
            raise ParquetFileError(f"it claims {self.row_count:,} rows, more than {size_bytes:,} bytes can hold")

    @property
    def row_count(self) -> int:
        return sum(self.rows_per_group)

    def kind(self, name: str) -> pa.DataType | None:
        """The type of a column, texts as texts; None if it is not there.

        Raises:
            ParquetFileError: it is there twice.
        """
        if name not in self.schema.names:
            return None
        if self.schema.names.count(name) > 1:
            raise ParquetFileError(f"column {name} is there twice")
        return _plain(self.schema.field(name).type)

    def batches(
        self, columns: Sequence[str], rows: int, groups: Sequence[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Some columns in the given order, in batches of bounded row count.

        Args:
            groups: row groups that are read; all by default.
        """
        chosen = range(len(self.rows_per_group)) if groups is None else groups
        self._check_size(columns, chosen)
        for batch in self._file.iter_batches(batch_size=rows, row_groups=list(chosen), columns=list(columns)):
            arrays = [_plain_column(batch.column(name), name) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _check_size(self, columns: Sequence[str], groups: Sequence[int]) -> None:
        wanted = [chunk for group in groups for chunk in self._chunks[group] if chunk.column in columns]
        with open(self._path, "rb") as stream:
            for chunk in wanted:
                bound = max(LARGEST_CHUNK_BYTES, LARGEST_GROWTH * chunk.stored_bytes)
                if chunk.decoded_bytes > bound:
                    size = chunk.decoded_bytes >> 20
                    raise ParquetFileError(f"column {chunk.column} would grow to {size} MiB in one row group")
                check_pages(stream, chunk)


@contextmanager
def open_parquet_file(path: str | os.PathLike[str], failure: type[ValueError]) -> Iterator[StoredTable]:
    """A Parquet file, for a block that reads it.

    Args:
        failure: the exception for every error that damaged bytes cause in Arrow, in the block too; its message begins
            with the path.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        with open(path, "rb") as plain:
            chunks = chunk_sizes(plain)
        with pa.OSFile(os.fspath(path)) as stream:
            texts = _text_columns(stream)
            # Without these the whole file is kept in memory, 0.8 GB for 3 million rows of 17 keypoints, instead of 0.2.
            with pq.ParquetFile(
                stream,
                read_dictionary=texts,
                page_checksum_verification=True,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
            ) as file:
                yield StoredTable(path, file, chunks, stream.size())
    except FileNotFoundError:
        raise
    except Exception as error:
        if isinstance(error, failure) and not isinstance(error, ParquetFileError):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise failure(f"{path}: damaged, or not a readable Parquet file: {reason}") from error


def _text_columns(stream: pa.NativeFile) -> list[str]:
    with pq.ParquetFile(stream) as file:
        schema = file.schema_arrow
    stream.seek(0)
    if len(schema) > MOST_COLUMNS:
        raise ParquetFileError(f"it has {len(schema):,} columns")
    return [field.name for field in schema if _is_text(field.type)]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain_column(column: pa.Array, name: str) -> pa.Array:
    """Dictionaries decoded to texts, if they are within the bound."""
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return column
    column.validate(full=True)
    lengths = np.fromiter((len(text or "") for text in column.dictionary.to_pylist()), np.int64, len(column.dictionary))
    longest = int(lengths.max(initial=0))
    total = int(lengths[column.indices.drop_null().to_numpy()].sum())
    if longest > LONGEST_TEXT or total > LARGEST_TEXTS_BYTES:
        raise ParquetFileError(
            f"column {name} has texts of {longest:,} characters, {total >> 20} MiB in {len(column)} rows"
        )
    return column.cast(pa.string())
