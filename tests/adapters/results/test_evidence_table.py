"""Evidence on disk: the same matrices come back, and files of other kinds are refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.results.evidence_table import (
    EvidenceFileError,
    check_evidence_path,
    evidence_columns,
    evidence_fields,
    open_evidence_writer,
    read_evidence,
)
from engine.evidence.shape_evidence import Evidence

BETAS = 10


def _evidence(count: int) -> Evidence:
    generator = np.random.default_rng(4)
    factor = generator.normal(size=(count, BETAS, BETAS)).astype(np.float32)
    precision = factor + factor.transpose(0, 2, 1)
    return Evidence(precision, generator.normal(size=(count, BETAS)).astype(np.float32))


def _batch(evidence: Evidence, first: int, count: int) -> pa.RecordBatch:
    rows = slice(first, first + count)
    part = Evidence(evidence.precision[rows], evidence.information[rows])
    names = pa.array([f"p{row}" for row in range(first, first + count)])
    fields = pa.schema([("image", pa.string()), ("instance", pa.int32()), *evidence_fields(BETAS)])
    numbers = pa.array(np.arange(first, first + count, dtype=np.int32))
    return pa.RecordBatch.from_arrays([names, numbers, *evidence_columns(part)], schema=fields)


def _written(path: Path, evidence: Evidence) -> Path:
    with open_evidence_writer(path, BETAS, "abc123", {"samebody.version": "1"}) as writer:
        for first in range(0, 30, 7):
            writer.write(_batch(evidence, first, min(7, 30 - first)))
    return path


def test_evidence_comes_back_bit_for_bit(tmp_path) -> None:
    evidence = _evidence(30)
    stored = read_evidence(_written(tmp_path / "e.parquet", evidence))
    assert len(stored) == 30
    assert stored.body_fingerprint == "abc123"
    assert stored.image.to_pylist() == [f"p{row}" for row in range(30)]
    np.testing.assert_array_equal(stored.instance, np.arange(30))
    for rows in (slice(None), slice(5, 9), np.array([28, 3])):
        part = stored.evidence(rows)
        np.testing.assert_array_equal(part.precision, evidence.precision[rows])
        np.testing.assert_array_equal(part.information, evidence.information[rows])


def test_other_files_are_refused(tmp_path) -> None:
    with pytest.raises(EvidenceFileError, match="--keep-evidence"):
        read_evidence(tmp_path / "none.parquet")
    pq.write_table(pa.table({"image": ["a"]}), tmp_path / "scores.parquet")
    with pytest.raises(EvidenceFileError, match="no evidence file"):
        read_evidence(tmp_path / "scores.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(EvidenceFileError, match="damaged"):
        read_evidence(tmp_path / "broken.parquet")
    with pytest.raises(ValueError, match=r"\.parquet"):
        check_evidence_path(tmp_path / "evidence.npz")
