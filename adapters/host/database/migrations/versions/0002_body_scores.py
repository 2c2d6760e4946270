"""``body_scores``: one row per person in a scored picture."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBERS = (
    "consistency", "same_body_probability", "log_bayes_factor", "information_bits", "reprojection_error",
    "reprojection_error_px", "oks", "scale", "translation_x", "translation_y",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "body_scores",
        sa.Column("reference_set", sa.String(200), primary_key=True),
        sa.Column("image", sa.String(1000), primary_key=True),
        sa.Column("instance", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(32), nullable=False),
        *(sa.Column(name, sa.Float(53), nullable=True) for name in _NUMBERS),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("shape_digest", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("body_scores")
