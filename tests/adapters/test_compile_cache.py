"""The second start finds compiled code on disk, and computes the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "adapters" / "demo_data"


def _demo(folder: Path, cache: str) -> bytes:
    environment = os.environ | {"SAMEBODY_CACHE": cache}
    command = [sys.executable, "-m", "adapters.cli", "demo", "--out", str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=DEMO.parents[1])
    return (folder / "scores.parquet").read_bytes()


@pytest.mark.slow
def test_cached_code_gives_the_same_bits_and_is_used(tmp_path) -> None:
    cache = tmp_path / "cache"
    without = _demo(tmp_path / "without", "")
    first = _demo(tmp_path / "first", str(cache))
    compiled = {path.name: path.stat().st_mtime_ns for path in cache.glob("*-cache")}
    second = _demo(tmp_path / "second", str(cache))
    assert without == first == second
    assert compiled
    assert {path.name: path.stat().st_mtime_ns for path in cache.glob("*-cache")} == compiled


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    assert _demo(tmp_path / "demo", str(occupied / "below"))
