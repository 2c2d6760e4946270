"""Opening a database, with SQLite's settings for many threads."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

from adapters.host.database.migrate import stamp
from adapters.host.database.tables import Base, BodyScore, ReferenceImage

_SQLITE_BUSY_S = 30
_SQLITE_CONNECTIONS = 8


@dataclass(frozen=True)
class HostDatabase:
    """The host's database of references and scores."""

    sessions: sessionmaker[Session]
    references: Any = ReferenceImage
    """A mapped class with ``SharedShapeMixin``."""
    scores: Any = BodyScore
    """A mapped class with ``BodyScoreMixin``."""


def open_database(url: str | URL) -> Engine:
    """An engine for ``sqlite:///FILE`` or ``postgresql://...``; the latter through psycopg 3.

    Hosts with their own engine use that. On SQLite they should switch on write-ahead logging and wait for locks, as
    this function does.
    """
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    options: dict[str, Any] = {"connect_args": {"timeout": _SQLITE_BUSY_S}, "hide_parameters": True}
    if parsed.database not in (None, "", ":memory:"):
        options |= {"pool_size": _SQLITE_CONNECTIONS, "max_overflow": 0, "pool_timeout": 2 * _SQLITE_BUSY_S}
    engine = create_engine(parsed, **options)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        # Readers do not wait for a writer, nor a writer for them.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


def create_tables(engine: Engine) -> None:
    """Create the ready tables if they do not exist, and mark them with the newest revision."""
    Base.metadata.create_all(engine)
    stamp(engine)
