"""``samebody serve`` does not begin with what it cannot use."""

import socket
from pathlib import Path

import pytest

from adapters.commands.cli import main

pytest.importorskip("fastapi", reason="needs the extra api")


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "photograph.jpg"
    path.write_bytes(b"an original" * 1000)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    assert main(["serve", "--database", str(path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert "photograph.jpg: file is not a database" in said
    assert len(said.splitlines()) == 1
    assert path.read_bytes() == b"an original" * 1000


def test_a_port_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--database", str(tmp_path / "new.db"), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"port {port}: Address already in use" in said
    assert len(said.splitlines()) == 1
