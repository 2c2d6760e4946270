"""The second start finds compiled code on disk, and computes the same."""

import os
import subprocess
import sys
from pathlib import Path

from tests.places import DEMO, ROOT


def _fit(folder: Path, cache: str) -> bytes:
    folder.mkdir()
    command = [sys.executable, "-m", "adapters.commands.cli", "fit", str(DEMO / "references.parquet"), "--pose", "rest"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment["SAMEBODY_CACHE"] = cache
    subprocess.run([*command, "--out", str(folder / "shape.npz")], env=environment, check=True, cwd=ROOT)
    return (folder / "shape.npz").read_bytes()


def test_cached_code_gives_the_same_bits_and_is_used(tmp_path) -> None:
    cache = tmp_path / "cache"
    without = _fit(tmp_path / "without", "")
    first = _fit(tmp_path / "first", str(cache))
    compiled = {path.name: path.stat().st_mtime_ns for path in cache.glob("*-cache")}
    second = _fit(tmp_path / "second", str(cache))
    assert without == first == second
    assert compiled
    assert {path.name: path.stat().st_mtime_ns for path in cache.glob("*-cache")} == compiled


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    assert _fit(tmp_path / "demo", str(occupied / "below"))
