"""Scores in the host's table. Writing a row again replaces it, so writing is idempotent."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import and_, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from adapters.results.scores import Scores
from engine.scores import SCORE_NAMES

_KEY = ("reference_set", "image", "instance")
_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def score_rows(reference_set: str, shape_digest: str, scores: Scores) -> list[dict[str, Any]]:
    """Rows for ``store_scores``: all columns of any mode, null in columns that this mode lacks."""
    count = len(scores)
    unknown = np.full(count, np.nan, np.float32)
    columns = {
        "reference_set": [reference_set] * count,
        "image": scores.image.to_pylist(),
        "instance": scores.instance.tolist(),
        "status": scores.labels,
        **{name: _nullable(scores.numbers.get(name, unknown)) for name in SCORE_NAMES},
        "detail": scores.detail.to_pylist(),
        "shape_digest": [shape_digest] * count,
    }
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def store_scores(session: Session, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace those of the same set, picture and person; the caller commits.

    Raises:
        ValueError: the database is neither SQLite nor PostgreSQL.
    """
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name not in _INSERTS:
        raise ValueError(f"scores are stored in SQLite or PostgreSQL, not in {connection.dialect.name}")
    statement = _INSERTS[connection.dialect.name](table.__table__)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in _KEY}
    # Rows are always written in the same order, so that two transactions with the same rows cannot deadlock.
    ordered = sorted(rows, key=lambda row: (row["image"], row["instance"]))
    connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=replaced), ordered)


def read_scores(
    session: Session, table: Any, reference_set: Any, after: tuple[str, int] | None = None, limit: int = 1000
) -> list[Any]:
    """Rows of a set in the order of picture and person, starting after ``after``."""
    query = select(table).where(table.reference_set == str(reference_set))
    if after is not None:
        image, instance = after
        query = query.where(or_(table.image > image, and_(table.image == image, table.instance > instance)))
    return list(session.scalars(query.order_by(table.image, table.instance).limit(limit)))


def _nullable(values: np.ndarray) -> list[float | None]:
    known = np.isfinite(values)
    if known.all():
        return values.tolist()
    return [number if is_known else None for number, is_known in zip(values.tolist(), known.tolist(), strict=True)]
