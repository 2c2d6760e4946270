"""Shape evidence of every picture as a Parquet file, kept for later comparisons.

    image        string                     as in the result file, row by row
    instance     int32
    precision    fixed_size_list<float>     upper triangle of Λ, row by row: 55 numbers for ten shape components
    information  fixed_size_list<float>     h: 10 numbers

The evidence is raw and of single pictures (``engine.evidence.shape_evidence``): it is neither weakened by a
within-person covariance nor fused. A picture that could not be fitted has zeros and is uninformative. The metadata name
the body, because β, Λ and h have no meaning without it. A picture takes 260 bytes without compression: measured floats
hardly compress, and reading must be fast.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32

from adapters.keypoints.containers.digest import DIGEST_KEY, TableDigest
from adapters.keypoints.containers.parquet import StoredTable, open_parquet_file
from adapters.results.writers import ResultWriter, parquet_writer
from engine.evidence.shape_evidence import Evidence

COLUMNS = ("precision", "information")
BODY_KEY = "samebody.body_fingerprint"
MOST_BETAS = 300
_CHUNK_SIZE = 65536
_FORMAT_KEY, _FORMAT = "samebody.format", "evidence-1"


class EvidenceFileError(ValueError):
    """A file is not shape evidence that can be used here; the message says why and what to do."""


@dataclass(frozen=True)
class StoredEvidence:
    """The evidence of many pictures, row by row as in the file."""

    image: pa.ChunkedArray
    instance: Int32[np.ndarray, " images"]
    triangle: Float32[np.ndarray, "images entries"]
    """The upper triangle of every Λ. Full matrices of a million pictures would take 400 MB (see ``evidence``)."""
    information: Float32[np.ndarray, "images betas"]
    body_fingerprint: str

    def __len__(self) -> int:
        return len(self.instance)

    def evidence(self, rows: slice | np.ndarray = slice(None)) -> Evidence:
        """Some rows with full matrices."""
        return Evidence(full_matrices(self.triangle[rows], self.information.shape[1]), self.information[rows])


def evidence_fields(betas: int) -> list[pa.Field]:
    """The columns besides image and instance."""
    return [
        pa.field("precision", pa.list_(pa.float32(), betas * (betas + 1) // 2)),
        pa.field("information", pa.list_(pa.float32(), betas)),
    ]


def evidence_columns(evidence: Evidence) -> list[pa.Array]:
    """Arrow columns of ``evidence_fields`` for a batch of pictures."""
    betas = np.shape(evidence.information)[1]
    rows, columns = np.triu_indices(betas)
    triangle = np.asarray(evidence.precision, np.float32)[:, rows, columns]
    return [
        pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=field.type)
        for values, field in zip(
            (triangle, np.asarray(evidence.information, np.float32)), evidence_fields(betas), strict=True
        )
    ]


def full_matrices(triangle: Float32[np.ndarray, "images entries"], betas: int) -> Float32[np.ndarray, "images b b"]:
    """Symmetric matrices from their upper triangles."""
    rows, columns = np.triu_indices(betas)
    place = np.zeros((betas, betas), np.intp)
    place[rows, columns] = place[columns, rows] = np.arange(len(rows))
    return triangle[:, place]


@contextmanager
def open_evidence_writer(
    path: str | os.PathLike[str],
    betas: int,
    body_fingerprint: str,
    metadata: Mapping[str, str],
    temporary_folder: Path | None = None,
) -> Iterator[ResultWriter]:
    """A writer of image, instance and the evidence columns; the file is there when the block ends well.

    Raises:
        ValueError: there is no such folder.
    """
    columns = pa.schema([("image", pa.string()), ("instance", pa.int32()), *evidence_fields(betas)])
    own = {_FORMAT_KEY: _FORMAT, BODY_KEY: body_fingerprint}
    with parquet_writer(path, columns, {**metadata, **own}, "none", temporary_folder) as writer:
        yield writer


def check_evidence_path(path: str | os.PathLike[str]) -> None:
    """Refuse another suffix than .parquet, before any work is done.

    Raises:
        ValueError: another suffix.
    """
    if not os.fspath(path).lower().endswith(".parquet"):
        raise ValueError(f"{path}: evidence is written as Parquet; end the file's name in .parquet")


def read_evidence(path: str | os.PathLike[str]) -> StoredEvidence:
    """All rows of an evidence file.

    Raises:
        EvidenceFileError: missing, damaged, or another kind of file.
    """
    try:
        with open_parquet_file(path, EvidenceFileError) as file:
            metadata = file.metadata
            if metadata.get(_FORMAT_KEY) != _FORMAT:
                raise EvidenceFileError(f"{path}: no evidence file; make one with: samebody score --keep-evidence")
            betas = _beta_count(file, path)
            names = ["image", "instance", *COLUMNS]
            batches = list(file.batches(names, _CHUNK_SIZE))
    except FileNotFoundError:
        raise EvidenceFileError(f"no evidence file {path}; make one with: samebody score --keep-evidence") from None
    columns = pa.schema([("image", pa.string()), ("instance", pa.int32()), *evidence_fields(betas)])
    try:
        table = pa.Table.from_batches([batch.cast(columns) for batch in batches], schema=columns)
    except (pa.ArrowException, ValueError) as error:
        raise EvidenceFileError(f"{path}: a column holds values that evidence cannot have ({error})") from error
    digest = TableDigest()
    digest.add(table)
    if metadata.get(DIGEST_KEY, "") not in ("", digest.hexdigest(metadata)):
        raise EvidenceFileError(f"{path}: damaged, its rows or its metadata are not those that were written")
    if any(table[name].null_count for name in names):
        raise EvidenceFileError(f"{path}: damaged, there is null in it")
    numbers = {name: _matrix(table[name].combine_chunks()) for name in COLUMNS}
    if not all(np.isfinite(values).all() for values in numbers.values()):
        raise EvidenceFileError(f"{path}: damaged, a number is not finite")
    return StoredEvidence(
        image=table["image"],
        instance=table["instance"].to_numpy(),
        triangle=numbers["precision"],
        information=numbers["information"],
        body_fingerprint=metadata.get(BODY_KEY, ""),
    )


def _beta_count(file: StoredTable, path: str | os.PathLike[str]) -> int:
    kinds = [file.kind(name) for name in COLUMNS]
    betas = getattr(kinds[1], "list_size", 0)
    if not 0 < betas <= MOST_BETAS or getattr(kinds[0], "list_size", 0) != betas * (betas + 1) // 2:
        raise EvidenceFileError(f"{path}: its columns are {kinds[0]} and {kinds[1]}, which are not columns of evidence")
    return betas


def _matrix(column: pa.FixedSizeListArray) -> np.ndarray:
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
