"""Keypoint tables to files that the readers read back.

Parquet and .npz keep every row, status and detail included, in the layouts of ``readers`` and
``readers.columnar.arrays`` (only NUL characters at the end of a name are lost in .npz: NumPy's texts have no place
for them). JSON is written as COCO results, which other programs understand: image_id is the picture's name (a number
if the name is one), and each row with status OK is a record. The format has no place for other rows, for the
instance number (it follows from the order), for outlines or for the schema.
"""

import os
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.keypoints.readers.columnar.outline_column import (
    OUTLINE_COLUMN,
    OUTLINE_NUMBERS,
    OUTLINE_PLACES_ARRAY,
    OUTLINE_PLACES_KEY,
    PLACES_DIGEST,
)
from adapters.keypoints.readers.file_schema import METADATA_KEY, schema_to_text
from adapters.keypoints.table import KeypointTable
from engine.body.files import replace_file
from engine.scores import LABELS, Status

SUFFIXES = (".parquet", ".npz", ".json")
_ROWS_PER_GROUP = 65536
_ROWS_PER_PIECE = 4096


def write_keypoints(path: str | os.PathLike[str], table: KeypointTable) -> None:
    """Write a table to a temporary file beside its place, and rename the file when it is complete.

    Raises:
        ValueError: the suffix of ``path`` is not in ``SUFFIXES``, or its folder does not exist.
    """
    check_keypoint_path(path)
    writers = {".parquet": _write_parquet, ".npz": _write_npz, ".json": _write_coco_results}
    write = writers[Path(path).suffix.lower()]
    replace_file(path, lambda stream: write(stream, table))


def check_keypoint_path(path: str | os.PathLike[str]) -> None:
    """Refuse a path that keypoints cannot be written to, before the work is done.

    Raises:
        ValueError: its suffix is not in ``SUFFIXES``, or its folder does not exist.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: keypoints are written as {', '.join(SUFFIXES)}")
    if not Path(path).parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {Path(path).parent}; make it first")


def arrow_table(table: KeypointTable) -> pa.Table:
    """The table in samebody's Parquet layout, keypoints and scores without a copy."""
    width = len(table.schema)

    def lists(values: np.ndarray, size: int) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size)

    columns = {
        "image": table.image,
        "instance": pa.array(table.instance),
        "keypoints": lists(table.keypoints, 2 * width),
        "keypoint_scores": lists(table.confidence, width),
        "row_status": pa.DictionaryArray.from_arrays(pa.array(table.status), pa.array(LABELS)).cast(pa.string()),
        "detail": table.detail,
    }
    if table.box is not None:
        columns["bbox"] = lists(table.box, 4)
    metadata = {METADATA_KEY: schema_to_text(table.schema)}
    if table.outline_px is not None:
        columns[OUTLINE_COLUMN] = lists(table.outline_px, OUTLINE_NUMBERS)
        metadata[OUTLINE_PLACES_KEY] = PLACES_DIGEST
    return pa.table(columns, metadata=metadata)


def _write_parquet(stream: IO[bytes], table: KeypointTable) -> None:
    # Measured coordinates do not repeat: a dictionary of them takes twice the time to write and more room.
    repeating = ["row_status", "detail"]
    pq.write_table(
        arrow_table(table),
        stream,
        row_group_size=_ROWS_PER_GROUP,
        write_page_checksum=True,
        use_dictionary=repeating,  # pyright: ignore[reportArgumentType] (its stubs know only bool)
    )


def _write_npz(stream: IO[bytes], table: KeypointTable) -> None:
    def texts(values: list[str]) -> np.ndarray:
        return np.array(values, dtype=np.str_)

    optional: dict[str, Any] = {} if table.box is None else {"bbox": table.box}
    if table.outline_px is not None:
        optional |= {OUTLINE_COLUMN: table.outline_px, OUTLINE_PLACES_ARRAY: np.array(PLACES_DIGEST)}
    np.savez(
        stream,
        schema=np.array(schema_to_text(table.schema)),
        keypoints=table.keypoints,
        keypoint_scores=table.confidence,
        image=texts(table.image.to_pylist()),
        instance=table.instance,
        row_status=texts([LABELS[code] for code in table.status]),
        detail=texts([detail or "" for detail in table.detail.to_pylist()]),
        **optional,
    )


def _write_coco_results(stream: IO[bytes], table: KeypointTable) -> None:
    encode = msgspec.json.Encoder().encode
    good = np.flatnonzero(table.status == Status.OK)
    names = table.image.take(pa.array(good)).to_pylist()
    stream.write(b"[")
    for start in range(0, len(good), _ROWS_PER_PIECE):
        rows = good[start : start + _ROWS_PER_PIECE]
        triples = np.concatenate([table.keypoints[rows], table.confidence[rows][..., None]], axis=-1)
        records = [
            encode({"image_id": _image_id(name), "category_id": 1, "keypoints": values, "score": score})
            for name, values, score in zip(
                names[start : start + _ROWS_PER_PIECE],
                triples.reshape(len(rows), -1).tolist(),
                table.confidence[rows].mean(axis=1).tolist(),
                strict=True,
            )
        ]
        stream.write((b",\n" if start else b"\n") + b",\n".join(records))
    stream.write(b"\n]\n")


def _image_id(name: str) -> int | str:
    """COCO's tools want numbers; a name becomes a number only if the number gives back the name."""
    is_number = name.isascii() and name.isdigit() and len(name) < 16 and str(int(name)) == name
    return int(name) if is_number else name
