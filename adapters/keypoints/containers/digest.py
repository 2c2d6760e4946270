"""A digest of a table, computed row by row and independent of the pieces; kept in the metadata of Parquet files.

Checksums of pages cover only the contents of pages. The digest binds the columns of a file to each other, to their
names and to the metadata: otherwise a flipped bit in a footer may turn one body's fingerprint into another's.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

DIGEST_KEY = "samebody.digest"


class TableDigest:
    """Takes the rows of a table of numbers, texts and lists of fixed width, in order."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[hashlib.blake2b, hashlib.blake2b]] = {}

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """The next rows."""
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            contents, lengths = self._columns.setdefault(name, (_new(), _new()))
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                _add(chunk, contents, lengths)

    def hexdigest(self, metadata: Mapping[str, str]) -> str:
        """The digest of all rows and of the metadata except the digest itself."""
        whole = _new()
        for name, (contents, lengths) in sorted(self._columns.items()):
            whole.update(f"{name}\n{contents.hexdigest()}\n{lengths.hexdigest()}\n".encode())
        for key, value in sorted(metadata.items()):
            if key != DIGEST_KEY:
                whole.update(f"{len(key)} {len(value)}\n{key}{value}".encode("utf-8", "surrogatepass"))
        return whole.hexdigest()


def _new() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _add(chunk: pa.Array, contents: hashlib.blake2b, lengths: hashlib.blake2b) -> None:
    kind = chunk.type
    if pa.types.is_dictionary(kind):
        chunk, kind = chunk.cast(kind.value_type), kind.value_type
    if pa.types.is_fixed_size_list(kind):
        chunk, kind = chunk.flatten(), kind.value_type
    if pa.types.is_string(kind):
        texts = [None if text is None else text.encode() for text in chunk.to_pylist()]
        lengths.update(np.array([-1 if text is None else len(text) for text in texts], "<i4").tobytes())
        contents.update(b"".join(text or b"" for text in texts))
        return
    if chunk.null_count:
        lengths.update(np.packbits(chunk.is_null().to_numpy(zero_copy_only=False)).tobytes())
        chunk = chunk.fill_null(0)
    values = chunk.to_numpy(zero_copy_only=False)
    contents.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
