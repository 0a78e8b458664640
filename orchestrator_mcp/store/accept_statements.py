"""The statements that let jobs in. See `statements` for how they are compiled and run."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from orchestrator_mcp.store.inserting import insert_missing
from orchestrator_mcp.store.schema import document, history, job, lane

P = sa.bindparam
_code = sa.literal_column

_SET_LATER: Final = {"id", "stage", "backend_id", "epoch", "not_before", "started_at", "finished_at", "failure"} | {
    "cancel_requested_at",
    "delivery_path",
    "batch_id",
    "batch_index",
}
COLUMNS: Final = {
    "add_document": ["hash", "body"],
    "add_lane": ["key", "spec", "source"],
    "add_job": [c.name for c in job.columns if c.server_default is None and c.name not in _SET_LATER]
    + ["id", "due", "seq"],
    "add_history": [column.name for column in history.columns],
}
"""What the inserts are given."""


def writes(dialect: sa.Dialect) -> dict[str, sa.Executable]:
    """The statements that change something.

    Args:
        dialect: SQLAlchemy's dialect of the database.
    """
    return {
        "add_document": insert_missing(dialect, document),
        "add_lane": insert_missing(dialect, lane),
        "count_lane": sa.update(lane)
        .where(lane.c.id == P("b_lane"))
        .values(queued=lane.c.queued + P("b_queued"), held=lane.c.held + P("b_held")),
        "add_job": sa.insert(job),
        "add_history": sa.insert(history),
        "join_claim": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.claim_id.is_(None), job.c.state.in_([_code("0"), _code("1"), _code("2")]))
        .values(claim_id=P("b_claim"), claim_name=P("b_name")),
    }


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {
        "last_job_row": sa.select(sa.func.coalesce(sa.func.max(job.c.id), 0)),
        "last_seq": sa.select(sa.func.coalesce(sa.func.max(history.c.seq), 0)),
        "document_by_hash": sa.select(document.c.id).where(document.c.hash == P("b_hash")),
        "lane_by_key": sa.select(lane).where(lane.c.key == P("b_key")),
        "lane_by_id": sa.select(lane).where(lane.c.id == P("b_lane")),
        "lane_count": sa.select(sa.func.count()).select_from(lane),
        "waiting_total": sa.select(sa.func.coalesce(sa.func.sum(lane.c.queued + lane.c.held), 0)),
        "waiting_of": sa.select(sa.func.coalesce(sa.func.sum(lane.c.queued + lane.c.held), 0)).where(
            lane.c.source.in_([P("b_source"), P("b_bucket")])
        ),
        "job_by_idempotency_key": sa.select(job.c.id, job.c.uid, job.c.body_hash, job.c.submitted_at, job.c.spec).where(
            job.c.owner == P("b_owner"), job.c.idempotency_key == P("b_key")
        ),
        "job_by_claim": sa.select(job.c.uid, job.c.submitted_at, job.c.spec).where(job.c.claim_id == P("b_claim")),
    }
