"""``shape_record`` carries a digest of β, evidence and itself.

Up, records get the form of ``adapters.host.database.codec.ShapeRecord``; down, they lose the digest. What cannot be
read is left alone: it is reported as damaged whenever it is asked for.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TABLE = sa.table(
    "reference_images",
    sa.column("id"),
    sa.column("optimized_beta_blob", sa.LargeBinary),
    sa.column("shape_evidence_blob", sa.LargeBinary),
    sa.column("shape_record", sa.Text),
)


def upgrade() -> None:
    _rewrite(_sealed)


def downgrade() -> None:
    _rewrite(_unsealed)


def _rewrite(change: Callable[[dict[str, Any], bytes, bytes], dict[str, Any]]) -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.select(_TABLE).where(_TABLE.c.shape_record.is_not(None))).all():
        try:
            record = change(json.loads(row.shape_record), row.optimized_beta_blob, row.shape_evidence_blob or b"")
        except (KeyError, TypeError, ValueError):
            continue
        connection.execute(sa.update(_TABLE).where(_TABLE.c.id == row.id).values(shape_record=_text(record)))


def _sealed(record: dict[str, Any], beta: bytes, evidence: bytes) -> dict[str, Any]:
    references_digest = record.pop("references_digest")
    whole = {"digest": "", "references_digest": references_digest, "shape": record}
    digest = hashlib.sha256()
    for part in (beta, evidence, _text(whole).encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return {**whole, "digest": digest.hexdigest()}


def _unsealed(record: dict[str, Any], _beta: bytes, _evidence: bytes) -> dict[str, Any]:
    return {**record["shape"], "references_digest": record["references_digest"]}


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
