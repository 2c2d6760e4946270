"""Several processes read the same rows in the same order, and end when they should."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapters.keypoints.readers import keypoint_source, open_keypoints, read_keypoints
from adapters.keypoints.readers.parallel import ordered_map
from adapters.keypoints.table import concat_tables
from tests.adapters.sample_keypoints import assert_tables_equal, instance, write_json
from tests.places import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that several processes read: good ones, empty ones and a broken one."""
    monkeypatch.setattr(keypoint_source, "_PARALLEL_BYTES", 0)
    monkeypatch.setattr(keypoint_source, "_GROUP_BYTES", 5000)
    for seed in range(30):
        write_json(tmp_path / f"{seed:03d}.json", [instance(seed)] * (seed % 3))
    (tmp_path / "012.json").write_text("broken")
    return tmp_path


def test_rows_are_those_of_one_process(folder: Path) -> None:
    done: list[str] = []
    source = open_keypoints([folder], processes=2)
    assert source._groups() is not None
    tables = list(source.tables(lambda file: done.append(file.name)))
    assert_tables_equal(concat_tables(source.schema, tables), read_keypoints([folder]))
    assert done == [f"{seed:03d}" for seed in range(30)]


def test_an_error_in_another_process_is_the_same_error(folder: Path) -> None:
    write_json(folder / "020.json", [instance(1, 26)])
    with pytest.raises(ValueError, match=r"020\.json.*different keypoint schemas"):
        list(open_keypoints([folder], processes=2))


def test_a_file_that_vanishes_is_an_error_and_not_a_row(folder: Path) -> None:
    for processes in (1, 2):
        source = open_keypoints([folder], processes=processes)
        path = folder / "025.json"
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ValueError, match=r"025\.json has gone"):
            list(source)
        path.write_bytes(content)


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "from adapters.keypoints.readers.parallel import ordered_map\n"
        "if __name__ == '__main__':\n"
        "    for pid in ordered_map(eval, ['__import__(\"os\").getpid()', '__import__(\"time\").sleep(60)'], 1):\n"
        "        print(pid, flush=True)\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    with subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.kill()
    for _ in range(100):
        if not _alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("the reading process lives on")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_results_come_in_order(tmp_path: Path) -> None:
    assert list(ordered_map(abs, range(-20, 0), 2)) == list(range(20, 0, -1))
