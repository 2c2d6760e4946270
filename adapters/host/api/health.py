"""The health check: answers at once during any computation, with the state of the database.

Checks run in threads of their own, and the operation reports their last findings. It needs no authentication, so it
reports nothing about people and no texts of errors, which may hold addresses.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import false, select, text, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from adapters.host.api.problems import bounded_route, described
from adapters.host.database import HostDatabase
from engine import VERSION
from engine.shape import Mode

_ACCESS_EVERY_S, _INTEGRITY_EVERY_S = 1.0, 60.0
_INTEGRITY_SHARE = 0.05
"""Largest share of the time for checks of the whole file, however long one takes."""
_PATIENCE_S, _FIRST_PATIENCE_S = 0.1, 2.0
"""Time that the operation waits for an overdue check, and for one that has never ended."""
_OVERDUE = 3
"""A finding is reported without waiting for the next one until it is this many times its intended age."""
_LOCKED_S = 30.0
"""The time that writers wait for SQLite's lock (``database.connect``)."""
_OLDEST_ACCESS_S = 15.0
"""An older state of the database is not reported."""


class Health(BaseModel):
    status: Literal["ok"]
    version: str
    body: str
    keypoint_schema: str
    mode: Mode
    database_checked_s_ago: float = Field(description="When it was last read and could be written to.")
    database_integrity: Literal["intact", "not checked"] = Field(
        description="SQLite's check of its file, every minute. PostgreSQL has none that is cheap."
    )


@dataclass(frozen=True)
class Finding:
    """The result of a check."""

    trouble: str | None
    at: float
    """Time of the monotonic clock."""
    took_s: float


class Probe:
    """A check that runs in a thread of its own whenever it is asked for and due, once at a time."""

    def __init__(self, check: Callable[[], str | None], every_s: float, share: float = 1.0) -> None:
        """
        Args:
            check: returns the problem, or None.
            share: largest share of the time for checking; a longer check runs less often.
        """
        self._check = check
        self._every_s = every_s
        self._share = share
        self._lock = threading.Lock()
        self._found: Finding | None = None
        self._running: Future[None] | None = None

    async def look(self) -> Finding | None:
        """The latest finding; None before the first, which may take long."""
        with self._lock:
            if self._running is None and self._due():
                self._running = Future()
                self._running.set_running_or_notify_cancel()  # nobody who waits can cancel it
                threading.Thread(target=self._run, args=(self._running,), daemon=True).start()
            running, found = self._running, self._found
        if running is not None and (found is None or time.monotonic() - found.at > _OVERDUE * self._every_s):
            done = asyncio.wrap_future(running)
            await asyncio.wait([done], timeout=_PATIENCE_S if found else _FIRST_PATIENCE_S)
            done.cancel()
        return self._found

    def _due(self) -> bool:
        if self._found is None:
            return True
        return time.monotonic() - self._found.at > max(self._every_s, self._found.took_s / self._share)

    def _run(self, running: "Future[None]") -> None:
        start = time.monotonic()
        try:
            trouble = self._check()
        except Exception:
            trouble = "a check of the database failed"
        with self._lock:
            self._found = Finding(trouble, time.monotonic(), time.monotonic() - start)
            self._running = None
        running.set_result(None)


class AccessCheck:
    """Checks that the tables can be read and written to."""

    def __init__(self, database: HostDatabase) -> None:
        self._database = database
        self._locked_since: float | None = None

    def __call__(self) -> str | None:
        """The problem, or None. A taken lock of SQLite means that somebody writes; a lock that is never free is one."""
        try:
            self._try()
        except OperationalError as error:
            if "locked" not in str(error.orig):
                return _trouble(error)
            now = time.monotonic()
            self._locked_since = self._locked_since or now
            return "another program keeps the database locked" if now - self._locked_since >= _LOCKED_S else None
        except SQLAlchemyError as error:
            return _trouble(error)
        self._locked_since = None
        return None

    def _try(self) -> None:
        with self._database.sessions() as session:
            for table in (self._database.references, self._database.scores):
                session.execute(select(table.__table__).limit(0))
            with _impatient(session):
                # Changes no row, but needs everything that a change needs.
                session.execute(update(self._database.scores).where(false()).values(detail=None))
            session.rollback()


def _trouble(error: SQLAlchemyError) -> str:
    if "readonly" in str(error) or "read-only" in str(error):
        return "the database cannot be written to"
    return "the database does not answer, or its tables are not those of this version"


@contextmanager
def _impatient(session: Session) -> Iterator[None]:
    """SQLite's lock is not waited for; PostgreSQL has none for whole databases."""
    if session.get_bind().dialect.name != "sqlite":
        yield
        return
    patience_ms = session.execute(text("PRAGMA busy_timeout")).scalar()
    session.execute(text("PRAGMA busy_timeout = 0"))
    try:
        yield
    finally:
        # The connection goes back to the others.
        session.execute(text(f"PRAGMA busy_timeout = {patience_ms}"))


def check_integrity(database: HostDatabase) -> str | None:
    """SQLite's quick check of the file."""
    try:
        with database.sessions() as session:
            found = session.execute(text("PRAGMA quick_check(1)")).scalar()
    except SQLAlchemyError:
        found = None
    return None if found == "ok" else "the database's file is damaged; restore it from a backup"


def health_router(database: HostDatabase, body_name: str, schema_name: str, mode: Mode) -> APIRouter:
    """The one operation without authentication."""
    router = APIRouter(tags=["samebody"], route_class=bounded_route(0, 1), responses=described(503))
    access = Probe(AccessCheck(database), _ACCESS_EVERY_S)
    with database.sessions() as session:
        in_file = session.get_bind().dialect.name == "sqlite"
    integrity = Probe(lambda: check_integrity(database), _INTEGRITY_EVERY_S, _INTEGRITY_SHARE) if in_file else None

    @router.get("/health", summary="Whether the service can work")
    async def health() -> Health:
        """Needs no authentication, reports nothing about people, and answers during computations."""
        found = await access.look()
        deep = None if integrity is None else await integrity.look()
        age_s = None if found is None else time.monotonic() - found.at
        if found is None or age_s is None or age_s > _OLDEST_ACCESS_S:
            raise HTTPException(503, "the database does not answer", {"Retry-After": "5"})
        for finding in (found, deep):
            if finding is not None and finding.trouble is not None:
                raise HTTPException(503, finding.trouble, {"Retry-After": "60"})
        return Health(
            status="ok",
            version=VERSION,
            body=body_name,
            keypoint_schema=schema_name,
            mode=mode,
            database_checked_s_ago=round(age_s, 3),
            database_integrity="not checked" if deep is None else "intact",
        )

    return router
