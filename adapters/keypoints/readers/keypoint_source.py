"""Files that were found and share a schema, read in tables of bounded size; large ones by several processes."""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from adapters.keypoints.plausibility import judged, measure
from adapters.keypoints.readers.columnar.columns import SeenPairs, mark_repeated
from adapters.keypoints.readers.columnar.parquet_files import ParquetKeypoints
from adapters.keypoints.readers.file_rules import FILE_RULES, ReadingOptions
from adapters.keypoints.readers.file_schema import columns_between
from adapters.keypoints.readers.forms.form import FormFile
from adapters.keypoints.readers.json_rows import Row, bad_input, mapped, table_of_rows
from adapters.keypoints.readers.open_file import CountedFile, OpenedFile, is_counted, mapped_table, open_file, schema_of
from adapters.keypoints.readers.parallel import ordered_map
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.reading_report import ReadingReport
from adapters.keypoints.table import KeypointTable, concat_tables, with_clothes
from engine.body.schemas import KeypointSchema

CHUNK_SIZE = 65536

# 15 s of work for one process: others take seconds to start (benchmarks/results.md, "Volume").
_PARALLEL_BYTES = 512 << 20
_GROUP_BYTES = 4 << 20
_LOST_DEVICE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT}


class Segment(NamedTuple):
    """Rows of one file."""

    file: int
    start: int
    stop: int


Piece = tuple[Segment, ...]
TableOfFiles = tuple[KeypointTable, Int[np.ndarray, " images"]]
"""A table, and the number of the file that each row is from."""


@dataclass(frozen=True)
class KeypointSource:
    """Files that were found and share a schema. Each iteration reads them anew."""

    files: tuple[SourceFile, ...]
    schema: KeypointSchema
    chunk_size: int
    """The largest number of rows in a table."""
    schema_from: SourceFile | None
    """The file that gave the schema; None if the caller did."""
    processes: int = 1
    """The number of processes for large amounts of JSON. It does not change the rows or their order."""
    options: ReadingOptions = FILE_RULES
    """Facts that the caller knows about the files."""
    report: ReadingReport = field(default_factory=ReadingReport, compare=False, repr=False)
    """The report about the rows of the last reading."""
    among_others: bool = False
    """True if these are some of more files: a broken file is a row even if it is the only one here."""

    def __iter__(self) -> Iterator[KeypointTable]:
        """Tables of all rows in order; see ``tables``."""
        return self.tables()

    def row_count(self) -> int | None:
        """The number of rows, if it is known without reading them; a broken file counts 0."""
        if not all(is_counted(source) for source in self.files):
            return None
        rows = 0
        for source in self.files:
            try:
                opened = open_file(source)
            except BrokenFile:
                continue
            assert isinstance(opened, CountedFile)
            rows += opened.row_count
        return rows

    def pieces(self, rows: int, skip: int = 0) -> list[Piece]:
        """Places of tables of equal length (the last may be shorter), without reading them; see ``read_piece``.

        Args:
            skip: rows at the beginning that are left out.

        Raises:
            ValueError: a file is not Parquet, or is broken.
        """
        pieces: list[Piece] = []
        room = 0
        seen = SeenPairs()
        for number, source in enumerate(self.files):
            opened = open_file(source) if is_counted(source) else None
            if not isinstance(opened, ParquetKeypoints):
                raise ValueError(f"{source.path}: only Parquet can be read piece by piece; convert it first")
            opened.check_pairs(seen)
            start, skip = min(skip, opened.row_count), max(skip - opened.row_count, 0)
            while start < opened.row_count:
                if not room:
                    pieces.append(())
                    room = rows
                stop = min(start + room, opened.row_count)
                pieces[-1] += (Segment(number, start, stop),)
                room -= stop - start
                start = stop
        return pieces

    def read_piece(self, piece: Piece) -> KeypointTable:
        """One of ``pieces``, its rows the same as in ``tables``.

        Raises:
            ValueError: a file is broken, or has gone.
        """
        tables = []
        for number, start, stop in piece:
            source = self.files[number]
            opened = open_file(source)
            assert isinstance(opened, ParquetKeypoints)
            own = self._schema_of(opened)
            table = opened.part(own, start, stop)
            tables.append(mapped_table(table, self.schema, self._columns(own, source)))
        whole = with_clothes(concat_tables(self.schema, tables), self.options.clothes)
        return judged(whole) if self.options.judge else whole

    def tables(self, on_file: Callable[[SourceFile], None] = lambda source: None) -> Iterator[KeypointTable]:
        """Tables of all rows in order.

        Args:
            on_file: called when a file has been read.

        Raises:
            ValueError: a file has another schema, is broken and the only one, or has gone; the message names it.
        """
        self.report.clear([source.path for source in self.files])
        # .npz and Parquet files compare their own rows.
        seen = None if len(self.files) == 1 and is_counted(self.files[0]) else SeenPairs()
        for table, files in self._all_tables(on_file):
            table = with_clothes(table if seen is None else mark_repeated(table, seen), self.options.clothes)
            if self.options.judge:
                measures = measure(table)
                self.report.plausibility.add(measures, files)
                table = judged(table, measures)
            self.report.add(table)
            yield table

    def _all_tables(self, on_file: Callable[[SourceFile], None]) -> Iterator[TableOfFiles]:
        groups = self._groups()
        if groups is None:
            yield from self._tables(on_file)
            return
        first = 0
        for group, tables in zip(groups, ordered_map(_tables_of, groups, self.processes), strict=True):
            yield from ((table, files + first) for table, files in tables)
            first += len(group.files)
            for source in group.files:
                on_file(source)

    def _groups(self) -> list["KeypointSource"] | None:
        """Parts for several processes; None if one process is as fast."""
        if self.processes < 2 or len(self.files) < 2 or any(is_counted(source) for source in self.files):
            return None
        sizes = [_size(source) for source in self.files]
        if sum(sizes) < _PARALLEL_BYTES:
            return None
        number = np.cumsum([0, *sizes[:-1]]) // _GROUP_BYTES
        starts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(self.files)]
        return [
            replace(
                self,
                files=self.files[start:stop],
                processes=1,
                options=replace(self.options, judge=False),
                report=ReadingReport(),
                among_others=True,
            )
            for start, stop in itertools.pairwise(starts)
        ]

    def _tables(self, on_file: Callable[[SourceFile], None]) -> Iterator[TableOfFiles]:
        rows: list[Row] = []
        files: list[int] = []
        for number, piece in self._pieces(on_file):
            whole = isinstance(piece, KeypointTable)
            if not whole:
                rows.append(piece)
                files.append(number)
            if len(rows) == self.chunk_size or (whole and rows):
                yield table_of_rows(rows, self.schema, self.options), np.array(files)
                rows, files = [], []
            if whole:
                yield piece, np.full(len(piece), number)
        if rows:
            yield table_of_rows(rows, self.schema, self.options), np.array(files)

    def _pieces(self, on_file: Callable[[SourceFile], None]) -> Iterator[tuple[int, Row | KeypointTable]]:
        """Rows of JSON files and tables of the others, in the schema of this source, with numbers of their files."""
        for number, source in enumerate(self.files):
            try:
                opened = open_file(source)
                own = self._schema_of(opened)
                columns = self._columns(own, source)
                if not isinstance(opened, FormFile):
                    for table in opened.tables(own, self.chunk_size):
                        yield number, mapped_table(table, self.schema, columns)
                elif columns is None:
                    yield from ((number, row) for row in opened.rows(len(own)))
                else:
                    order = columns.tolist()
                    yield from ((number, mapped(row, order)) for row in opened.rows(len(own)))
            except BrokenFile as error:
                if len(self.files) == 1 and not self.among_others:
                    raise
                if _has_gone(source, error):
                    raise ValueError(f"{source.path} has gone or its disk has: {error}") from error
                yield number, bad_input(source.name, -1, str(error))
            on_file(source)

    def _schema_of(self, opened: OpenedFile) -> KeypointSchema:
        return schema_of(opened, self.schema, self.schema_from is None) or self.schema

    def _columns(self, own: KeypointSchema, source: SourceFile) -> np.ndarray | None:
        try:
            return columns_between(own, self.schema, explicit=self.schema_from is None)
        except ValueError as error:
            files = source.path if self.schema_from is None else f"{source.path} and {self.schema_from.path}"
            raise ValueError(f"{files}: {error}") from error


def _tables_of(source: KeypointSource) -> list[TableOfFiles]:
    return list(source._tables(lambda file: None))


def _size(source: SourceFile) -> int:
    try:
        return os.path.getsize(source.path)
    except OSError:
        return 0


def _has_gone(source: SourceFile, error: BrokenFile) -> bool:
    """True if the file has vanished since it was found. It is not a bad row: later files would be bad rows too."""
    cause = error.__cause__
    return not os.path.lexists(source.path) or (isinstance(cause, OSError) and cause.errno in _LOST_DEVICE)
