"""What is said while the compiler is waited for, and how long it is expected to take."""

import json
import threading
import time
from pathlib import Path

import pytest

from adapters.commands import compiling
from adapters.commands.compiling import CompileWatch


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(CompileWatch, "pace", lambda self: 1.0)


def _program(watch: CompileWatch, seconds: float, found: bool = False) -> None:
    watch(compiling._REQUEST)
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        time.sleep(0)  # the timer runs too
    watch(compiling._FOUND if found else compiling._COMPILED)


def test_it_is_said_once_and_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = CompileWatch("report", tmp_path)
    for _ in range(3):
        _program(watch, 0.2)
    watch.end()
    first = capsys.readouterr().err
    assert first.count("compiling, once, about 30 s") == len(first.splitlines()) == 1
    kept = json.loads((tmp_path / "seconds.json").read_text())
    assert kept["report"] == pytest.approx(watch.seconds, abs=0.06)
    assert CompileWatch("report", tmp_path).expected() == kept["report"]
    assert CompileWatch("check", tmp_path).expected() == compiling._USUAL_S


def test_commands_without_fits_expect_less(tmp_path: Path) -> None:
    assert CompileWatch("score", tmp_path).expected() < CompileWatch("score with fits", tmp_path).expected()


def test_programs_that_compile_at_once_count_once(tmp_path: Path) -> None:
    watch = CompileWatch("report", tmp_path)
    begin = time.process_time()
    threads = [threading.Thread(target=_program, args=(watch, 0.4)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.4 <= watch.seconds <= time.process_time() - begin


def test_the_pace_is_that_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    watch = CompileWatch("report", tmp_path)
    assert watch.pace() == 1
    clock = iter([10.0, 16.0])
    processor = iter([1.0, 1.0, 1.0, 3.0])
    monkeypatch.setattr(compiling.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(compiling.time, "process_time", lambda: next(processor))
    watch(compiling._REQUEST)
    assert watch.pace() == 3


def test_nothing_is_said_where_the_code_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = CompileWatch("score", tmp_path)
    for _ in range(5):
        _program(watch, 0.0, found=True)
    time.sleep(0.2)
    watch.end()
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "seconds.json").exists()


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"score": "long"}', b"\xff"])
def test_a_damaged_record_is_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "seconds.json").write_bytes(content)
    watch = CompileWatch("score", tmp_path)
    assert watch.expected() == compiling._USUAL_OF_NETWORK_S
    _program(watch, 0.2)
    watch.end()
    assert json.loads((tmp_path / "seconds.json").read_text())["score"] > 0
    assert CompileWatch("score", tmp_path / "nowhere").expected() == compiling._USUAL_OF_NETWORK_S
