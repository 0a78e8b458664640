"""Jobs may have a deadline, and lanes are read in its order.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and make the index of the queue anew."""
    whole = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("job", sa.Column("due", whole, server_default="0", nullable=False))
    op.drop_index("ix_job_queue", "job")
    where = sa.text("state = 0")
    op.create_index("ix_job_queue", "job", ["lane_id", "rank", "due", "id"], sqlite_where=where, postgresql_where=where)
