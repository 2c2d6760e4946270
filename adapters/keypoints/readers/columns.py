"""Columns of Parquet and .npz files to tables: what both formats leave out is filled in here, by the same rules.

Rows without a picture's name are called ``<file>_<row>`` with six digits. Without instance numbers the rows of one
picture stand together and are numbered in their order.
"""

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Int8

from adapters.keypoints.readers.file_rules import apply_rules
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import KeypointTable, instance_numbers
from engine.body.schemas import KeypointSchema
from engine.scores import Status

_STATUSES = (Status.OK, Status.NO_DETECTION, Status.BAD_INPUT)


def status_codes(labels: pa.Array, source: SourceFile) -> Int8[np.ndarray, " images"]:
    """Statuses for their labels; null is OK.

    Raises:
        BrokenFile: a label that no reader gives.
    """
    code_of = {status.label: status for status in _STATUSES}
    encoded = labels.cast(pa.string()).fill_null(Status.OK.label).dictionary_encode()
    found = encoded.dictionary.to_pylist()
    if unknown := set(found) - set(code_of):
        known = ", ".join(status.label for status in _STATUSES)
        raise BrokenFile(f"{source.path}: row_status {min(unknown)!r}; known: {known}")
    return np.array([code_of[label] for label in found], np.int8)[encoded.indices.to_numpy()]


class TableAssembler:
    """Tables from the pieces of one file, in the order of the file."""

    def __init__(self, source: SourceFile, schema: KeypointSchema, first_row: int = 0) -> None:
        self._source = source
        self._schema = schema
        self._rows = first_row
        self._previous: tuple[str | None, int] = (None, -1)

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
    ) -> KeypointTable:
        """The next rows.

        Args:
            readable: False where a row that claims to be good has keypoints of another number.
            box: x1, y1, x2, y2.
        """
        count = len(keypoints)
        first_row, self._rows = self._rows, self._rows + count
        names = self._names(image, first_row, count)
        if instance is None:
            numbers, self._previous = instance_numbers(names, self._previous)
        else:
            numbers = instance.astype(np.int32, copy=False)
        codes = np.zeros(count, np.int8) if status is None else status
        details = pa.nulls(count, pa.string()) if detail is None else detail.cast(pa.string())
        good = codes == Status.OK
        problems: dict[int, str] = {}
        if readable is not None and not readable.all():
            wanted = f"not {len(self._schema)} keypoints with a score each"
            problems = {int(k): wanted for k in np.flatnonzero(good & ~readable)}
            good = good & readable
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
        return KeypointTable(self._schema, names, numbers, ruled.keypoints, ruled.confidence, codes, details, ruled.box)

    def _names(self, image: pa.Array | None, first_row: int, count: int) -> pa.StringArray:
        if image is not None and not image.null_count:
            return image.cast(pa.string())
        given = [None] * count if image is None else image.cast(pa.string()).to_pylist()
        names = [f"{self._source.name}_{first_row + k:06d}" if name is None else name for k, name in enumerate(given)]
        return pa.array(names, pa.string())
