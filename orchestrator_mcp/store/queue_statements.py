"""The statements by which jobs leave the queue, and come back into it. See `statements`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from orchestrator_mcp.store.schema import attempt, document, job, lane

P = sa.bindparam
_code = sa.literal_column

_PICKED: Final = (
    "id",
    "uid",
    "attempt",
    "charged",
    "lane_id",
    "batch_id",
    "document_id",
    "workflow_id",
    "stem",
    "cancel_requested_at",
    "spec",
)
"""What an attempt needs of its job: a row of all columns takes twice as long to read."""
COLUMNS: Final = {"add_attempt": ["job_id", "number", "prompt_id", "backend_id", "epoch", "started_at"]}
"""What the insert is given."""


def writes() -> dict[str, sa.Executable]:
    """The statements that change something."""
    return {
        "take_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("0"))
        .values(
            state=_code("1"),
            stage=P("b_stage"),
            attempt=job.c.attempt + 1,
            backend_id=P("b_backend"),
            epoch=P("b_epoch"),
            sandbox=P("b_sandbox"),
            seq=P("b_seq"),
        ),
        "add_attempt": sa.insert(attempt),
        "promote_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("2"))
        .values(state=_code("0"), not_before=sa.null(), seq=P("b_seq")),
    }


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {
        "lanes_with_work": sa.select(lane).where(lane.c.queued > 0),
        "lane_head": sa.select(job.c.rank, job.c.submitted_at, job.c.due)
        .where(job.c.lane_id == P("b_lane"), job.c.state == _code("0"))
        .order_by(job.c.rank, job.c.due, job.c.id)
        .limit(1),
        "lane_end": sa.select(job.c.due)
        .where(job.c.lane_id == P("b_lane"), job.c.state == _code("0"))
        .order_by(job.c.rank.desc(), job.c.due.desc(), job.c.id.desc())
        .limit(1),
        "pick_jobs": sa.select(*(job.c[name] for name in _PICKED))
        .where(job.c.lane_id == P("b_lane"), job.c.state == _code("0"))
        .order_by(job.c.rank, job.c.due, job.c.id)
        .limit(P("b_count", type_=sa.Integer))
        .with_for_update(skip_locked=True, of=job),
        "document_by_id": sa.select(document.c.body).where(document.c.id == P("b_id")),
        "due_jobs": sa.select(job.c.id, job.c.uid, job.c.lane_id, job.c.attempt)
        .with_hint(job, "INDEXED BY ix_job_due", "sqlite")
        .where(job.c.state == _code("2"), job.c.not_before <= P("b_now"))
        .order_by(job.c.not_before)
        .limit(500),
        "next_due": sa.select(sa.func.min(job.c.not_before))
        .with_hint(job, "INDEXED BY ix_job_due", "sqlite")
        .where(job.c.state == _code("2")),
    }
