"""Keypoints in .npz, read in pieces and without pickles.

    keypoints (N, K, 2)   keypoint_scores, confidence or scores (N, K); or keypoints (N, K, 3) with the scores inside
    optional: image (N,)   instance (N,)   row_status (N,)   detail (N,)   bbox (N, 4)   outline (N, places, 2)
              schema and outline_places: texts, as in Parquet's metadata

``engine.body.files.arrays`` bounds the memory that an archive may ask for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from adapters.keypoints.readers.columnar.columns import TableAssembler, status_codes
from adapters.keypoints.readers.columnar.outline_column import (
    OUTLINE_COLUMN,
    OUTLINE_PLACES_ARRAY,
    check_outline_places,
)
from adapters.keypoints.readers.file_schema import schema_from_text
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import KeypointTable
from engine.body.files.arrays import ArrayHeader, StoredArrays, open_arrays
from engine.body.schemas import KeypointSchema
from engine.picture.outline_places import PLACES, SIDES

_SCORE_ARRAYS = ("keypoint_scores", "confidence", "scores")
_OPTIONAL_ARRAYS = ("image", "instance", "row_status", "detail", "bbox", OUTLINE_COLUMN)
_TEXT_ARRAYS = ("image", "row_status", "detail")
_LONGEST_TEXT_BYTES = 16384
_LONGEST_SCHEMA_BYTES = 1 << 20
_PIECE_BYTES = 32 << 20
_MOST_KEYPOINTS = 2048


@dataclass(frozen=True)
class NpzKeypoints:
    """An opened archive whose arrays fit together."""

    source: SourceFile
    schema: KeypointSchema | None
    headers: tuple[ArrayHeader, ...]
    """Headers of the arrays that are read: keypoints, scores if they are separate, then the optional ones."""

    @property
    def row_count(self) -> int:
        return self.headers[0].shape[0]

    def keypoint_counts(self) -> Iterator[int]:
        """The number of keypoints, if there is a row."""
        rows, width, _ = self.headers[0].shape
        if rows:
            yield width

    def tables(self, schema: KeypointSchema, chunk_size: int) -> Iterator[KeypointTable]:
        """All rows, read with ``schema``.

        Raises:
            BrokenFile: the file is damaged, or has another number of keypoints than ``schema``.
        """
        rows, width, _ = self.headers[0].shape
        if width != len(schema):
            raise BrokenFile(f"{self.source.path}: {width} keypoints, expected the {len(schema)} of {schema.name}")
        assembler = TableAssembler(self.source, schema)
        at_once = min(chunk_size, *(max(_PIECE_BYTES // max(header.row_bytes, 1), 1) for header in self.headers))
        with open_arrays(self.source.path, BrokenFile, called=self.source.path) as stored:
            pieces = [stored.pieces(header.name, at_once) for header in self.headers]
            for _ in range(0, rows, at_once):
                arrays = {header.name: next(piece) for header, piece in zip(self.headers, pieces, strict=True)}
                yield self._table(arrays, assembler)

    def _table(self, arrays: dict[str, np.ndarray], assembler: TableAssembler) -> KeypointTable:
        text = {name: _texts(arrays[name]) for name in _TEXT_ARRAYS if name in arrays}
        status = text.get("row_status")
        detail = text.get("detail")
        keypoints = _floats(arrays["keypoints"])
        scores = next((_floats(arrays[name]) for name in _SCORE_ARRAYS if name in arrays), keypoints[..., -1])
        return assembler.table(
            keypoints[..., :2],
            scores,
            image=text.get("image"),
            instance=arrays.get("instance"),
            status=None if status is None else status_codes(status, self.source),
            # NumPy's texts have no null; an empty text stands for no detail.
            detail=None if detail is None else pa.array([text or None for text in detail.to_pylist()], pa.string()),
            box=_floats(arrays["bbox"]) if "bbox" in arrays else None,
            outline_px=_floats(arrays[OUTLINE_COLUMN]) if OUTLINE_COLUMN in arrays else None,
        )


def open_npz(source: SourceFile) -> NpzKeypoints:
    """Check the arrays of an archive without reading them.

    Raises:
        BrokenFile: not an .npz, an array is missing or pickled, or the arrays do not fit together.
    """
    with open_arrays(source.path, BrokenFile, called=source.path) as stored:
        names = stored.names
        scores = next((name for name in _SCORE_ARRAYS if name in names), None)
        inside = scores is None and "keypoints" in names and stored.header("keypoints").shape[-1:] == (3,)
        if "keypoints" not in names or (scores is None and not inside):
            raise BrokenFile(
                f"{source.path}: no arrays keypoints and keypoint_scores; it has {', '.join(sorted(names)[:20])}"
            )
        optional = [name for name in _OPTIONAL_ARRAYS if name in names]
        if OUTLINE_COLUMN in optional and not source.options.outlines:
            optional.remove(OUTLINE_COLUMN)
        if OUTLINE_COLUMN in optional:
            digest = _stored_text(stored, OUTLINE_PLACES_ARRAY, source) if OUTLINE_PLACES_ARRAY in names else None
            check_outline_places(digest, source)
        headers = tuple(stored.header(name) for name in ("keypoints", *([] if scores is None else [scores]), *optional))
        described = _stored_text(stored, "schema", source) if "schema" in names else None
    schema = None if described is None else schema_from_text(described, source.path)
    _check(headers, source)
    return NpzKeypoints(source, schema, headers)


def _check(headers: tuple[ArrayHeader, ...], source: SourceFile) -> None:
    keypoints, *others = headers
    scores = [header for header in others if header.name in _SCORE_ARRAYS]
    optional = [header for header in others if header.name in _OPTIONAL_ARRAYS]
    rows = keypoints.shape[0] if keypoints.shape else 0
    last = 2 if scores else 3
    if len(keypoints.shape) != 3 or keypoints.shape[2] != last or any(s.shape != keypoints.shape[:2] for s in scores):
        shapes = " and ".join(f"{header.name} {header.shape}" for header in (keypoints, *scores))
        raise BrokenFile(f"{source.path}: {shapes}, expected (N, K, 2) and (N, K)")
    width = keypoints.shape[1]
    if width > _MOST_KEYPOINTS:
        raise BrokenFile(f"{source.path}: {width:,} keypoints a row; nobody has more than {_MOST_KEYPOINTS}")
    for header in (keypoints, *scores):
        if header.dtype.kind not in "fiu":
            raise BrokenFile(f"{source.path}: {header.name} is {header.dtype}, expected numbers")
    for header in optional:
        kinds, wanted = ("iu", "whole numbers") if header.name == "instance" else ("U", "texts")
        if header.name == "image":
            kinds += "iu"
        shape: tuple[int, ...] = (rows,)
        if header.name == "bbox":
            kinds, wanted, shape = "fiu", "boxes of four numbers", (rows, 4)
        elif header.name == OUTLINE_COLUMN:
            shape = (rows, len(PLACES), SIDES)
            kinds, wanted = "fiu", f"outlines of {len(PLACES)} places with {SIDES} widths each"
        if header.dtype.kind not in kinds or header.shape != shape:
            raise BrokenFile(f"{source.path}: {header.name} is {header.dtype}{header.shape}, expected {rows} {wanted}")
        if header.dtype.itemsize > _LONGEST_TEXT_BYTES:
            raise BrokenFile(f"{source.path}: {header.name} has texts of {header.dtype.itemsize // 4} characters")


def _stored_text(stored: StoredArrays, name: str, source: SourceFile) -> str:
    header = stored.header(name)
    if header.dtype.kind != "U" or header.shape != () or header.size_bytes > _LONGEST_SCHEMA_BYTES:
        raise BrokenFile(f"{source.path}: {name} is {header.dtype}{header.shape}, expected one text")
    return str(stored.read(name))


def _floats(values: np.ndarray) -> np.ndarray:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native.astype(np.result_type(native, np.float32), copy=False)


def _texts(values: np.ndarray) -> pa.Array:
    return pa.array(values.astype(str).tolist(), pa.string())
