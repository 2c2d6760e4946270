"""Keypoints in Parquet, read in pieces; float columns of fixed width become views of Arrow's memory, not copies.

The layout is described in the package. Besides the fixed-width columns that samebody writes, lists of variable length
and lists of lists ([[x, y], ...]) are read, at the price of a copy. A null list or one of another length makes a bad
row; a null number is a keypoint that was not seen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from adapters.keypoints.containers.parquet import open_parquet_file
from adapters.keypoints.readers.columnar.columns import LARGEST_INSTANCE, SeenPairs, TableAssembler, status_codes
from adapters.keypoints.readers.columnar.outline_column import (
    OUTLINE_COLUMN,
    OUTLINE_NUMBERS,
    OUTLINE_PLACES_KEY,
    check_outline_places,
)
from adapters.keypoints.readers.file_schema import METADATA_KEY, schema_from_text
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import KeypointTable, concat_tables
from engine.body.schemas import KeypointSchema
from engine.picture.outline_places import PLACES, SIDES

_SCORE_COLUMNS = ("keypoint_scores", "confidence")
_TEXT_COLUMNS = ("image", "row_status", "detail")
_PROBED_ROWS = 1024
_CHUNK_SIZE = 65536
_MOST_ENTRIES = 4096


@dataclass(frozen=True)
class ParquetKeypoints:
    """An opened file whose columns have the right types."""

    source: SourceFile
    schema: KeypointSchema | None
    columns: tuple[str, ...]
    """The columns that are read."""
    rows_per_group: tuple[int, ...]

    @property
    def row_count(self) -> int:
        return sum(self.rows_per_group)

    def keypoint_counts(self) -> Iterator[int]:
        """Numbers of keypoints of the first rows that have any."""
        for batch in self._batches(_PROBED_ROWS, ("keypoints",)):
            column = batch.column("keypoints")
            for length in dict.fromkeys(_lengths(column).tolist()):
                if length >= 0:
                    yield length if _is_list(column.type.value_type) else length // 2
            return

    def tables(self, schema: KeypointSchema, chunk_size: int) -> Iterator[KeypointTable]:
        """All rows, read with ``schema``.

        Raises:
            BrokenFile: the file is damaged, or its rows have another width than ``schema``.
        """
        assembler = TableAssembler(self.source, schema)
        for batch in self._batches(chunk_size, self.columns):
            yield self._checked_table(batch, assembler, len(schema))

    def check_pairs(self, seen: SeenPairs) -> None:
        """Refuse a file that repeats a picture and instance: its parts are read independently of each other.

        Args:
            seen: the pictures and instances of the files before.

        Raises:
            BrokenFile: the file is damaged, or two rows have the same image and instance.
        """
        if not {"image", "instance"} <= set(self.columns):
            return
        first = 0
        for batch in self._batches(_CHUNK_SIZE, ("image", "instance")):
            numbers = batch.column("instance").cast(pa.int64(), safe=False).fill_null(-1).to_numpy()
            numbers = np.where((numbers >= 0) & (numbers <= LARGEST_INSTANCE), numbers, -1).astype(np.int32)
            again = np.flatnonzero(seen.repeated(batch.column("image").cast(pa.string()), numbers))
            if len(again):
                raise BrokenFile(
                    f"{self.source.path}: row {first + again[0]} has the image and instance of another row"
                )
            first += len(batch)

    def part(self, schema: KeypointSchema, start: int, stop: int) -> KeypointTable:
        """Some rows, identical to those of ``tables``. Only their row groups are read.

        Raises:
            BrokenFile: see ``tables``; or people have no numbers, so that these depend on the rows before.
        """
        if "instance" not in self.columns:
            raise BrokenFile(f"{self.source.path}: no column instance; its parts cannot be read one by one without it")
        tables = []
        ends = np.cumsum(self.rows_per_group)
        groups = np.flatnonzero((ends > start) & (ends - self.rows_per_group < stop))
        first = int(ends[groups[0]] - self.rows_per_group[groups[0]])
        assembler = TableAssembler(self.source, schema, start)
        for batch in self._batches(stop - start, self.columns, groups.tolist()):
            lower, upper = max(start - first, 0), min(stop - first, len(batch))
            first += len(batch)
            if upper > lower:
                tables.append(self._checked_table(batch.slice(lower, upper - lower), assembler, len(schema)))
        return concat_tables(schema, tables)

    def _batches(
        self, rows: int, columns: tuple[str, ...], groups: list[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        with open_parquet_file(self.source.path, BrokenFile) as file:
            yield from file.batches(columns, rows, groups)

    def _checked_table(self, batch: pa.RecordBatch, assembler: TableAssembler, width: int) -> KeypointTable:
        try:
            return self._table(batch, assembler, width)
        except BrokenFile:
            raise
        except (pa.ArrowException, ValueError) as error:
            raise BrokenFile(f"{self.source.path}: {error}") from error

    def _table(self, batch: pa.RecordBatch, assembler: TableAssembler, width: int) -> KeypointTable:
        column = {name: batch.column(name) for name in self.columns}
        keypoints, whole = _matrix(column["keypoints"], (width, 2), "keypoints")
        scores, scored = _matrix(column[self.columns[1]], (width,), self.columns[1])
        instance = column.get("instance")
        return assembler.table(
            keypoints.reshape(-1, width, 2),
            scores,
            image=column.get("image"),
            # Numbers beyond 64 bits wrap around to negative ones, which are refused like null.
            instance=None if instance is None else instance.cast(pa.int64(), safe=False).fill_null(-1).to_numpy(),
            status=status_codes(column["row_status"], self.source) if "row_status" in column else None,
            detail=column.get("detail"),
            readable=whole & scored,
            box=_optional(column["bbox"], "bbox", 4) if "bbox" in column else None,
            outline_px=_outlines(column[OUTLINE_COLUMN]) if OUTLINE_COLUMN in column else None,
        )


def open_parquet(source: SourceFile) -> ParquetKeypoints:
    """Check the columns of a Parquet file and read its metadata.

    Raises:
        BrokenFile: the file is not Parquet, a column is missing, or its type cannot hold keypoints.
    """
    with open_parquet_file(source.path, BrokenFile) as file:
        names = file.schema.names
        scores = next((name for name in _SCORE_COLUMNS if name in names), None)
        if "keypoints" not in names or scores is None:
            raise BrokenFile(f"{source.path}: no columns keypoints and keypoint_scores; it has {', '.join(names[:20])}")
        columns = ("keypoints", scores, *(n for n in ("image", "instance", "row_status", "detail") if n in names))
        for name in columns:
            _check_kind(name, file.kind(name), source)
        optional = ("bbox", *((OUTLINE_COLUMN,) if source.options.outlines else ()))
        columns += tuple(name for name in optional if name in names and _is_numbers(file.kind(name), 1))
        if OUTLINE_COLUMN in columns:
            check_outline_places(file.metadata.get(OUTLINE_PLACES_KEY), source)
        stored = file.metadata.get(METADATA_KEY)
        rows_per_group = file.rows_per_group
    schema = None if stored is None else schema_from_text(stored, source.path)
    return ParquetKeypoints(source, schema, columns, rows_per_group)


def _check_kind(name: str, kind: pa.DataType | None, source: SourceFile) -> None:
    wanted = ""
    if name in _TEXT_COLUMNS:
        wanted = "" if _is_text(kind) or (name == "image" and pa.types.is_integer(kind)) else "text"
    elif name == "instance":
        wanted = "" if pa.types.is_integer(kind) else "whole numbers"
    elif not _is_numbers(kind, 2 if name == "keypoints" else 1):
        wanted = "lists of numbers"
    if wanted:
        raise BrokenFile(f"{source.path}: column {name} is {kind}, expected {wanted}")


def _optional(column: pa.Array, name: str, width: int) -> Float[np.ndarray, "images numbers"]:
    """Lists of ``width`` numbers; NaN for rows with anything else."""
    if pa.types.is_fixed_size_list(column.type) and column.type.list_size != width:
        return np.full((len(column), width), np.nan)
    values, whole = _matrix(column, (width,), name)
    return values if whole.all() else np.where(whole[:, None], values, np.nan)


def _outlines(column: pa.Array) -> Float[np.ndarray, "images places 2"]:
    return _optional(column, OUTLINE_COLUMN, OUTLINE_NUMBERS).reshape(-1, len(PLACES), SIDES)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _is_numbers(kind: pa.DataType, depth: int) -> bool:
    """True if a type is lists of numbers, at most ``depth`` deep."""
    if not _is_list(kind) or (pa.types.is_fixed_size_list(kind) and kind.list_size > _MOST_ENTRIES):
        return False
    inner = kind.value_type
    return pa.types.is_floating(inner) or pa.types.is_integer(inner) or (depth > 1 and _is_numbers(inner, depth - 1))


def _matrix(
    column: pa.Array, widths: tuple[int, ...], name: str
) -> tuple[Float[np.ndarray, "images numbers"], Bool[np.ndarray, " images"]]:
    """The numbers of a list column, and a mask of the rows with the right widths; the others are zeros."""
    if not _is_list(column.type.value_type):
        widths = (math.prod(widths),)
    width, inner = widths[0], widths[1:]
    if pa.types.is_fixed_size_list(column.type) and column.type.list_size != width:
        raise ValueError(f"column {name} has {column.type.list_size} entries a row, expected {width}")
    fits = _lengths(column) == width
    flat = (column if fits.all() else column.filter(pa.array(fits))).flatten()
    if inner:
        values, whole = _matrix(flat, inner, name)
        values = values.reshape(-1, width * math.prod(inner))
        whole = np.all(whole.reshape(-1, width), axis=1)
    else:
        values = flat.to_numpy(zero_copy_only=False)
        values = values.astype(np.result_type(values, np.float32), copy=False).reshape(-1, width)
        whole = np.ones(len(values), bool)
    if fits.all():
        return values, whole
    scattered = np.zeros((len(column), values.shape[1]), values.dtype)
    scattered[fits] = values
    fits[fits] = whole
    return scattered, fits


def _lengths(column: pa.Array) -> Int[np.ndarray, " images"]:
    """The number of entries of each row; -1 for null."""
    if pa.types.is_fixed_size_list(column.type):
        return np.where(column.is_valid().to_numpy(zero_copy_only=False), column.type.list_size, -1)
    return column.value_lengths().fill_null(-1).to_numpy()
