"""Batches, chains of jobs, input assets, and what is known of a render.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add tables and columns; what is stored stays as it is."""
    _add_batches()
    _add_chains()
    _add_assets()
    op.add_column("attempt", sa.Column("report", sa.Text(), nullable=True))


def _add_batches() -> None:
    op.create_table(
        "batch",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_hash", sa.Text(), nullable=True),
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("claim_name", sa.Text(), nullable=True),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("door", sa.Text(), nullable=False),
        sa.Column("stem", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("submitted_at", ROW_ID, nullable=False),
        sa.Column("delivery", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("delivery_path", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
        sa.UniqueConstraint("uid", name="uq_batch_uid"),
    )
    _partial("uq_batch_idempotency", "batch", ["owner", "idempotency_key"], "idempotency_key IS NOT NULL", unique=True)
    _partial("uq_batch_claim", "batch", ["claim_id"], "claim_id IS NOT NULL", unique=True)
    _partial("ix_batch_delivery", "batch", ["id"], "delivery = 1")
    op.add_column("job", sa.Column("batch_id", ROW_ID, nullable=True))
    op.add_column("job", sa.Column("batch_index", sa.Integer(), nullable=True))
    _partial("ix_job_batch", "job", ["batch_id", "state", "batch_index"], "batch_id IS NOT NULL")


def _add_chains() -> None:
    op.add_column("job", sa.Column("pending", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "dependency",
        sa.Column("child_id", ROW_ID, nullable=False),
        sa.Column("parent_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["child_id"], ["job.id"], name="fk_dependency_child_id"),
        sa.ForeignKeyConstraint(["parent_id"], ["job.id"], name="fk_dependency_parent_id"),
        sa.PrimaryKeyConstraint("child_id", "parent_id", name="pk_dependency"),
    )
    op.create_index("ix_dependency_parent", "dependency", ["parent_id"])


def _add_assets() -> None:
    op.create_table(
        "asset",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("extension", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", ROW_ID, nullable=False),
        sa.Column("added_at", ROW_ID, nullable=False),
        sa.Column("used_at", ROW_ID, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_asset"),
    )
    op.create_index("ix_asset_used_at", "asset", ["used_at"])
    op.create_table(
        "job_asset",
        sa.Column("job_id", ROW_ID, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_job_asset_job_id"),
        sa.PrimaryKeyConstraint("job_id", "sha256", name="pk_job_asset"),
    )
    op.create_index("ix_job_asset_sha256", "job_asset", ["sha256"])


def _partial(name: str, table: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
