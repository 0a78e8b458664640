"""The first schema.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "document",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_document"),
        sa.UniqueConstraint("hash", name="uq_document_hash"),
    )
    op.create_table(
        "lane",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("queued", ROW_ID, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lane"),
        sa.UniqueConstraint("key", name="uq_lane_key"),
    )
    op.create_table(
        "lease",
        sa.Column("backend_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("epoch", ROW_ID, server_default="0", nullable=False),
        sa.Column("expires_at", ROW_ID, nullable=True),
        sa.PrimaryKeyConstraint("backend_id", name="pk_lease"),
    )
    op.create_table(
        "node",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("expires_at", ROW_ID, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_node"),
    )
    op.create_table(
        "job",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_hash", sa.Text(), nullable=True),
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("claim_name", sa.Text(), nullable=True),
        sa.Column("lane_id", ROW_ID, nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("charged", sa.Integer(), server_default="0", nullable=False),
        sa.Column("backend_id", sa.Text(), nullable=True),
        sa.Column("epoch", ROW_ID, nullable=True),
        sa.Column("not_before", ROW_ID, nullable=True),
        sa.Column("document_id", ROW_ID, nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("door", sa.Text(), nullable=False),
        sa.Column("stem", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("submitted_at", ROW_ID, nullable=False),
        sa.Column("started_at", ROW_ID, nullable=True),
        sa.Column("finished_at", ROW_ID, nullable=True),
        sa.Column("cancel_requested_at", ROW_ID, nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("attention", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("sandbox", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("delivery", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("delivery_path", sa.Text(), nullable=True),
        sa.Column("rerun_of", sa.Text(), nullable=True),
        sa.Column("seq", ROW_ID, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name="fk_job_document_id"),
        sa.ForeignKeyConstraint(["lane_id"], ["lane.id"], name="fk_job_lane_id"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("uid", name="uq_job_uid"),
    )
    op.create_index(
        "ix_job_delivery",
        "job",
        ["id"],
        unique=False,
        sqlite_where=sa.text("delivery = 1"),
        postgresql_where=sa.text("delivery = 1"),
    )
    op.create_index("ix_job_document", "job", ["document_id"], unique=False)
    op.create_index(
        "ix_job_due",
        "job",
        ["not_before"],
        unique=False,
        sqlite_where=sa.text("state = 2"),
        postgresql_where=sa.text("state = 2"),
    )
    op.create_index(
        "ix_job_finished",
        "job",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("delivery = 2"),
        postgresql_where=sa.text("delivery = 2"),
    )
    op.create_index(
        "ix_job_live",
        "job",
        ["backend_id"],
        unique=False,
        sqlite_where=sa.text("state = 1"),
        postgresql_where=sa.text("state = 1"),
    )
    op.create_index(
        "ix_job_queue",
        "job",
        ["lane_id", "rank", "id"],
        unique=False,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_index("ix_job_state", "job", ["state", "id"], unique=False)
    op.create_index(
        "uq_job_claim",
        "job",
        ["claim_id"],
        unique=True,
        sqlite_where=sa.text("claim_id IS NOT NULL"),
        postgresql_where=sa.text("claim_id IS NOT NULL"),
    )
    op.create_index(
        "uq_job_idempotency",
        "job",
        ["owner", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "artifact",
        sa.Column("job_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", ROW_ID, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_artifact_job_id"),
        sa.PrimaryKeyConstraint("job_id", "position", name="pk_artifact"),
        sa.UniqueConstraint("job_id", "name", name="uq_artifact_job_id_name"),
    )
    op.create_index("ix_artifact_sha256", "artifact", ["sha256"], unique=False)
    op.create_table(
        "attempt",
        sa.Column("job_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("backend_id", sa.Text(), nullable=False),
        sa.Column("epoch", ROW_ID, nullable=False),
        sa.Column("started_at", ROW_ID, nullable=False),
        sa.Column("accepted_at", ROW_ID, nullable=True),
        sa.Column("ended_at", ROW_ID, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_attempt_job_id"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_attempt"),
        sa.UniqueConstraint("prompt_id", name="uq_attempt_prompt_id"),
    )
    op.create_table(
        "history",
        sa.Column("seq", ROW_ID, nullable=False),
        sa.Column("job_id", ROW_ID, nullable=False),
        sa.Column("at", ROW_ID, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_history_job_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_history"),
    )
    op.create_index("ix_history_job", "history", ["job_id", "seq"], unique=False)
