"""What is said while the compiler is waited for, and how long it is expected to take."""

import json
import time
from pathlib import Path

import pytest

from adapters.commands import compiling
from adapters.commands.compiling import CompileWatch


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(compiling, "_crowding", lambda: 1.0)


def _program(watch: CompileWatch, seconds: float, found: bool = False) -> None:
    watch(compiling._REQUEST)
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        time.sleep(0)  # the timer runs too
    watch(compiling._FOUND if found else compiling._COMPILED)


def test_it_is_said_once_and_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = CompileWatch("score", tmp_path)
    for _ in range(3):
        _program(watch, 0.2)
    watch.end()
    first = capsys.readouterr().err
    assert first.count("compiling, once, about 60 s") == len(first.splitlines()) == 1
    kept = json.loads((tmp_path / "seconds.json").read_text())
    assert kept["score"] == pytest.approx(watch.seconds, abs=0.06)
    assert CompileWatch("score", tmp_path).expected() == kept["score"]
    monkeypatch.setattr(compiling, "_crowding", lambda: 3.0)
    assert CompileWatch("score", tmp_path).expected() == 3 * kept["score"]
    monkeypatch.setattr(compiling, "_crowding", lambda: 1.0)
    assert CompileWatch("fit", tmp_path).expected() == 60


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
    assert watch.expected() == 60
    _program(watch, 0.2)
    watch.end()
    assert json.loads((tmp_path / "seconds.json").read_text())["score"] > 0
    assert CompileWatch("score", tmp_path / "nowhere").expected() == 60
