"""Runs that are killed and go on: every row once, the same bytes as undisturbed, and nothing mixed up."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.commands.cli import main
from adapters.jobs import score as score_job
from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.run_parts import UnfinishedRunError, open_run
from adapters.jobs.score import RunSettings, score_to_file
from adapters.jobs.scorer import ScoreSettings
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.table import KeypointTable, concat_tables, even_tables, slice_table
from adapters.keypoints.writers import write_keypoints
from engine.body.model import BodyModel
from engine.shape import Shape
from tests.adapters.sample_keypoints import assert_tables_equal
from tests.places import DEMO, ROOT

ROWS = 90
"""Of the demo's data set."""


@pytest.fixture(scope="module")
def rest_shape(anny: BodyModel) -> Shape:
    return fit_references(read_keypoints([DEMO / "references.parquet"]), anny, FitSettings(mode="rest"))


class _Killed(BaseException):
    """Stands for whatever ends a run."""


def _killed_after(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run ends when it has computed so many rows."""
    original, seen = score_job.Scorer.__call__, 0

    def scored(self, table: KeypointTable) -> pa.RecordBatch:
        nonlocal seen
        seen += len(table)
        if seen > rows:
            raise _Killed
        return original(self, table)

    monkeypatch.setattr(score_job.Scorer, "__call__", scored)


def _run(anny: BodyModel, shape: Shape, out: Path, resume: bool = False, data: Path = DEMO / "dataset.parquet"):
    source = open_keypoints([data], chunk_size=10)
    return score_to_file(source, anny, shape, out, run=RunSettings(resume=resume, pictures_per_part=20))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_resumed_run_writes_the_same_bytes(anny, rest_shape, tmp_path, monkeypatch, suffix: str) -> None:
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"scores.{suffix}"
    expected = _run(anny, rest_shape, whole)
    for stop in (50, 30, 5):
        with monkeypatch.context() as patched:
            _killed_after(stop, patched)
            with pytest.raises(_Killed):
                _run(anny, rest_shape, out, resume=True)
        assert not out.exists()
    computed = []
    original = score_job.Scorer.__call__

    def counted(self, table: KeypointTable) -> pa.RecordBatch:
        computed.append(len(table))
        return original(self, table)

    with monkeypatch.context() as patched:
        patched.setattr(score_job.Scorer, "__call__", counted)
        summary = _run(anny, rest_shape, out, resume=True)
    # 40 of the first 50, then 20 of the next 30: what was in whole parts is not computed again.
    assert sum(computed) == ROWS - 60
    assert out.read_bytes() == whole.read_bytes()
    assert (summary.rows, summary.by_status) == (expected.rows, expected.by_status)
    assert summary.median_consistency == expected.median_consistency
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"scores.{suffix}", f"whole.{suffix}"]


def test_an_unfinished_run_is_not_thrown_away(anny, rest_shape, tmp_path, monkeypatch) -> None:
    out = tmp_path / "scores.csv"
    with monkeypatch.context() as patched:
        _killed_after(50, patched)
        with pytest.raises(_Killed) as killed:
            _run(anny, rest_shape, out)
    assert "40 pictures are done" in killed.value.__notes__[0]
    with pytest.raises(UnfinishedRunError, match="--resume"):
        _run(anny, rest_shape, out)
    _run(anny, rest_shape, out, resume=True)
    _run(anny, rest_shape, out)


def test_a_run_of_less_than_a_part_leaves_nothing_behind(anny, rest_shape, tmp_path, monkeypatch) -> None:
    _killed_after(15, monkeypatch)
    with pytest.raises(_Killed):
        _run(anny, rest_shape, tmp_path / "scores.csv")
    assert list(tmp_path.iterdir()) == []


def test_what_changed_is_noticed_and_named(anny, rest_shape, tmp_path, monkeypatch) -> None:
    data, out = tmp_path / "data.parquet", tmp_path / "scores.csv"
    table = read_keypoints([DEMO / "dataset.parquet"])
    write_keypoints(data, table)
    with monkeypatch.context() as patched:
        _killed_after(50, patched)
        with pytest.raises(_Killed):
            _run(anny, rest_shape, out, data=data)

    other = dataclasses.replace(rest_shape, betas=rest_shape.betas + np.float32(1e-3))
    with pytest.raises(UnfinishedRunError, match="another shape:"):
        _run(anny, other, out, resume=True, data=data)
    with pytest.raises(UnfinishedRunError, match="another options:"):
        score_to_file(
            open_keypoints([data]), anny, rest_shape, out, ScoreSettings(threshold=0.5), RunSettings(resume=True)
        )
    facts = data.stat()
    write_keypoints(data, table)
    with pytest.raises(UnfinishedRunError, match="another input:"):
        _run(anny, rest_shape, out, resume=True, data=data)
    os.utime(data, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert _run(anny, rest_shape, out, resume=True, data=data).rows == ROWS


def test_damaged_parts_are_refused(anny, rest_shape, tmp_path, monkeypatch) -> None:
    out = tmp_path / "scores.csv"
    with monkeypatch.context() as patched:
        _killed_after(50, patched)
        with pytest.raises(_Killed):
            _run(anny, rest_shape, out)
    part = tmp_path / "scores.csv.parts" / "part-000001.arrow"
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(UnfinishedRunError, match="damaged"):
        _run(anny, rest_shape, out, resume=True)
    # Without it the run goes on from the part before.
    part.unlink()
    assert _run(anny, rest_shape, out, resume=True).rows == ROWS


def test_a_second_run_into_the_same_output_is_refused(tmp_path) -> None:
    columns = pa.schema([("image", pa.string())])
    out = tmp_path / "scores.csv"
    with open_run(out, {}, columns, 10, resume=False):
        with (
            pytest.raises(UnfinishedRunError, match="another samebody is writing"),
            open_run(out, {}, columns, 10, True),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_is_done(anny, rest_shape, tmp_path, monkeypatch, capsys) -> None:
    rest_shape.save(tmp_path / "shape.npz")
    out = tmp_path / "scores.csv"
    arguments = ["score", str(DEMO / "dataset.parquet"), "--shape", str(tmp_path / "shape.npz"), "--out", str(out)]
    monkeypatch.setitem(score_job.PICTURES_PER_PART, "rest", 20)
    monkeypatch.setitem(score_job.CHUNK_SIZE, "rest", 10)
    with monkeypatch.context() as patched:
        written = 0
        original = score_job._Tally.add

        def full(self, rows: pa.RecordBatch) -> None:
            nonlocal written
            written += len(rows)
            if written > 60:
                raise OSError(28, "No space left on device")
            original(self, rows)

        patched.setattr(score_job._Tally, "add", full)
        assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert "60 pictures are done; the same command with --resume goes on" in message
    assert message.count("\n") == 1
    assert main([*arguments, "--resume"]) == 0
    assert len(out.read_text().splitlines()) == ROWS + 1


@pytest.mark.parametrize(("rows", "skip"), [(1, 0), (7, 0), (7, 30), (64, 5), (1000, 89), (10, 90), (10, 500)])
def test_even_tables_keep_every_row(rows: int, skip: int) -> None:
    whole = read_keypoints([DEMO / "dataset.parquet"])
    pieces = [slice_table(whole, start, min(start + 13, ROWS)) for start in range(0, ROWS, 13)]
    tables = list(even_tables(pieces, rows, skip))
    assert all(len(table) == rows for table in tables[:-1])
    assert_tables_equal(concat_tables(whole.schema, tables), slice_table(whole, min(skip, ROWS), ROWS))


_SCRIPT = """
import sys
from adapters.keypoints.readers import open_keypoints
from adapters.jobs.score import RunSettings, score_to_file
from engine.body.embedded import load_embedded_body
from engine.shape import Shape
data, shape, out = sys.argv[1:]
print("ready", flush=True)
source = open_keypoints([data], chunk_size=2000)
run = RunSettings(resume=True, pictures_per_part=4000)
score_to_file(source, load_embedded_body(), Shape.load(shape), out, run=run)
"""


@pytest.mark.slow
def test_random_kills_lose_and_double_nothing(rest_shape, tmp_path) -> None:
    """SAMEBODY_KILLS=50 kills as often as the release check does."""
    kills = int(os.environ.get("SAMEBODY_KILLS", "4"))
    table = read_keypoints([DEMO / "dataset.parquet"])
    many = concat_tables(table.schema, [table] * 3000)
    many = KeypointTable(**{**vars(many), "image": pa.array([f"p{row:06d}" for row in range(len(many))])})
    data, shape = tmp_path / "data.parquet", tmp_path / "shape.npz"
    write_keypoints(data, many)
    rest_shape.save(shape)

    def start(out: Path) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-c", _SCRIPT, str(data), str(shape), str(out)]
        return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)

    began = time.monotonic()
    with start(tmp_path / "whole.parquet") as process:
        assert process.wait() == 0
    longest = time.monotonic() - began
    generator = random.Random(5)
    out = tmp_path / "scores.parquet"
    killed, progress = 0, set()
    while killed < kills:
        with start(out) as process:
            try:
                process.wait(generator.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
        if out.exists():
            assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
            out.unlink()
        progress.add(len(list(tmp_path.glob("scores.parquet.parts/part-*.arrow"))))
    with start(out) as process:
        assert process.wait() == 0
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert pq.read_table(out, columns=["image"])["image"].to_pylist() == many.image.to_pylist()
    # The kills came at different stages of the work, or they would show little.
    assert len(progress) > 1
    assert not (tmp_path / "scores.parquet.parts").exists()


def _foreign_file(folder: Path) -> None:
    (folder / "notes.txt").write_bytes(b"an original")


def _foreign_fragment(folder: Path) -> None:
    (folder / ".download.part").write_bytes(b"an original")


def _foreign_lock(folder: Path) -> None:
    (folder / "lock").write_bytes(b"an original")


def _foreign_part(folder: Path) -> None:
    (folder / "part-000000.arrow").write_bytes(b"an original")


def _linked_part(folder: Path) -> None:
    _foreign_file(folder.parent)
    (folder / "lock").touch()
    (folder / "part-000000.arrow").symlink_to(folder.parent / "notes.txt")


@pytest.mark.parametrize("fill", [_foreign_file, _foreign_fragment, _foreign_lock, _foreign_part, _linked_part])
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_somebody_elses_is_left_alone(fill: Callable[[Path], None], resume: bool, tmp_path: Path) -> None:
    folder = tmp_path / "scores.csv.parts"
    folder.mkdir()
    fill(folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with (
        pytest.raises(UnfinishedRunError, match="did not write"),
        open_run(tmp_path / "scores.csv", {}, pa.schema([("image", pa.string())]), 10, resume),
    ):
        pass
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
