"""β in the host's table: fitted outside of any transaction, stored only if its references are still the same.

Fitting takes seconds. Meanwhile references may change, another process may fit the same set, and this one may be
killed.

1. Read the references; remember their digest.
2. Fit. No transaction is open, nothing is locked.
3. Open one short transaction. Wipe the set's β, which makes every other writer of the set wait (``tables``); read the
   references again; if they have the same digest, write β, evidence and record to one row, ``body_front`` if there is
   one, and commit. Otherwise roll back and start again.

A crash before the commit changes nothing. Two processes that fit the same references write the same bits. The record
holds the digest of the references, and ``load_shared_shape`` compares it with the stored references. A β is not
returned if its references were changed around the ORM, or if its bytes differ from those that were written (``codec``).

The HTTP interface fits before it writes (``PlannedSet``), and serves the old set until the new one is stored.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from adapters.host.database.codec import (
    BlobError,
    ShapeRecord,
    decode_beta,
    decode_evidence,
    decode_record,
    encode_beta,
    encode_evidence,
    encode_record,
)
from adapters.host.database.connect import HostDatabase
from adapters.host.database.tables import BODY_VIEW, FRONT_VIEW, NO_SHAPE, wipe_shape
from adapters.host.inputs import as_body, reference_table
from adapters.jobs.fit import FitSettings, fit_references
from engine.body.schemas import COCO_17, KeypointSchema
from engine.evidence.calibration import Calibration
from engine.scores import Mode
from engine.shape import Shape, ShapeFileError

_ATTEMPTS = 5
_UNREADABLE = (TypeError, ValueError)
"""Exceptions of SQLAlchemy for values of another type than their column's; SQLite accepts any, and files get
damaged."""


class NoSharedShape(ValueError):
    """A reference set has no usable β; the message says why and what to do."""


@dataclass(frozen=True)
class NewReference:
    """A new reference picture."""

    image: str
    view: str
    keypoints: Any
    """Keypoints in a form of ``adapters.host.inputs`` that JSON can hold."""


def replace_references(database: HostDatabase, reference_set: Any, references: Sequence[NewReference]) -> None:
    """Replace all references of a set; its β is removed with them.

    This works for ``ReferenceImage`` and tables made like it; other hosts write their rows themselves.
    """
    table = database.references
    with database.sessions.begin() as session:
        wipe_shape(session.connection(), table, reference_set)
        session.execute(delete(table).where(table.reference_set == reference_set))
        session.add_all(table(reference_set=reference_set, **asdict(reference)) for reference in references)


@dataclass(frozen=True)
class PlannedSet:
    """A planned reference set: it is fitted first, then stored with its shape in one transaction."""

    reference_set: Any
    references: Sequence[NewReference]
    instead_of: str | None = None
    """Digest of the references at the time of planning; None to replace any references."""

    @property
    def of_body(self) -> list[NewReference]:
        """References that take part in the fit."""
        return [reference for reference in self.references if reference.view.startswith(BODY_VIEW)]


def plan_addition(database: HostDatabase, reference_set: Any, reference: NewReference, at_most: int) -> PlannedSet:
    """The set with one more reference; a reference of the same name is replaced.

    Raises:
        ValueError: the set has ``at_most`` references already.
        BlobError: its stored values are damaged.
    """
    with database.sessions() as session:
        rows = _references(session, database.references, reference_set)
    before = [NewReference(row.image, row.view, row.keypoints) for row in rows]
    references = [reference if other.image == reference.image else other for other in before]
    if reference not in references:
        if len(before) >= at_most:
            raise ValueError(f"{reference_set} has {len(rows)} references already; no more than {at_most} are taken")
        references.append(reference)
    return PlannedSet(reference_set, references, _references_digest(rows))


def store_sets(database: HostDatabase, fitted: Sequence[tuple[PlannedSet, Shape | None]]) -> list[bool]:
    """Replace sets by planned ones with their shapes. A reader finds a set's old references and shape, or the new
    references and shape.

    Sets planned without a digest are stored in one transaction, because commits to a disk are slow.

    Returns:
        True for each set that was stored; False if its references have changed since it was planned.
    """
    stored = [False] * len(fitted)
    whole = [number for number, (planned, _) in enumerate(fitted) if planned.instead_of is None]
    with database.sessions.begin() as session:
        # Sets are always locked in the same order, so that two transactions with the same sets cannot deadlock.
        for number in sorted(whole, key=lambda number: str(fitted[number][0].reference_set)):
            stored[number] = _replace(session, database.references, *fitted[number])
    for number, (planned, shape) in enumerate(fitted):
        if planned.instead_of is not None:
            with database.sessions() as session, session.begin() as transaction:
                stored[number] = _replace(session, database.references, planned, shape)
                if not stored[number]:
                    transaction.rollback()
    return stored


def _replace(session: Session, table: Any, planned: PlannedSet, shape: Shape | None) -> bool:
    reference_set = planned.reference_set
    wipe_shape(session.connection(), table, reference_set)
    if planned.instead_of is not None:
        rows = _references(session, table, reference_set)
        if _references_digest(rows) != planned.instead_of:
            return False
    session.execute(delete(table).where(table.reference_set == reference_set))
    new = [{"reference_set": reference_set, **vars(reference)} for reference in planned.references]
    session.execute(insert(table.__table__), new)
    if shape is not None:
        _write(session, table, _references(session, table, reference_set, BODY_VIEW), shape)
    return True


def fit_shared_shape(
    database: HostDatabase,
    reference_set: Any,
    smpl_model: Any,
    mode: Mode = "free",
    schema: KeypointSchema = COCO_17,
    calibration: Calibration | None = None,
) -> Shape:
    """Fit one shape to the body references of a set and store it. A host calls this after it set references.

    Args:
        calibration: calibration of the detector; it is stored with the shape and used for its scores.

    Raises:
        NoSharedShape: there are no body references, none can be used, or they kept changing.
    """
    body, settings = as_body(smpl_model), FitSettings("all", mode, calibration=calibration)
    table = database.references
    for _ in range(_ATTEMPTS):
        with database.sessions() as session:
            rows = _references(session, table, reference_set, BODY_VIEW)
        if not rows:
            raise NoSharedShape(f"{reference_set} has no body references; set some first")
        try:
            references = reference_table([row.image for row in rows], [row.keypoints for row in rows], schema)
            shape = fit_references(references, body, settings)
        except ValueError as error:
            raise NoSharedShape(f"{reference_set}: {error}") from error
        if _store(database, reference_set, _references_digest(rows), shape):
            return shape
    raise NoSharedShape(f"the references of {reference_set} changed during each of {_ATTEMPTS} fits; fit again")


def load_shared_shape(database: HostDatabase, reference_set: Any) -> Shape:
    """The shape of a set, if the references are those that it was fitted to.

    Raises:
        NoSharedShape: none was stored, or the references have changed since.
        BlobError: the stored values are damaged.
    """
    found = load_shared_shapes(database, [reference_set])[reference_set]
    if isinstance(found, Exception):
        raise found
    return found


def load_shared_shapes(
    database: HostDatabase, reference_sets: Collection[Any]
) -> dict[Any, Shape | NoSharedShape | BlobError]:
    """``load_shared_shape`` of several sets by one query; each result is a shape or the exception."""
    table = database.references
    rows: dict[Any, list[Any]] = {reference_set: [] for reference_set in reference_sets}
    query = _columns(table).where(table.reference_set.in_(list(reference_sets)), table.view.startswith(BODY_VIEW))
    try:
        with database.sessions() as session:
            for row in session.execute(query.order_by(table.id)):
                rows[row.reference_set].append(row)
    except _UNREADABLE as error:
        if len(rows) > 1:  # One of the sets may be damaged; the others are read without it.
            return {name: load_shared_shapes(database, [name])[name] for name in rows}
        return {name: _damaged(name, error) for name in rows}
    found: dict[Any, Shape | NoSharedShape | BlobError] = {}
    for reference_set, own in rows.items():
        try:
            found[reference_set] = _shape(reference_set, own)
        except (NoSharedShape, BlobError) as error:
            found[reference_set] = error
    return found


def _damaged(reference_set: Any, error: Exception) -> BlobError:
    return BlobError(f"the stored set {reference_set} is damaged ({error}); set its references again")


def _shape(reference_set: Any, rows: Sequence[Any]) -> Shape:
    carriers = [row for row in rows if row.optimized_beta_blob is not None]
    if not carriers:
        raise NoSharedShape(f"{reference_set} has no fitted shape; set reference images first")
    (row, *others) = carriers
    try:
        record = decode_record(row.shape_record, row.optimized_beta_blob, row.shape_evidence_blob)
        evidence = None if row.shape_evidence_blob is None else decode_evidence(row.shape_evidence_blob)
        shape = Shape.from_record(record.shape, decode_beta(row.optimized_beta_blob), evidence)
    except (BlobError, ShapeFileError) as error:
        raise _damaged(reference_set, error) from error
    if others or record.references_digest != _references_digest(rows):
        raise NoSharedShape(f"the references of {reference_set} changed after the fit; fit again")
    return shape


def _columns(table: Any) -> Any:
    return select(
        table.id.label("id"),
        table.reference_set.label("reference_set"),
        table.view.label("view"),
        table.image.label("image"),
        table.keypoints.label("keypoints"),
        table.optimized_beta_blob,
        table.shape_evidence_blob,
        table.shape_record,
    )


def _references(session: Session, table: Any, reference_set: Any, view: str = "") -> Sequence[Any]:
    """References and β by one statement, so both are of one moment."""
    query = _columns(table).where(table.reference_set == reference_set, table.view.startswith(view))
    try:
        return session.execute(query.order_by(table.id)).all()
    except _UNREADABLE as error:
        raise _damaged(reference_set, error) from error


def _store(database: HostDatabase, reference_set: Any, references_digest: str, shape: Shape) -> bool:
    """Write β if the references are still the same; return True if it was written."""
    table = database.references
    with database.sessions() as session, session.begin() as transaction:
        wipe_shape(session.connection(), table, reference_set)
        rows = _references(session, table, reference_set, BODY_VIEW)
        if not rows or _references_digest(rows) != references_digest:
            transaction.rollback()
            return False
        _write(session, table, rows, shape)
    return True


def _write(session: Session, table: Any, rows: Sequence[Any], shape: Shape) -> None:
    """Write β, evidence and record to the row that carries them."""
    beta, evidence = encode_beta(shape.betas), None if shape.evidence is None else encode_evidence(shape.evidence)
    values = {
        "optimized_beta_blob": beta,
        "shape_evidence_blob": evidence,
        "shape_record": encode_record(ShapeRecord(shape.record(), _references_digest(rows)), beta, evidence),
    }
    carrier = next((row for row in rows if row.view == FRONT_VIEW), rows[0])
    session.connection().execute(update(table).where(table.id == carrier.id).values(NO_SHAPE | values))


def _references_digest(rows: Sequence[Any]) -> str:
    content = [[str(row.id), row.view, row.keypoints] for row in rows]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
