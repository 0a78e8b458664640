"""Lanes say whose they are, and count what waits in them for a moment or for other jobs.

Revision ID: 0005
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and fill them from what is stored."""
    whole = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("lane", sa.Column("held", whole, server_default="0", nullable=False))
    op.add_column("lane", sa.Column("source", sa.Text(), server_default=sa.text("''"), nullable=False))
    lane = sa.table("lane", sa.column("id"), sa.column("spec"), sa.column("held"), sa.column("source"))
    job = sa.table("job", sa.column("lane_id"), sa.column("state"))
    connection = op.get_bind()
    for row_id, spec in connection.execute(sa.select(lane.c.id, lane.c.spec)).all():
        connection.execute(sa.update(lane).where(lane.c.id == row_id).values(source=json.loads(spec)["source"]))
    waiting = sa.select(job.c.lane_id, sa.func.count()).where(job.c.state == 2).group_by(job.c.lane_id)
    for row_id, count in connection.execute(waiting).all():
        connection.execute(sa.update(lane).where(lane.c.id == row_id).values(held=count))
    op.create_index("ix_lane_source", "lane", ["source"])
