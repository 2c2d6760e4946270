"""β and its evidence as bytes.

    optimized_beta_blob    10 × float32, little-endian: 40 bytes
    shape_evidence_blob    65 × float32, little-endian: 260 bytes; the upper triangle of Λ by rows, then h

    shape_record           JSON: ``ShapeRecord``, with a digest of the other two and of itself

Values are stored without conversion, so reading returns the fitted bits. Values of another type, size or form are
refused on writing and on reading.
"""

import hashlib
import json
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Float32

from adapters.host.inputs import BETA_COUNT
from engine.evidence.shape_evidence import Evidence

BETA_BYTES = 4 * BETA_COUNT
_UPPER = np.triu_indices(BETA_COUNT)
EVIDENCE_BYTES = 4 * (len(_UPPER[0]) + BETA_COUNT)


class BlobError(ValueError):
    """Bytes, or numbers to be stored, are not a β or not evidence."""


def encode_beta(betas: Float32[np.ndarray, "10"]) -> bytes:
    """Encode β for storage.

    Raises:
        BlobError: not ten finite float32 numbers.
    """
    return _encode(betas, (BETA_COUNT,), "betas")


def decode_beta(blob: Any) -> Float32[np.ndarray, "10"]:
    """β from ``optimized_beta_blob``.

    Raises:
        BlobError: not 40 bytes, or they hold NaN or infinity.
    """
    return _decode(blob, BETA_BYTES, "optimized_beta_blob")


def encode_evidence(evidence: Evidence) -> bytes:
    """Encode evidence for storage.

    Raises:
        BlobError: not finite float32 numbers of ten shape components, or Λ is not symmetric.
    """
    precision = np.asarray(evidence.precision)
    _check(precision, (BETA_COUNT, BETA_COUNT), "the evidence's precision")
    if not np.array_equal(precision, precision.T):
        raise BlobError("the evidence's precision is not symmetric")
    information = _encode(evidence.information, (BETA_COUNT,), "the evidence's information")
    return precision[_UPPER].astype("<f4").tobytes() + information


def decode_evidence(blob: Any) -> Evidence:
    """Evidence from ``shape_evidence_blob``.

    Raises:
        BlobError: not 260 bytes, or they hold NaN or infinity.
    """
    numbers = _decode(blob, EVIDENCE_BYTES, "shape_evidence_blob")
    precision = np.zeros((BETA_COUNT, BETA_COUNT), np.float32)
    precision[_UPPER] = numbers[:-BETA_COUNT]
    precision.T[_UPPER] = numbers[:-BETA_COUNT]
    return Evidence(precision, numbers[-BETA_COUNT:].copy())


class ShapeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Provenance of β."""

    shape: dict[str, Any]
    """``Shape.record()``."""
    references_digest: str
    """Digest of the references that β was fitted to."""
    digest: str = ""
    """Joint digest of the columns as written."""


def encode_record(record: ShapeRecord, beta: bytes, evidence: bytes | None) -> str:
    """The record as it is stored beside β and evidence."""
    return _text(msgspec.structs.replace(record, digest=_digest(record, beta, evidence)))


def decode_record(text: Any, beta: Any, evidence: Any) -> ShapeRecord:
    """The record that belongs to these bytes.

    Raises:
        BlobError: the columns are not those that were written together.
    """
    try:
        record = msgspec.json.decode(text, type=ShapeRecord)
    except (TypeError, msgspec.MsgspecError, UnicodeError) as error:
        raise BlobError(f"shape_record cannot be read: {error}") from None
    if not isinstance(beta, bytes) or not isinstance(evidence, bytes | None):
        raise BlobError("a blob is not made of bytes")
    if record.digest != _digest(record, beta, evidence):
        raise BlobError("the digest of its columns is another")
    return record


def _digest(record: ShapeRecord, beta: bytes, evidence: bytes | None) -> str:
    digest = hashlib.sha256()
    for part in (beta, evidence or b"", _text(msgspec.structs.replace(record, digest="")).encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _text(record: ShapeRecord) -> str:
    """Canonical text of a record."""
    return json.dumps(msgspec.structs.asdict(record), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _encode(values: Any, shape: tuple[int, ...], what: str) -> bytes:
    array = np.asarray(values)
    _check(array, shape, what)
    return array.astype("<f4").tobytes()


def _check(array: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    if array.dtype.kind != "f" or array.dtype.itemsize != 4:
        raise BlobError(f"{what} are {array.dtype}, only float32 is stored; convert deliberately: .astype(np.float32)")
    if array.shape != shape:
        raise BlobError(f"{what} have shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise BlobError(f"{what} hold NaN or infinity")


def _decode(blob: Any, length: int, what: str) -> np.ndarray:
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise BlobError(f"{what} is {type(blob).__name__}, expected bytes")
    data = bytes(blob)
    if len(data) != length:
        raise BlobError(f"{what} has {len(data)} bytes, expected {length}")
    numbers = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise BlobError(f"{what} holds NaN or infinity")
    return numbers
