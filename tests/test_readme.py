"""What the README shows runs."""

import re
import subprocess
import sys
from pathlib import Path

from adapters.cli import main

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_runs_after_the_demo(tmp_path) -> None:
    assert main(["demo", "--out", str(tmp_path / "samebody-demo")]) == 0
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(block.strip().splitlines()) <= 12
    result = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("[")


def test_the_map_names_modules_that_exist() -> None:
    text = README.read_text()
    table = text[text.index("## Map of the code") :]
    root = README.parent
    for name in re.findall(r"`((?:engine|adapters|benchmarks)/[\w/.*]+)`", table):
        assert list(root.glob(name.rstrip("/"))), name
