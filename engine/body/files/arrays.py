"""Arrays in .npz archives, read within bounds: nothing is unpickled, and no file takes more memory than it may.

    with open_arrays(path, ShapeFileError, most_bytes) as stored:
        stored.header("betas").shape
        stored.read("betas")

An archive is checked from its directory and from the headers of its arrays, before anything of the size that they claim
is allocated. Only what NumPy itself writes is read: members that are stored or deflated (the other methods decompress
without a bound), plain numbers and texts, each array as long as its header claims. CRC-32 of the archive covers every
member; ``arrays_digest`` binds the arrays of a file to each other and to their names.

Source: NumPy enhancement proposal 1 (the .npy format); PKWARE, APPNOTE.TXT 6.3.
"""

import hashlib
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

HEADER_NAME = "header"
"""The member that holds a file's description as JSON."""
LARGEST_HEADER_BYTES = 16 << 20
_MOST_MEMBERS_BYTES = 1 << 20
_LONGEST_NPY_HEADER = 4096
_LONGEST_NAME = 200
_MOST_AXES = 8
_ZIP_END, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_ZIP_END_BYTES, _LONGEST_COMMENT, _ZIP64_LOCATOR_BYTES = 22, 65535, 20
_BOMB_BYTES, _BOMB_RATIO = 64 << 20, 200
"""Measured keypoints compress to a quarter at best."""
_LARGEST_SCATTERED_BYTES = 256 << 20
_DESCRIPTION = re.compile(r"'descr'\s*:\s*'([<>=|]?)([a-zA-Z])(\d{0,6})'")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([\d\s,L]*)\)")


class ArrayFileError(ValueError):
    """An archive is damaged, or holds something else than plain arrays within the bounds."""


@dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of an array in an archive; its size has been compared with that of its member."""

    name: str
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        """Size of one entry of the first axis."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def size_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


class StoredArrays:
    """The arrays of an open archive. An array is checked when it is read, not before."""

    def __init__(self, archive: zipfile.ZipFile, most_bytes: int | None) -> None:
        self._archive = archive
        self._room = most_bytes
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self._headers: dict[str, ArrayHeader] = {}
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in self._entries or not name.isprintable() or len(name) > _LONGEST_NAME:
                raise ArrayFileError(f"the array {name[:_LONGEST_NAME]!a} is there twice, or has no name")
            self._entries[name] = entry

    @property
    def names(self) -> list[str]:
        """Names of all members, in their order."""
        return list(self._entries)

    def header(self, name: str) -> ArrayHeader:
        """Shape and type of an array, from its header alone."""
        if name not in self._headers:
            if name not in self._entries:
                raise ArrayFileError(f"it has no array {name}")
            self._headers[name] = self._checked(name, self._entries[name])
        return self._headers[name]

    def read(self, name: str) -> np.ndarray:
        """One array, not to be written to."""
        header = self.header(name)
        self._take(header.size_bytes)
        with self._archive.open(self._entries[name]) as stream:
            _npy_header(stream, name)
            content = _exactly(stream, header.size_bytes, name)
        return _shaped(content, header, header.shape)

    def pieces(self, name: str, rows: int) -> Iterator[np.ndarray]:
        """One array in pieces of so many rows, not to be written to.

        An array in Fortran's order is read whole and cut afterwards: its rows are scattered over all of it.
        """
        header = self.header(name)
        count = header.shape[0]
        if header.fortran_order:
            if header.size_bytes > _LARGEST_SCATTERED_BYTES:
                raise ArrayFileError(f"{name} is in Fortran's order and too large to be read so; save it in C's order")
            whole = self.read(name)
            yield from (whole[start : start + rows] for start in range(0, count, rows))
            return
        with self._archive.open(self._entries[name]) as stream:
            _npy_header(stream, name)
            for start in range(0, count, rows):
                here = min(rows, count - start)
                content = _exactly(stream, here * header.row_bytes, name)
                yield _shaped(content, header, (here, *header.shape[1:]))

    def json_header(self) -> Any:
        """The file's own description, decoded; None if it has no such member."""
        if HEADER_NAME not in self._entries:
            return None
        header = self.header(HEADER_NAME)
        if header.dtype.kind != "U" or header.shape or header.size_bytes > LARGEST_HEADER_BYTES:
            raise ArrayFileError(f"its header is {header.dtype}{header.shape}, expected one text")
        return json.loads(str(self.read(HEADER_NAME)))

    def _take(self, size: int) -> None:
        if self._room is None:
            return
        self._room -= size
        if self._room < 0:
            raise ArrayFileError("its arrays are larger than those of any file of this kind")

    def _checked(self, name: str, entry: zipfile.ZipInfo) -> ArrayHeader:
        if entry.flag_bits & 0x1:
            raise ArrayFileError(f"{name} is encrypted; save it without a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArrayFileError(f"{name} is compressed by another method than NumPy's; save it with numpy.savez")
        if entry.file_size > max(_BOMB_BYTES, _BOMB_RATIO * entry.compress_size):
            raise ArrayFileError(f"{name} would grow to {entry.file_size >> 20} MiB, {_BOMB_RATIO} times its size here")
        with self._archive.open(entry) as stream:
            header, start = _npy_header(stream, name)
        if header.size_bytes != entry.file_size - start:
            size = entry.file_size - start
            raise ArrayFileError(
                f"{name} should take {header.size_bytes} bytes for its shape {header.shape}, has {size}"
            )
        return header


@contextmanager
def open_arrays(
    path: str | os.PathLike[str], failure: type[ValueError], most_bytes: int | None = None, called: str | None = None
) -> Iterator[StoredArrays]:
    """The arrays of an archive, for a block that reads them.

    Args:
        failure: type of the exception raised, also in the block, for every failure of zipfile, zlib and NumPy.
        called: name of the file at the beginning of messages; by default its name without folders.
        most_bytes: largest size of all arrays that are read whole; None for callers that read in pieces.

    Raises:
        FileNotFoundError: there is no such file.
    """
    name = os.path.basename(path) if called is None else called
    try:
        with open(path, "rb") as stream:
            _check_directory(stream)
            with zipfile.ZipFile(stream) as archive:
                yield StoredArrays(archive, most_bytes)
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, deflate, JSON and numpy raise different exceptions for damaged bytes
        if isinstance(error, failure) and not isinstance(error, ArrayFileError):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error) or type(error).__name__
        raise failure(f"{name}: damaged or not an .npz file ({' '.join(reason.split())[:300]})") from error


def read_arrays(
    path: str | os.PathLike[str], failure: type[ValueError], most_bytes: int, called: str | None = None
) -> tuple[Any, dict[str, np.ndarray]]:
    """The JSON header (None if there is none) and all other arrays of a file; see ``open_arrays``.

    If the header has a digest of the arrays it must be theirs.
    """
    with open_arrays(path, failure, most_bytes, called) as stored:
        header = stored.json_header()
        arrays = {name: stored.read(name) for name in stored.names if name != HEADER_NAME}
        check_digest(header, arrays)
    return header, arrays


def check_digest(header: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Check that the arrays were written with this header. Files older than the digest have none and pass.

    Raises:
        ArrayFileError: the digests differ.
    """
    if isinstance(header, dict) and header.get("digest") not in (None, arrays_digest(arrays)):
        raise ArrayFileError("damaged: the arrays are not those that were written with this header")


def save_arrays(
    stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], compressed: bool = False
) -> None:
    """An archive of arrays with a JSON header and the digest of the arrays in it."""
    text = json.dumps({**header, "digest": arrays_digest(arrays)})
    save = np.savez_compressed if compressed else np.savez
    save(stream, allow_pickle=False, **{HEADER_NAME: np.array(text)}, **arrays)  # pyright: ignore[reportArgumentType]


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Hexadecimal digits that change with any name, type, shape or bit of the arrays, but not with their order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\n{array.dtype.newbyteorder('<').str}\n{array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data.cast("B") if array.size else b"")
    return digest.hexdigest()[:32]


def _check_directory(stream: IO[bytes]) -> None:
    """Refuse a directory of members that would take more memory than any file of arrays needs."""
    size = stream.seek(0, os.SEEK_END)
    length = min(size, _ZIP_END_BYTES + _LONGEST_COMMENT + _ZIP64_LOCATOR_BYTES)
    stream.seek(size - length)
    tail = stream.read(length)
    stream.seek(0)
    end = tail.rfind(_ZIP_END)
    if end < 0 or len(tail) < end + _ZIP_END_BYTES:
        raise zipfile.BadZipFile("it has no directory")
    directory_bytes = int.from_bytes(tail[end + 12 : end + 16], "little")
    # A second directory for large archives would be read in place of the first.
    locator = tail[max(end - _ZIP64_LOCATOR_BYTES, 0) : end].startswith(_ZIP64_LOCATOR)
    if directory_bytes > _MOST_MEMBERS_BYTES or (locator and size < 1 << 31):
        raise ArrayFileError("it has more members than any file of arrays")


def _npy_header(stream: Any, name: str) -> tuple[ArrayHeader, int]:
    """The header of an array, and how many bytes it takes."""
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ArrayFileError(f"{name} is not an .npy array")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(_exactly(stream, width, name), "little")
    if length > _LONGEST_NPY_HEADER:
        raise ArrayFileError(f"{name} has a header of {length} bytes")
    text = _exactly(stream, length, name).decode("latin1")
    kind, order, shape = _DESCRIPTION.search(text), _ORDER.search(text), _SHAPE.search(text)
    if kind is not None and kind[2] == "O":
        raise ArrayFileError(f"{name} holds pickled objects, which samebody never reads; save plain arrays")
    if kind is None or order is None or shape is None or kind[2] not in "biufUS" or not kind[3]:
        raise ArrayFileError(f"{name} holds neither plain numbers nor texts; save it with numpy.savez")
    sizes = tuple(int(size) for size in shape[1].replace("L", "").split(",") if size.strip())
    if len(sizes) > _MOST_AXES or any(size > 1 << 40 for size in sizes):
        raise ArrayFileError(f"{name} has an impossible shape")
    dtype = np.dtype(f"{kind[1] if kind[1] in ('<', '>') else '|'}{kind[2]}{kind[3]}")
    return ArrayHeader(name, sizes, order[1] == "True" and len(sizes) > 1, dtype), 8 + width + length


def _exactly(stream: Any, size: int, name: str) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise ArrayFileError(f"{name} is cut short")
    return content


def _shaped(content: bytes, header: ArrayHeader, shape: tuple[int, ...]) -> np.ndarray:
    if not content:
        return np.zeros(shape, header.dtype)
    array = np.frombuffer(content, header.dtype).reshape(shape, order="F" if header.fortran_order else "C")
    return array.astype(header.dtype.newbyteorder("="), copy=False)
