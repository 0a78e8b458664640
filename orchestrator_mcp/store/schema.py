"""The tables. Alembic's migrations make them; a test proves that both say the same.

Moments are integers, milliseconds since the Unix epoch. Documents are JSON text. A graph is stored once, by its hash.
Every table that several orchestrators will share carries owner and epoch columns from the first day.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from orchestrator_mcp.domain.jobs import JobState, Outcome

SCHEMA_REVISION: Final = "0007"
"""The newest migration; a database with another number is upgraded, or refused when it is newer."""

STATE_CODES: Final = {
    JobState.QUEUED: 0,
    JobState.RUNNING: 1,
    JobState.WAITING: 2,
    JobState.COMPLETED: 3,
    JobState.FAILED: 4,
    JobState.CANCELLED: 5,
}
STATES: Final = {code: state for state, code in STATE_CODES.items()}

DOUBTFUL_ENDS: Final = (Outcome.LOST, Outcome.TIMED_OUT, Outcome.CANCELLED)
"""How an attempt ends without proof that its backend no longer holds the prompt."""

DELIVERY_NONE: Final = 0
DELIVERY_DUE: Final = 1
DELIVERY_DONE: Final = 2

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

document = sa.Table(
    "document",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("body", sa.Text, nullable=False),
)

lane = sa.Table(
    "lane",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("queued", RowId, nullable=False, server_default="0"),
    sa.Column("held", RowId, nullable=False, server_default="0"),  # jobs that wait for a moment or for others
    sa.Column("source", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Index("ix_lane_source", "source"),
)

batch = sa.Table(
    "batch",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("body_hash", sa.Text),
    sa.Column("claim_id", sa.Text),
    sa.Column("claim_name", sa.Text),
    sa.Column("workflow_id", sa.Text, nullable=False),
    sa.Column("door", sa.Text, nullable=False),
    sa.Column("stem", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("submitted_at", RowId, nullable=False),
    sa.Column("delivery", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("delivery_path", sa.Text),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("body_hash", sa.Text),
    sa.Column("claim_id", sa.Text),
    sa.Column("claim_name", sa.Text),
    sa.Column("lane_id", RowId, sa.ForeignKey("lane.id"), nullable=False),
    sa.Column("rank", sa.SmallInteger, nullable=False),  # minus the priority: the index is read forwards
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("stage", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("charged", sa.Integer, nullable=False, server_default="0"),
    sa.Column("backend_id", sa.Text),
    sa.Column("epoch", RowId),
    sa.Column("not_before", RowId),
    sa.Column("document_id", RowId, sa.ForeignKey("document.id"), nullable=False),
    sa.Column("workflow_id", sa.Text, nullable=False),
    sa.Column("source", sa.Text),
    sa.Column("door", sa.Text, nullable=False),
    sa.Column("stem", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("submitted_at", RowId, nullable=False),
    sa.Column("started_at", RowId),
    sa.Column("finished_at", RowId),
    sa.Column("cancel_requested_at", RowId),
    sa.Column("failure", sa.Text),
    sa.Column("attention", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("sandbox", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("delivery", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("delivery_path", sa.Text),
    sa.Column("rerun_of", sa.Text),
    sa.Column("seq", RowId, nullable=False, server_default="0"),
    sa.Column("batch_id", RowId),
    sa.Column("batch_index", sa.Integer),
    sa.Column("pending", sa.Integer, nullable=False, server_default="0"),  # parents that have not ended
    sa.Column("due", RowId, nullable=False, server_default="0"),  # its deadline; 0 for none
)


def _where(condition: sa.ColumnElement[bool]) -> dict[str, Any]:
    return {"sqlite_where": condition, "postgresql_where": condition}


_queued = job.c.state == sa.literal_column("0")
_waiting = job.c.state == sa.literal_column("2")

sa.Index("ix_job_queue", job.c.lane_id, job.c.rank, job.c.due, job.c.id, **_where(_queued))
sa.Index("ix_job_due", job.c.not_before, **_where(_waiting))
sa.Index("ix_job_delivery", job.c.id, **_where(job.c.delivery == sa.literal_column("1")))
sa.Index("ix_job_document", job.c.document_id)
sa.Index("ix_job_finished", job.c.finished_at, **_where(job.c.delivery == sa.literal_column("2")))
sa.Index("ix_job_state", job.c.state, job.c.id)
sa.Index(
    "uq_job_idempotency",
    job.c.owner,
    job.c.idempotency_key,
    unique=True,
    **_where(job.c.idempotency_key.is_not(None)),
)
sa.Index("uq_job_claim", job.c.claim_id, unique=True, **_where(job.c.claim_id.is_not(None)))
sa.Index("ix_job_batch", job.c.batch_id, job.c.state, job.c.batch_index, **_where(job.c.batch_id.is_not(None)))
sa.Index(
    "uq_batch_idempotency",
    batch.c.owner,
    batch.c.idempotency_key,
    unique=True,
    **_where(batch.c.idempotency_key.is_not(None)),
)
sa.Index("uq_batch_claim", batch.c.claim_id, unique=True, **_where(batch.c.claim_id.is_not(None)))
sa.Index("ix_batch_delivery", batch.c.id, **_where(batch.c.delivery == sa.literal_column("1")))

dependency = sa.Table(
    "dependency",
    metadata,
    sa.Column("child_id", RowId, sa.ForeignKey("job.id"), primary_key=True, autoincrement=False),
    sa.Column("parent_id", RowId, sa.ForeignKey("job.id"), primary_key=True, autoincrement=False),
    sa.Index("ix_dependency_parent", "parent_id"),
)

asset = sa.Table(
    "asset",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("extension", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("size", RowId, nullable=False),
    sa.Column("added_at", RowId, nullable=False),
    sa.Column("used_at", RowId, nullable=False),
    sa.Index("ix_asset_used_at", "used_at"),
)

job_asset = sa.Table(
    "job_asset",
    metadata,
    sa.Column("job_id", RowId, sa.ForeignKey("job.id"), primary_key=True, autoincrement=False),
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Index("ix_job_asset_sha256", "sha256"),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("job_id", RowId, sa.ForeignKey("job.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("prompt_id", sa.Text, nullable=False),
    sa.Column("backend_id", sa.Text, nullable=False),
    sa.Column("epoch", RowId, nullable=False),
    sa.Column("started_at", RowId, nullable=False),
    sa.Column("accepted_at", RowId),
    sa.Column("ended_at", RowId),
    sa.Column("outcome", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("report", sa.Text),  # what is known of the render itself, as JSON
    sqlite_with_rowid=False,  # one tree instead of two: every claim and every end writes here
)
ENDED_IN_DOUBT: Final = sa.or_(*(attempt.c.outcome == sa.literal_column(f"'{outcome}'") for outcome in DOUBTFUL_ENDS))
"""A list of three after IN would be built anew for each attempt that ends: five times the cost of ending it."""

sa.Index("ix_attempt_left_behind", attempt.c.ended_at, **_where(ENDED_IN_DOUBT))

artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("job_id", RowId, sa.ForeignKey("job.id"), primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("size", RowId, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.UniqueConstraint("job_id", "name"),
    sa.Index("ix_artifact_sha256", "sha256"),
)

history = sa.Table(
    "history",
    metadata,
    sa.Column("seq", RowId, primary_key=True),
    sa.Column("job_id", RowId, sa.ForeignKey("job.id"), nullable=False),
    sa.Column("at", RowId, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("stage", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Index("ix_history_job", "job_id", "seq"),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("backend_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", RowId, nullable=False, server_default="0"),
    sa.Column("expires_at", RowId),
)

node = sa.Table(
    "node",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("url", sa.Text),
    sa.Column("expires_at", RowId),
)

backend_wish = sa.Table(
    "backend_wish",
    metadata,
    sa.Column("backend_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", RowId, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

speed = sa.Table(
    "speed",
    metadata,
    sa.Column("sort", sa.Text, primary_key=True),
    sa.Column("backend_id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("mean", sa.Float, nullable=False),
    sa.Column("deviation", sa.Float, nullable=False),
    sa.Column("count", RowId, nullable=False),
    sa.Column("seen_at", RowId, nullable=False),
    sa.Index("ix_speed_seen_at", "seen_at"),
)
