"""One file of keypoints: its reader, its schema, and the conversion of its rows to another schema."""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from adapters.keypoints.file_plausibility import SEVERAL
from adapters.keypoints.plausibility import measure
from adapters.keypoints.readers.columnar.arrays import NpzKeypoints, open_npz
from adapters.keypoints.readers.columnar.csv_files import CsvKeypoints, open_csv
from adapters.keypoints.readers.columnar.parquet_files import ParquetKeypoints, open_parquet
from adapters.keypoints.readers.file_schema import ORDERS, schema_in_use, schema_of_counts
from adapters.keypoints.readers.forms import PAGE, open_json
from adapters.keypoints.readers.forms.form import FormFile
from adapters.keypoints.readers.forms.text_files import TRANSFER_HEADER, open_labels, open_transfer_table
from adapters.keypoints.readers.json_rows import table_of_rows
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import KeypointTable
from engine.body.schemas import KeypointSchema
from engine.scores import Status

_JUDGED_PEOPLE = 64

CountedFile = NpzKeypoints | ParquetKeypoints
"""A file whose number of rows is known before they are read."""
OpenedFile = FormFile | CsvKeypoints | CountedFile
"""Each has ``source``; ``schema``, the file's own description of its keypoints; ``keypoint_counts()``, the numbers of
keypoints of its readable records; and ``rows(width)`` or ``tables(schema, chunk_size)``."""


def open_file(source: SourceFile) -> OpenedFile:
    """Open a file by its suffix.

    Raises:
        BrokenFile: the file cannot be read, or holds no keypoints.
    """
    path = source.path.lower()
    if path.endswith(".npz"):
        return open_npz(source)
    if path.endswith(".parquet"):
        return open_parquet(source)
    if path.endswith(".txt"):
        return open_labels(source)
    if path.endswith(".csv"):
        return open_transfer_table(source) if _begins_with(source, TRANSFER_HEADER) else open_csv(source)
    return open_json(source)


def is_counted(source: SourceFile) -> bool:
    """True if it opens as a ``CountedFile``."""
    return source.path.lower().endswith((".npz", ".parquet"))


def schema_of(opened: OpenedFile, assumed: KeypointSchema | None, wanted: bool) -> KeypointSchema | None:
    """The schema of a file; None if it has neither keypoints nor a description of them.

    Args:
        assumed: the schema of the other files, or the one that the caller gave.
        wanted: True if the caller gave it.

    Raises:
        BrokenFile: the number of keypoints fits no schema, or the names are unknown.
    """
    by_count: Mapping[int, KeypointSchema] = opened.form.by_count if isinstance(opened, FormFile) else {}
    try:
        if opened.schema is None:
            likely = _likelier_order(opened, assumed) if isinstance(opened, FormFile) else None
            return likely or schema_of_counts(opened.keypoint_counts(), assumed, by_count)
        if isinstance(opened, FormFile | CsvKeypoints) or wanted:
            return schema_in_use(opened.schema, assumed if wanted else None)
        return opened.schema
    except ValueError as error:
        if isinstance(error, BrokenFile):
            raise
        raise BrokenFile(f"{opened.source.path}: {error}; see {PAGE}") from error


def _likelier_order(opened: FormFile, assumed: KeypointSchema | None) -> KeypointSchema | None:
    """The schema under which the file's first people are plausible, if their number leaves two and one fits."""
    count = next(opened.keypoint_counts(), 0)
    if count not in ORDERS or count in opened.by_count or (assumed is not None and len(assumed) == count):
        return None
    people = (row for row in opened.rows(count) if row.status == Status.OK and any(row.scores))
    few = list(itertools.islice(people, _JUDGED_PEOPLE))
    found = {schema: measure(table_of_rows(few, schema)).clutter for schema in ORDERS[count]}
    medians = {schema: np.median(known) for schema, values in found.items() if len(known := values[~np.isnan(values)])}
    best, other = sorted(ORDERS[count], key=lambda schema: medians.get(schema, np.inf))
    return best if medians.get(best, np.inf) < SEVERAL.clutter < medians.get(other, 0.0) else None


def mapped_table(table: KeypointTable, target: KeypointSchema, columns: np.ndarray | None) -> KeypointTable:
    """A table in another schema; see ``file_schema.columns_between``."""
    if columns is None:
        return replace(table, schema=target)
    keypoints = np.where((columns >= 0)[:, None], table.keypoints[:, columns], np.float32(0))
    confidence = np.where(columns >= 0, table.confidence[:, columns], np.float32(0))
    return replace(table, schema=target, keypoints=keypoints, confidence=confidence)


def _begins_with(source: SourceFile, header: bytes) -> bool:
    try:
        with open(source.path, "rb") as stream:
            return stream.read(len(header) + 3).removeprefix(b"\xef\xbb\xbf").startswith(header)
    except OSError as error:
        raise BrokenFile(f"{source.path}: cannot be read: {error.strerror}") from error
