"""What was learned of how fast backends are outlives the process.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    whole = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "speed",
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("backend_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("mean", sa.Float(), nullable=False),
        sa.Column("deviation", sa.Float(), nullable=False),
        sa.Column("count", whole, nullable=False),
        sa.Column("seen_at", whole, nullable=False),
        sa.PrimaryKeyConstraint("sort", "backend_id", "subject", name="pk_speed"),
    )
    op.create_index("ix_speed_seen_at", "speed", ["seen_at"])
