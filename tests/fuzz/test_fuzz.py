"""Some damaged files of every kind. ``SAMEBODY_FUZZ_SECONDS`` sets how long (CI: 60); ``tests.fuzz.run`` has no end."""

import os
import subprocess
import sys

from tests.fuzz.files import kinds
from tests.places import ROOT


def test_valid_files_are_read(tmp_path) -> None:
    for kind in kinds(tmp_path):
        valid = tmp_path / kind.name
        if valid.exists() and kind.name != "body.npz":  # a header and little else
            kind.read(valid)


def test_damaged_files_are_read_or_refused() -> None:
    seconds = os.environ.get("SAMEBODY_FUZZ_SECONDS", "5")
    command = [sys.executable, "-m", "tests.fuzz.run", "--seconds", seconds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
