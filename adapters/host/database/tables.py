"""Mixins with samebody's columns for the host's tables, and ready tables for hosts without their own.

    class ReferenceImage(SharedShapeMixin, Base):
        __tablename__ = "reference_images"
        id, reference_set, view, image, keypoints = ...            the host's own columns

``SharedShapeMixin`` expects these attributes. A host whose attributes have other names adds a synonym:
``reference_set = synonym("character_id")``.

    id               primary key
    reference_set    identifies the person of the references; any column that compares equal
    view             "body_front", "body_side", ...; rows whose view begins with "body" take part in the fit
    image            name of the picture
    keypoints        keypoints in a form of ``adapters.host.inputs`` that JSON can hold

β belongs to the references that it was fitted to. If a reference is inserted, deleted or changed through the ORM, the β
of its set is wiped in the same transaction. (Writes around the ORM are noticed when β is read; see ``shape_store``.)
"""

import hashlib
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Float,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    event,
    func,
    select,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column, validates
from sqlalchemy.orm.attributes import get_history

from adapters.host.database.codec import BETA_BYTES, EVIDENCE_BYTES, decode_beta, decode_evidence
from engine.scores import SCORE_NAMES

BODY_VIEW = "body"
FRONT_VIEW = "body_front"


class SharedShapeMixin:
    """Columns of the one row of a reference set that carries its β. They are NULL in all other rows."""

    optimized_beta_blob: Mapped[bytes | None] = mapped_column(LargeBinary(BETA_BYTES))
    """float32, little-endian, 40 bytes."""
    shape_evidence_blob: Mapped[bytes | None] = mapped_column(LargeBinary(EVIDENCE_BYTES))
    """Evidence (see ``codec``); NULL with a β from rest pose."""
    shape_record: Mapped[str | None] = mapped_column(Text)
    """Provenance of β as JSON: references, body, settings and version (``shape_store``)."""

    @validates("optimized_beta_blob")
    def _check_beta(self, _key: str, blob: bytes | None) -> bytes | None:
        if blob is not None:
            decode_beta(blob)
        return blob

    @validates("shape_evidence_blob")
    def _check_evidence(self, _key: str, blob: bytes | None) -> bytes | None:
        if blob is not None:
            decode_evidence(blob)
        return blob


NO_SHAPE: dict[str, None] = dict.fromkeys(("optimized_beta_blob", "shape_evidence_blob", "shape_record"))
"""The values of a row that carries no β."""


class BodyScoreMixin:
    """One row per person in a scored picture: a key, the columns of ``engine.scores``, and the shape's digest. Unknown
    numbers are NULL."""

    reference_set: Mapped[str] = mapped_column(String(200), primary_key=True)
    image: Mapped[str] = mapped_column(String(1000), primary_key=True)
    instance: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    shape_digest: Mapped[str] = mapped_column(String(64))
    """``engine.shape.Shape.digest`` of the shape that the row was scored against. The row is outdated if it has
    changed."""


for _name in SCORE_NAMES:
    setattr(BodyScoreMixin, _name, mapped_column(Float(53), nullable=True))


class Base(DeclarativeBase):
    """Base class of the ready tables."""


class ReferenceImage(SharedShapeMixin, Base):
    """A reference picture, for hosts without a table of their own."""

    __tablename__ = "reference_images"
    __table_args__ = (UniqueConstraint("reference_set", "image"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    reference_set: Mapped[str] = mapped_column(String(200), index=True)
    view: Mapped[str] = mapped_column(String(32))
    image: Mapped[str] = mapped_column(String(1000))
    keypoints: Mapped[Any] = mapped_column(JSON)


class BodyScore(BodyScoreMixin, Base):
    """Scores, for hosts without a table of their own."""

    __tablename__ = "body_scores"


@event.listens_for(SharedShapeMixin, "before_insert", propagate=True)
@event.listens_for(SharedShapeMixin, "before_delete", propagate=True)
def _wipe_shape(_mapper: Mapper[Any], connection: Connection, reference: Any) -> None:
    wipe_shape(connection, type(reference), reference.reference_set)


@event.listens_for(SharedShapeMixin, "before_update", propagate=True)
def _wipe_shape_of_changed(mapper: Mapper[Any], connection: Connection, reference: Any) -> None:
    before = {name: get_history(reference, _own_name(mapper, name)) for name in ("reference_set", "view", "keypoints")}
    if any(history.has_changes() for history in before.values()):
        wipe_shape(connection, type(reference), reference.reference_set)
        for former in before["reference_set"].deleted or ():
            wipe_shape(connection, type(reference), former)


def wipe_shape(connection: Connection, references: Any, reference_set: Any) -> None:
    """Remove β from a set; other writers of the set wait from here to the end of the transaction.

    SQLite allows one writing transaction at a time. PostgreSQL locks existing rows only, so a set that two transactions
    replace at once would get the rows of both. On PostgreSQL the set is therefore locked by its name.
    """
    if connection.dialect.name == "postgresql":
        name = f"samebody {references.__tablename__} {reference_set}"
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
    connection.execute(update(references).where(references.reference_set == reference_set).values(NO_SHAPE))


def _own_name(mapper: Mapper[Any], name: str) -> str:
    return mapper.synonyms[name].name if name in mapper.synonyms else name
