"""A person's shape in the host's SQL database: on SQLite and on PostgreSQL, through SQLAlchemy 2 (extra ``db``).

    database = HostDatabase(sessionmaker(open_database("sqlite:///host.db")), ReferenceImage, BodyScore)
    fit_shared_shape(database, "anna", smpl_model)             fit and store after references were set
    shape = load_shared_shape(database, "anna")                β, its evidence and history; never a stale one

``tables`` has the columns that a host's table needs, ``shape_store`` keeps β consistent with its references,
``score_store`` writes scores, and ``migrate`` adds the columns to an existing table.
"""

from adapters.host.database.codec import BlobError, decode_beta, decode_evidence, encode_beta, encode_evidence
from adapters.host.database.connect import HostDatabase, create_tables, open_database
from adapters.host.database.migrate import downgrade, upgrade
from adapters.host.database.score_store import read_scores, store_scores
from adapters.host.database.shape_store import (
    NewReference,
    NoSharedShape,
    PlannedSet,
    fit_shared_shape,
    load_shared_shape,
    load_shared_shapes,
    plan_addition,
    replace_references,
    store_sets,
)
from adapters.host.database.tables import Base, BodyScore, BodyScoreMixin, ReferenceImage, SharedShapeMixin

__all__ = [
    "Base",
    "BlobError",
    "BodyScore",
    "BodyScoreMixin",
    "HostDatabase",
    "NewReference",
    "NoSharedShape",
    "PlannedSet",
    "ReferenceImage",
    "SharedShapeMixin",
    "create_tables",
    "decode_beta",
    "decode_evidence",
    "downgrade",
    "encode_beta",
    "encode_evidence",
    "fit_shared_shape",
    "load_shared_shape",
    "load_shared_shapes",
    "open_database",
    "plan_addition",
    "read_scores",
    "replace_references",
    "store_scores",
    "store_sets",
    "upgrade",
]
