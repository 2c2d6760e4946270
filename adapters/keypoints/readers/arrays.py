"""Keypoints in .npz, read in pieces and without pickles.

    keypoints (N, K, 2)   keypoint_scores or confidence (N, K)
    optional: image (N,)   instance (N,)   row_status (N,)   detail (N,)   schema: a text, as in Parquet's metadata

Before anything is read, the size that an array claims is compared with the size of its entry in the archive: a header
can ask for any amount of memory.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from adapters.keypoints.readers.columns import TableAssembler, status_codes
from adapters.keypoints.readers.file_schema import schema_from_text
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import KeypointTable
from engine.body.schemas import KeypointSchema

_SCORE_ARRAYS = ("keypoint_scores", "confidence")
_TEXT_ARRAYS = ("image", "row_status", "detail")
_LONGEST_TEXT_BYTES = 16384
# zipfile's streams are IO[bytes] by its type stubs and another class at run time.
_Stream = Any
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class _Header:
    """What an array in the archive claims to be."""

    name: str
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))


@dataclass(frozen=True)
class NpzKeypoints:
    """An opened archive whose arrays fit together."""

    source: SourceFile
    schema: KeypointSchema | None
    headers: tuple[_Header, ...]
    """Of the arrays that are read: keypoints, scores, then those that are there."""

    @property
    def row_count(self) -> int:
        return self.headers[1].shape[0]

    def keypoint_counts(self) -> Iterator[int]:
        """The number of keypoints, if there is a row."""
        rows, width = self.headers[1].shape
        if rows:
            yield width

    def tables(self, schema: KeypointSchema, chunk_size: int) -> Iterator[KeypointTable]:
        """All rows, read with ``schema``.

        Raises:
            BrokenFile: the file is damaged, or has another number of keypoints than ``schema``.
        """
        rows, width = self.headers[1].shape
        if width != len(schema):
            raise BrokenFile(f"{self.source.path}: {width} keypoints, expected the {len(schema)} of {schema.name}")
        assembler = TableAssembler(self.source, schema)
        try:
            with zipfile.ZipFile(self.source.path) as archive, ExitStack() as opened:
                pieces = [
                    _pieces(opened.enter_context(archive.open(f"{header.name}.npy")), header, chunk_size)
                    for header in self.headers
                ]
                for _ in range(0, rows, chunk_size):
                    arrays = {header.name: next(piece) for header, piece in zip(self.headers, pieces, strict=True)}
                    yield self._table(arrays, assembler)
        except BrokenFile:
            raise
        except _DAMAGE as error:
            raise BrokenFile(f"{self.source.path}: damaged .npz: {error}") from error

    def _table(self, arrays: dict[str, np.ndarray], assembler: TableAssembler) -> KeypointTable:
        text = {name: _texts(arrays[name]) for name in _TEXT_ARRAYS if name in arrays}
        status = text.get("row_status")
        detail = text.get("detail")
        return assembler.table(
            _floats(arrays["keypoints"]),
            _floats(arrays[self.headers[1].name]),
            image=text.get("image"),
            instance=arrays.get("instance"),
            status=None if status is None else status_codes(status, self.source),
            # NumPy's texts have no null; nothing to say is an empty text there.
            detail=None if detail is None else pa.array([text or None for text in detail.to_pylist()], pa.string()),
        )


def open_npz(source: SourceFile) -> NpzKeypoints:
    """Check the arrays of an archive without reading them.

    Raises:
        BrokenFile: not an .npz, an array is missing or pickled, or the arrays do not fit together.
    """
    try:
        with zipfile.ZipFile(source.path) as archive:
            names = {info.filename.removesuffix(".npy") for info in archive.infolist()}
            scores = next((name for name in _SCORE_ARRAYS if name in names), None)
            if "keypoints" not in names or scores is None:
                raise BrokenFile(
                    f"{source.path}: no arrays keypoints and keypoint_scores; it has {', '.join(sorted(names)[:20])}"
                )
            optional = [name for name in ("image", "instance", "row_status", "detail") if name in names]
            headers = tuple(_header(archive, name, source) for name in ("keypoints", scores, *optional))
            schema = _stored_schema(archive, source) if "schema" in names else None
    except BrokenFile:
        raise
    except _DAMAGE as error:
        raise BrokenFile(f"{source.path}: not a readable .npz: {error}") from error
    _check(headers, source)
    return NpzKeypoints(source, schema, headers)


def _header(archive: zipfile.ZipFile, name: str, source: SourceFile) -> _Header:
    with archive.open(f"{name}.npy") as stream:
        header = _read_header(stream, name)
        start = stream.tell()
    if header.dtype.hasobject:
        raise BrokenFile(f"{source.path}: {name} holds pickled objects, which samebody never reads; save plain arrays")
    claimed = header.row_bytes * (header.shape[0] if header.shape else 1)
    size = archive.getinfo(f"{name}.npy").file_size - start
    if claimed != size:
        raise BrokenFile(f"{source.path}: {name} should take {claimed} bytes for its shape {header.shape}, has {size}")
    return header


def _read_header(stream: _Stream, name: str) -> _Header:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has .npy version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read(stream)
    return _Header(name, shape, fortran_order and len(shape) > 1, dtype)


def _check(headers: tuple[_Header, ...], source: SourceFile) -> None:
    keypoints, scores, *optional = headers
    rows = keypoints.shape[0] if keypoints.shape else 0
    if len(keypoints.shape) != 3 or keypoints.shape[2] != 2 or scores.shape != keypoints.shape[:2]:
        shapes = f"keypoints {keypoints.shape} and {scores.name} {scores.shape}"
        raise BrokenFile(f"{source.path}: {shapes}, expected (N, K, 2) and (N, K)")
    for header in (keypoints, scores):
        if header.dtype.kind not in "fiu":
            raise BrokenFile(f"{source.path}: {header.name} is {header.dtype}, expected numbers")
    for header in optional:
        kinds, wanted = ("iu", "whole numbers") if header.name == "instance" else ("U", "texts")
        if header.name == "image":
            kinds += "iu"
        if header.dtype.kind not in kinds or header.shape != (rows,):
            raise BrokenFile(f"{source.path}: {header.name} is {header.dtype}{header.shape}, expected {rows} {wanted}")
        if header.dtype.itemsize > _LONGEST_TEXT_BYTES:
            raise BrokenFile(f"{source.path}: {header.name} has texts of {header.dtype.itemsize // 4} characters")


def _stored_schema(archive: zipfile.ZipFile, source: SourceFile) -> KeypointSchema:
    header = _header(archive, "schema", source)
    if header.dtype.kind != "U" or header.shape != ():
        raise BrokenFile(f"{source.path}: schema is {header.dtype}{header.shape}, expected one text")
    with archive.open("schema.npy") as stream:
        _read_header(stream, "schema")
        text = np.frombuffer(stream.read(), header.dtype)
    return schema_from_text(str(text[0]), source.path)


def _pieces(stream: _Stream, header: _Header, rows: int) -> Iterator[np.ndarray]:
    _read_header(stream, header.name)
    if header.fortran_order:
        # Its rows are scattered over the whole array.
        whole = np.frombuffer(stream.read(), header.dtype).reshape(header.shape, order="F")
        yield from (whole[start : start + rows] for start in range(0, header.shape[0], rows))
        return
    for start in range(0, header.shape[0], rows):
        count = min(rows, header.shape[0] - start)
        content = stream.read(count * header.row_bytes)
        yield np.frombuffer(content, header.dtype).reshape(count, *header.shape[1:])


def _floats(values: np.ndarray) -> np.ndarray:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native.astype(np.result_type(native, np.float32), copy=False)


def _texts(values: np.ndarray) -> pa.Array:
    return pa.array(values.astype(str).tolist(), pa.string())
