"""The HTTP interface behind a real server on 127.0.0.1: what slow, rude and absent clients get."""

import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import sessionmaker

from adapters.host.api import Limits, health, make_router
from adapters.host.api import service as service_module
from adapters.host.api.serving import PatientProtocol, settings
from adapters.host.api.standalone import make_app
from adapters.host.database import HostDatabase, create_tables, open_database
from engine.body.model import BodyModel

TOKEN = "a token"
_PATIENCE_S = 30
"""Longer than any of this takes; only a failing test waits for it."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[HostDatabase]:
    engine = open_database(f"sqlite:///{tmp_path / 'host.db'}")
    create_tables(engine)
    yield HostDatabase(sessionmaker(engine))
    engine.dispose()


@pytest.fixture
def app(database: HostDatabase, anny: BodyModel) -> FastAPI:
    return make_app(database, anny, TOKEN, "rest", Limits(body_seconds=0.3))


@pytest.fixture(scope="module")
def person(t_pose_pictures) -> dict[str, Any]:
    points, confidence = t_pose_pictures(np.linspace(-1, 1, 10), 1)
    return {"keypoints": points[0].tolist(), "confidence": confidence[0].tolist()}


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """The port of a running server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(settings(app, "127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            wait_for(lambda: server.started)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(_PATIENCE_S)


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def head(method: str, path: str, *lines: str, token: str = TOKEN) -> bytes:
    fixed = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}")
    return "\r\n".join((*fixed, *lines, "", "")).encode()


def exchange(port: int, sent: bytes) -> bytes:
    """What comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), _PATIENCE_S) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


_JSON = ("Content-Type: application/json", "Content-Length: 1000")


def test_a_stranger_s_body_is_not_waited_for(app: FastAPI, monkeypatch) -> None:
    """Refused, and hung up on, with the body still to come."""
    monkeypatch.setattr(PatientProtocol, "header_seconds", 0.2)
    with served(app) as port:
        for lines in (_JSON, ("Content-Length: 999999999999",), ("Transfer-Encoding: chunked",)):
            answer = exchange(port, head("PUT", "/reference-sets/anna", *lines, token="wrong") + b"5")
            assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_body_that_does_not_arrive_in_time(app: FastAPI) -> None:
    with served(app) as port:
        answer = exchange(port, head("PUT", "/reference-sets/anna", *_JSON) + b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


def test_headers_that_do_not_arrive_in_time(app: FastAPI, monkeypatch) -> None:
    monkeypatch.setattr(PatientProtocol, "header_seconds", 0.2)
    with served(app) as port:
        assert exchange(port, b"") == b""
        assert exchange(port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ") == b""
        # The second request of a connection has no more time than the first.
        answer = exchange(port, head("GET", "/health") + b"GET /")
        assert answer.count(b"HTTP/1.1") == 1
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_too_often(database: HostDatabase, anny: BodyModel) -> None:
    """The host's own dependency decides, after authentication and before the body is read."""
    asked: list[str] = []

    def authenticate() -> None:
        asked.append("authenticate")

    def limit_rate() -> None:
        asked.append("limit_rate")
        raise HTTPException(429, "no more than one a second", {"Retry-After": "1"})

    app = FastAPI()
    app.include_router(make_router(database, anny, authenticate, mode="rest", limit_rate=limit_rate))
    with served(app) as port:
        answer = exchange(port, head("PUT", "/reference-sets/anna", *_JSON))
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1\r\n" in answer
        assert asked == ["authenticate", "limit_rate"]
        assert exchange(port, head("GET", "/health", "Connection: close")).startswith(b"HTTP/1.1 200 ")


@contextmanager
def busy(monkeypatch) -> Iterator[threading.Semaphore]:
    """All threads compute until the end of the block; every one that begins to is counted."""
    begun, release = threading.Semaphore(0), threading.Event()

    def look(self, reference_set):
        begun.release()
        assert release.wait(_PATIENCE_S)
        raise HTTPException(404, "nobody")

    monkeypatch.setattr(service_module.Service, "look", look)
    try:
        yield begun
    finally:
        release.set()


def test_health_answers_while_all_threads_compute(app: FastAPI, monkeypatch) -> None:
    with served(app) as port, busy(monkeypatch) as begun:
        clients = [threading.Thread(target=exchange, args=(port, ask())) for _ in range(3 * service_module.THREADS)]
        for client in clients:
            client.start()
        for _ in range(service_module.THREADS):
            assert begun.acquire(timeout=_PATIENCE_S)
        answer = exchange(port, head("GET", "/health", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert not begun.acquire(blocking=False)
        assert all(client.is_alive() for client in clients)


def ask() -> bytes:
    return head("GET", "/reference-sets/anna", "Connection: close")


def test_work_that_no_client_waits_for_is_not_begun(
    app: FastAPI, database: HostDatabase, person: dict[str, Any], monkeypatch
) -> None:
    content = json.dumps({"references": {"a.jpg": {"view": "body_front", **person}}}).encode()
    put = head("PUT", "/reference-sets/bob", _JSON[0], f"Content-Length: {len(content)}") + content
    with served(app) as port:
        with busy(monkeypatch) as begun:
            threads = [threading.Thread(target=exchange, args=(port, ask())) for _ in range(service_module.THREADS)]
            for thread in threads:
                thread.start()
            for _ in threads:
                assert begun.acquire(timeout=_PATIENCE_S)
            with socket.create_connection(("127.0.0.1", port), _PATIENCE_S) as client:
                client.sendall(put)
                # Whoever comes later is answered, so this one was read.
                exchange(port, head("GET", "/health", "Connection: close"))
            exchange(port, head("GET", "/health", "Connection: close"))
        for thread in threads:
            thread.join(_PATIENCE_S)
        monkeypatch.undo()
        assert b" 404 " in exchange(port, head("GET", "/reference-sets/bob", "Connection: close"))


class TestHealth:
    def problem(self, app: FastAPI) -> str:
        """What is found in the end: the first checks may take longer than anybody waits."""
        client = TestClient(app, base_url="http://127.0.0.1")
        wait_for(lambda: client.get("/health").json().get("detail", "the database does not answer")[-6:] != "answer")
        answer = client.get("/health")
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.json()["detail"]

    def test_a_sound_database(self, app: FastAPI) -> None:
        client = TestClient(app, base_url="http://127.0.0.1")
        wait_for(lambda: client.get("/health").json().get("database_integrity") == "intact")
        assert client.get("/health").json()["status"] == "ok"

    def test_tables_of_another_version(self, app: FastAPI, database: HostDatabase) -> None:
        with database.sessions.begin() as session:
            session.execute(text("ALTER TABLE reference_images DROP COLUMN shape_record"))
        assert "not those of this version" in self.problem(app)

    def test_a_database_that_cannot_be_written_to(self, anny: BodyModel, tmp_path: Path) -> None:
        file = tmp_path / "host.db"
        create_tables(open_database(f"sqlite:///{file}"))
        reading = open_database(f"sqlite:///file:{file}?mode=ro&uri=true")
        assert "cannot be written to" in self.problem(make_app(HostDatabase(sessionmaker(reading)), anny, TOKEN))
        reading.dispose()

    def test_a_lock_that_somebody_holds(self, app: FastAPI, database: HostDatabase, monkeypatch) -> None:
        """Whoever writes does no harm; whoever never ends does."""
        access = health.AccessCheck(database)
        with database.sessions() as session:
            session.execute(text("UPDATE body_scores SET detail = NULL"))
            assert access() is None
            monkeypatch.setattr(health, "_LOCKED_S", 0)
            assert access() == "another program keeps the database locked"
        assert access() is None
        with database.sessions() as session:
            assert session.execute(text("PRAGMA busy_timeout")).scalar() == 30_000

    def test_a_damaged_file(self, anny: BodyModel, tmp_path: Path, database: HostDatabase) -> None:
        with database.sessions.begin() as session:
            session.execute(text("CREATE INDEX by_view ON reference_images (view)"))
            columns = "reference_set, view, image, keypoints"
            session.execute(text(f"INSERT INTO reference_images ({columns}) VALUES ('a', 'b', 'c', '[]')"))
        with database.sessions() as session:
            session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            (page,) = session.execute(text("SELECT rootpage FROM sqlite_master WHERE name = 'by_view'")).one()
            (size,) = session.execute(text("PRAGMA page_size")).one()
        damaged = tmp_path / "damaged.db"
        content = bytearray((tmp_path / "host.db").read_bytes())
        content[(page - 1) * size : page * size] = b"\xff" * size
        damaged.write_bytes(content)
        engine = open_database(f"sqlite:///{damaged}")
        assert "damaged" in self.problem(make_app(HostDatabase(sessionmaker(engine)), anny, TOKEN))
        engine.dispose()


class TestDescription:
    """The page at /docs."""

    def test_nothing_is_loaded_from_elsewhere(self, app: FastAPI) -> None:
        with TestClient(app, base_url="http://127.0.0.1") as client:
            page = client.get("/docs")
            assert "default-src 'self'" in page.headers["content-security-policy"]
            addresses = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page.text)
            assert len(addresses) >= 4
            for address in addresses:
                assert urlsplit(address).netloc == ""
                assert client.get(address).status_code == 200

    def test_a_browser_shows_it_without_a_network(self, app: FastAPI) -> None:
        sync_api = pytest.importorskip("playwright.sync_api")
        chromium = shutil.which("chromium")
        if chromium is None:
            pytest.skip("needs a browser: apt-get install chromium")
        asked: list[str] = []
        with served(app) as port, sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.goto(f"http://127.0.0.1:{port}/docs")
            page.wait_for_selector("text=Score pictures")
            browser.close()
        assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {f"127.0.0.1:{port}"}
