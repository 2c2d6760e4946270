"""Result tables come back as they were written, in every format, whatever names are in them; damaged ones do not."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.keypoints.containers.tables import read_table
from adapters.results.evidence_table import EvidenceFileError, open_evidence_writer, read_evidence
from adapters.results.writers import open_result_writer
from tests.adapters.sample_keypoints import names, with_files

COLUMNS = pa.schema([("image", pa.string()), ("instance", pa.int32()), ("oks", pa.float32()), ("detail", pa.string())])
SUFFIXES = (".parquet", ".csv", ".jsonl")


class Failure(ValueError):
    """What every failure must become."""


def _write(path: Path, images: list[str], pieces: int = 1) -> pa.Table:
    count = len(images)
    numbers = np.arange(count, dtype=np.float32)
    columns = [images, list(range(count)), np.where(numbers == 1, np.nan, numbers), [None] * count]
    table = pa.table([pa.array(c, f.type, from_pandas=False) for c, f in zip(columns, COLUMNS, strict=True)], COLUMNS)
    with open_result_writer(path, COLUMNS, {"samebody.body": "x"}) as writer:
        for part in np.array_split(np.arange(count), pieces):
            writer.write(table.take(part))
    return table


FORMULAS = [
    "=1+1",
    "+x",
    "-x",
    "@x",
    "\tx",
    "\rx",
    "'=1",
    "''=1",
    "'x",
    "a\nb",
    "a\r\nb",
    'a"b,c',
    "=",
    "'",
    "größe",
    "NA",
]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_come_back(tmp_path: Path, suffix: str) -> None:
    table = _write(tmp_path / f"a{suffix}", FORMULAS)
    read = read_table(tmp_path / f"a{suffix}", Failure, COLUMNS).table
    assert read["image"].to_pylist() == FORMULAS
    assert read["instance"].equals(table["instance"])
    assert np.isnan(read["oks"].to_numpy()).tolist() == [row == 1 for row in range(len(FORMULAS))]


def test_no_cell_of_a_csv_begins_like_a_formula(tmp_path: Path) -> None:
    import csv

    _write(tmp_path / "a.csv", FORMULAS)
    with (tmp_path / "a.csv").open(newline="") as stream:
        images = [row["image"] for row in csv.DictReader(stream)]
    assert not [image for image in images if image[:1] in tuple("=+-@\t\r")]


@with_files
@given(images=st.lists(names, min_size=1, max_size=5), suffix=st.sampled_from(SUFFIXES))
def test_any_names_come_back(images: list[str], suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / f"names{suffix}"
    _write(path, images)
    assert read_table(path, Failure, COLUMNS).table["image"].to_pylist() == images


def test_the_digest_does_not_depend_on_pieces(tmp_path: Path) -> None:
    for pieces in (1, 3):
        _write(tmp_path / f"{pieces}.parquet", FORMULAS, pieces)
    digests = {read_table(tmp_path / f"{n}.parquet", Failure, COLUMNS).metadata["samebody.digest"] for n in (1, 3)}
    assert len(digests) == 1


def _damaged(path: Path, trials: int) -> int:
    """How many single flipped bits change what is read without being noticed."""
    whole = path.read_bytes()
    read = _evidence if path.stem == "evidence" else _result
    good, changed = read(path), 0
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), trials).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with suppress(Failure, EvidenceFileError):
            changed += read(path) != good
    return changed


def _result(path: Path) -> tuple:
    table, metadata = read_table(path, Failure, COLUMNS)
    return str(table.to_pydict()), metadata.get("samebody.body")


def _evidence(path: Path) -> tuple:
    read = read_evidence(path)
    numbers = (read.instance.tobytes(), read.triangle.tobytes(), read.information.tobytes())
    return read.image.to_pylist(), *numbers, read.body_fingerprint


def test_every_flipped_bit_of_a_result_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", FORMULAS)
    assert _damaged(tmp_path / "a.parquet", 300) == 0


def test_every_flipped_bit_of_evidence_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "evidence.parquet"
    values = np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    with open_evidence_writer(path, 2, "0123456789abcdef", {"samebody.version": "0"}) as writer:
        columns = [list("abcde"), list(range(5)), values[:, :3].tolist(), values[:, 3:].tolist()]
        kinds = [pa.string(), pa.int32(), pa.list_(pa.float32(), 3), pa.list_(pa.float32(), 2)]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
        writer.write(pa.table(arrays, ["image", "instance", "precision", "information"]))
    assert _damaged(path, 300) == 0


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", b"image,instance,image\na,0,b\n"),
        (".csv", b"image,instance\na,99999999999999999999\n"),
        (".csv", b'image,instance\n"a,0\n'),
        (".csv", b"\x00\x01\x02"),
        (".csv", b""),
        (".csv", b"other\n1\n"),
        (".jsonl", b"[1]"),
        (".jsonl", b'{"image": {"a": 1}}'),
        (".jsonl", b'{"image": "a", "instance": 99999999999999999999999}'),
        (".jsonl", b'{"image": "a"}\n{"instance": 1}'),
        (".jsonl", b'{"image": ' + b"[" * 100_000),
        (".jsonl", b'{"image": "' + b"a" * (2 << 20)),
        (".parquet", b"PAR1"),
        (".parquet", b""),
    ],
)
def test_other_content_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(Failure, match=r"^\S*a\.\w+: "):
        read_table(path, Failure, COLUMNS)
