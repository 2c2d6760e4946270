"""β in the host's table: fitted outside of any transaction, stored only if its references are still the same.

Fitting takes seconds, in which references may come and go, another process may fit the same set, and this one may die.

1. Read the references; remember their digest.
2. Fit. No transaction is open, nothing is locked.
3. In one short transaction: wipe the set's β, which makes everybody who writes to the set wait (``tables``); read
   the references again; if they have the same digest, write β, evidence and record to one row, ``body_front`` where
   there is one, and commit. Else roll back and begin anew.

A crash before the commit leaves what was there. Two who fit the same references write the same bits. The record holds
the digest of the references, and ``load_shared_shape`` compares it with what it finds: a β whose references changed
behind the ORM's back is not returned.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from adapters.host.database.codec import BlobError, decode_beta, decode_evidence, encode_beta, encode_evidence
from adapters.host.database.connect import HostDatabase
from adapters.host.database.tables import BODY_VIEW, FRONT_VIEW, NO_SHAPE, wipe_shape
from adapters.host.inputs import as_body, reference_table
from adapters.jobs.fit import FitSettings, fit_references
from engine.body.schemas import COCO_17, KeypointSchema
from engine.evidence.calibration import Calibration
from engine.scores import Mode
from engine.shape import Shape, ShapeFileError

_ATTEMPTS = 5


class NoSharedShape(ValueError):
    """A reference set has no β that can be used; the message says why and what to do."""


@dataclass(frozen=True)
class NewReference:
    """A reference picture to be set."""

    image: str
    view: str
    keypoints: Any
    """In a form of ``adapters.host.inputs`` that JSON can hold."""


def replace_references(database: HostDatabase, reference_set: Any, references: Sequence[NewReference]) -> None:
    """All references of a set, in place of those that it has; its β is gone with them.

    For ``ReferenceImage`` and tables made like it; other hosts write their rows themselves.
    """
    table = database.references
    with database.sessions.begin() as session:
        wipe_shape(session.connection(), table, reference_set)
        session.execute(delete(table).where(table.reference_set == reference_set))
        session.add_all(table(reference_set=reference_set, **asdict(reference)) for reference in references)


def put_reference(database: HostDatabase, reference_set: Any, reference: NewReference, at_most: int) -> None:
    """Add a reference, or replace the one of that name; the set's β is gone.

    Raises:
        ValueError: the set has ``at_most`` references already.
    """
    table = database.references
    with database.sessions.begin() as session:
        wipe_shape(session.connection(), table, reference_set)
        rows = list(session.scalars(select(table).where(table.reference_set == reference_set)))
        for row in rows:
            if row.image == reference.image:
                row.view, row.keypoints = reference.view, reference.keypoints
                return
        if len(rows) >= at_most:
            raise ValueError(f"{reference_set} has {len(rows)} references already; no more than {at_most} are taken")
        session.add(table(reference_set=reference_set, **asdict(reference)))


def fit_shared_shape(
    database: HostDatabase,
    reference_set: Any,
    smpl_model: Any,
    mode: Mode = "free",
    schema: KeypointSchema = COCO_17,
    calibration: Calibration | None = None,
) -> Shape:
    """Fit one shape to the body references of a set and store it: what a host does after its references were set.

    Args:
        calibration: of the detector; it is stored with the shape and used for its scores.

    Raises:
        NoSharedShape: there are no body references, none can be used, or they kept changing.
    """
    body, settings = as_body(smpl_model), FitSettings("all", mode, calibration=calibration)
    table = database.references
    for _ in range(_ATTEMPTS):
        with database.sessions() as session:
            rows = _body_references(session, table, reference_set)
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
    """The shape of a set, as long as the references are those that it was fitted to.

    Raises:
        NoSharedShape: none was stored, or the references have changed since.
        BlobError: what is stored is damaged.
    """
    with database.sessions() as session:
        rows = _body_references(session, database.references, reference_set)
    carriers = [row for row in rows if row.optimized_beta_blob is not None]
    if not carriers:
        raise NoSharedShape(f"{reference_set} has no fitted shape; set reference images first")
    (row, *others) = carriers
    try:
        record = json.loads(row.shape_record)
        if others or record.pop("references_digest") != _references_digest(rows):
            raise NoSharedShape(f"the references of {reference_set} changed after the fit; fit again")
        evidence = None if row.shape_evidence_blob is None else decode_evidence(row.shape_evidence_blob)
        return Shape.from_record(record, decode_beta(row.optimized_beta_blob), evidence)
    except (TypeError, KeyError, json.JSONDecodeError, ShapeFileError) as error:
        raise BlobError(f"{reference_set}: the shape's record is damaged ({error}); fit again") from error


def _body_references(session: Session, table: Any, reference_set: Any) -> Sequence[Any]:
    """One statement: references and β as they were at one moment."""
    return session.execute(
        select(
            table.id.label("id"),
            table.view.label("view"),
            table.image.label("image"),
            table.keypoints.label("keypoints"),
            table.optimized_beta_blob,
            table.shape_evidence_blob,
            table.shape_record,
        )
        .where(table.reference_set == reference_set, table.view.startswith(BODY_VIEW))
        .order_by(table.id)
    ).all()


def _store(database: HostDatabase, reference_set: Any, references_digest: str, shape: Shape) -> bool:
    """Whether the references were still the same, and β was written."""
    table = database.references
    values = {
        "optimized_beta_blob": encode_beta(shape.betas),
        "shape_evidence_blob": None if shape.evidence is None else encode_evidence(shape.evidence),
        "shape_record": json.dumps({**shape.record(), "references_digest": references_digest}),
    }
    with database.sessions() as session, session.begin() as transaction:
        wipe_shape(session.connection(), table, reference_set)
        rows = _body_references(session, table, reference_set)
        if not rows or _references_digest(rows) != references_digest:
            transaction.rollback()
            return False
        carrier = next((row for row in rows if row.view == FRONT_VIEW), rows[0])
        session.connection().execute(update(table).where(table.id == carrier.id).values(NO_SHAPE | values))
    return True


def _references_digest(rows: Sequence[Any]) -> str:
    content = [[str(row.id), row.view, row.keypoints] for row in rows]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
