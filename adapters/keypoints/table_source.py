"""A table in memory in place of keypoint files, for keypoints that a detector has just found in photographs."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from adapters.keypoints.plausibility import judged, measure
from adapters.keypoints.readers import CHUNK_SIZE
from adapters.keypoints.readers.file_rules import ReadingOptions
from adapters.keypoints.readers.source_files import SourceFile
from adapters.keypoints.reading_report import ReadingReport
from adapters.keypoints.table import KeypointTable, with_clothes
from engine.body.schemas import KeypointSchema


@dataclass(frozen=True, eq=False)
class TableSource:
    """The interface of ``KeypointSource`` for one table."""

    table: KeypointTable
    options: ReadingOptions
    chunk_size: int = CHUNK_SIZE
    report: ReadingReport = field(default_factory=ReadingReport, repr=False)

    @property
    def schema(self) -> KeypointSchema:
        return self.table.schema

    def __iter__(self) -> Iterator[KeypointTable]:
        return self.tables()

    def row_count(self) -> int:
        return len(self.table)

    def tables(self, on_file: Callable[[SourceFile], None] = lambda source: None) -> Iterator[KeypointTable]:
        """The table; rows that cannot be a person have that status."""
        self.report.clear()
        table = with_clothes(self.table, self.options.clothes)
        if self.options.judge:
            measures = measure(table)
            self.report.plausibility.add(measures)
            table = judged(table, measures)
        self.report.add(table)
        yield table

    def digest(self) -> str:
        """The rows of the whole table."""
        digest = hashlib.sha256(repr(self.table.image.to_pylist()).encode())
        table = self.table
        optional = (table.outline_px, table.clothes_m)
        for array in (table.instance, table.keypoints, table.confidence, table.status, *optional):
            if array is not None:
                digest.update(array.tobytes())
        return digest.hexdigest()
