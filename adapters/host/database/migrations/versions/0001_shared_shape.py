"""``reference_images`` carries β."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.add_column("reference_images", sa.Column("optimized_beta_blob", sa.LargeBinary(40), nullable=True))
    op.add_column("reference_images", sa.Column("shape_evidence_blob", sa.LargeBinary(260), nullable=True))
    op.add_column("reference_images", sa.Column("shape_record", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("reference_images", "shape_record")
    op.drop_column("reference_images", "shape_evidence_blob")
    op.drop_column("reference_images", "optimized_beta_blob")
