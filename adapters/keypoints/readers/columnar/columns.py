"""Columns of Parquet and .npz files to tables: missing columns of both formats are filled in by the same rules.

Rows without a picture's name are called ``<file>_<row>`` with six digits. Without instance numbers the rows of one
picture stand together and are numbered in their order.
"""

from hashlib import blake2b

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Int, Int8, Int32

from adapters.keypoints.readers.file_rules import apply_rules
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import FARTHEST_PX, KeypointTable, instance_numbers, refuse_rows
from engine.body.schemas import KeypointSchema
from engine.scores import Status

LARGEST_INSTANCE = 2**31 - 1
_STATUSES = (Status.OK, Status.NO_DETECTION, Status.BAD_INPUT, Status.IMPLAUSIBLE)


def status_codes(labels: pa.Array, source: SourceFile) -> Int8[np.ndarray, " images"]:
    """Statuses for their labels; null is OK.

    Raises:
        BrokenFile: a label is unknown.
    """
    code_of = {status.label: status for status in _STATUSES}
    encoded = labels.cast(pa.string()).fill_null(Status.OK.label).dictionary_encode()
    found = encoded.dictionary.to_pylist()
    if unknown := set(found) - set(code_of):
        known = ", ".join(status.label for status in _STATUSES)
        raise BrokenFile(f"{source.path}: row_status {min(unknown)!r}; known: {known}")
    return np.array([code_of[label] for label in found], np.int8)[encoded.indices.to_numpy()]


class SeenPairs:
    """The pictures and instances that have been read, as 64-bit digests: 8 bytes a row."""

    def __init__(self) -> None:
        self._digests = np.zeros(0, np.uint64)

    def repeated(self, image: pa.Array, instance: Int32[np.ndarray, " images"]) -> Bool[np.ndarray, " images"]:
        """Marks rows that have been read before; rows without an instance number are not compared."""
        pairs = zip(image.to_pylist(), instance.tolist(), strict=True)
        content = b"".join(blake2b(f"{number}/{name}".encode(), digest_size=8).digest() for name, number in pairs)
        digests = np.frombuffer(content, np.uint64)
        _, first = np.unique(digests, return_index=True)
        again = np.ones(len(digests), bool)
        again[first] = False
        again |= np.isin(digests, self._digests)
        again &= instance >= 0
        self._digests = np.union1d(self._digests, digests)
        return again


def mark_repeated(table: KeypointTable, seen: SeenPairs) -> KeypointTable:
    """The table with a bad row for each picture and instance that has been read before, from any file."""
    again = seen.repeated(table.image, table.instance) & (table.status == Status.OK)
    reason = "an earlier row, in this file or another, has this image and instance"
    return refuse_rows(table, dict.fromkeys(np.flatnonzero(again).tolist(), reason), Status.BAD_INPUT)


class TableAssembler:
    """Tables from the pieces of one file, in the order of the file."""

    def __init__(self, source: SourceFile, schema: KeypointSchema, first_row: int = 0) -> None:
        self._source = source
        self._schema = schema
        self._rows = first_row
        self._previous: tuple[str | None, int] = (None, -1)
        self._pairs = SeenPairs()

    def table(
        self,
        keypoints: Float[np.ndarray, "images keypoints 2"],
        scores: Float[np.ndarray, "images keypoints"],
        image: pa.Array | None = None,
        instance: Int[np.ndarray, " images"] | None = None,
        status: Int8[np.ndarray, " images"] | None = None,
        detail: pa.Array | None = None,
        readable: Bool[np.ndarray, " images"] | None = None,
        box: Float[np.ndarray, "images 4"] | None = None,
        outline_px: Float[np.ndarray, "images places 2"] | None = None,
    ) -> KeypointTable:
        """The next rows.

        Args:
            readable: False for rows with a good status and another number of keypoints.
            box: x1, y1, x2, y2.
            outline_px: widths at ``engine.picture.outline.PLACES``; left out if the options of the file tell so.
        """
        count = len(keypoints)
        first_row, self._rows = self._rows, self._rows + count
        names = self._names(image, first_row, count)
        codes = np.zeros(count, np.int8) if status is None else status
        faults: list[tuple[np.ndarray, str]] = []
        if readable is not None:
            faults.append((~readable, f"not {len(self._schema)} keypoints with a score each"))
        if instance is None:
            numbers, self._previous = instance_numbers(names, self._previous)
        else:
            wide = instance.astype(np.int64, copy=False)
            possible = (wide >= 0) & (wide <= LARGEST_INSTANCE)
            numbers = np.where(possible, wide, -1).astype(np.int32)
            faults.append((~possible, f"its instance is missing, negative or beyond {LARGEST_INSTANCE}"))
            faults.append((self._pairs.repeated(names, numbers), "an earlier row has this image and instance"))
        details = pa.nulls(count, pa.string()) if detail is None else detail.cast(pa.string())
        good = codes == Status.OK
        problems: dict[int, str] = {}
        for fault, reason in faults:
            problems |= {int(k): reason for k in np.flatnonzero(good & fault)}
            good = good & ~fault
        if not good.all():
            keypoints = np.where(good[:, None, None], keypoints, 0)
            scores = np.where(good[:, None], scores, 0)
        ruled = apply_rules(keypoints, scores, self._source.options, box=box)
        problems |= ruled.problems
        if problems:
            bad = sorted(problems)
            codes = codes.copy()
            codes[bad] = Status.BAD_INPUT
            reasons = details.to_pylist()
            for k in bad:
                reasons[k] = f"{self._source.path}: row {first_row + k}: {problems[k]}"
            details = pa.array(reasons, pa.string())
        return KeypointTable(
            self._schema,
            names,
            numbers,
            ruled.keypoints,
            ruled.confidence,
            codes,
            details,
            ruled.box,
            self._outlines(outline_px, codes),
        )

    def _outlines(
        self, outline_px: Float[np.ndarray, "images places 2"] | None, codes: Int8[np.ndarray, " images"]
    ) -> Float32[np.ndarray, "images places 2"] | None:
        if outline_px is None or not self._source.options.outlines:
            return None
        good = (codes == Status.OK)[:, None, None] & (outline_px >= 0) & (outline_px <= FARTHEST_PX)
        found = outline_px.astype(np.float32, copy=False)
        # A width that no mask can have, and NaN, was not seen.
        return found if good.all() else np.where(good, found, np.float32(np.nan))

    def _names(self, image: pa.Array | None, first_row: int, count: int) -> pa.StringArray:
        if image is not None and not image.null_count:
            return image.cast(pa.string())
        given = [None] * count if image is None else image.cast(pa.string()).to_pylist()
        names = [f"{self._source.name}_{first_row + k:06d}" if name is None else name for k, name in enumerate(given)]
        return pa.array(names, pa.string())
