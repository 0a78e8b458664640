"""The statements of a start: leases, and what the last process left. See `statements`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from orchestrator_mcp.store.inserting import insert_missing
from orchestrator_mcp.store.schema import ENDED_IN_DOUBT, attempt, document, job, lane, lease

P = sa.bindparam
_code = sa.literal_column

COLUMNS: Final = {"add_lease": ["backend_id"]}
"""What the insert is given."""

_OPEN: Final = (attempt.c.job_id == P("b_id"), attempt.c.number == P("b_attempt"))


def writes(dialect: sa.Dialect) -> dict[str, sa.Executable]:
    """The statements that change something.

    Args:
        dialect: SQLAlchemy's dialect of the database.
    """
    return {
        "add_lease": insert_missing(dialect, lease),
        "take_lease": sa.update(lease)
        .where(lease.c.backend_id == P("b_backend"))
        .values(owner=P("b_owner"), epoch=lease.c.epoch + 1)
        .returning(lease.c.epoch),
        "adopt_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("1"), job.c.epoch < P("b_epoch"))
        .values(epoch=P("b_epoch")),
        "adopt_attempt": sa.update(attempt).where(*_OPEN).values(epoch=P("b_epoch")),
    }


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {
        "running_jobs": sa.select(
            job, document.c.body, lane.c.spec.label("lane_spec"), attempt.c.accepted_at, attempt.c.prompt_id
        )
        .join(document, document.c.id == job.c.document_id)
        .join(lane, lane.c.id == job.c.lane_id)
        .join(attempt, sa.and_(attempt.c.job_id == job.c.id, attempt.c.number == job.c.attempt))
        .where(job.c.state == _code("1"))
        .order_by(job.c.id),
        "last_successes": _last_successes(),
        "left_behind": sa.select(job.c.uid, attempt.c.number, attempt.c.backend_id, attempt.c.prompt_id)
        .join(job, job.c.id == attempt.c.job_id)
        .where(attempt.c.ended_at > P("b_since"), ENDED_IN_DOUBT)
        .order_by(attempt.c.ended_at.desc())
        .limit(P("b_count", type_=sa.Integer)),
    }


def _last_successes() -> sa.Executable:
    """The newest completed job of each backend, among so many."""
    completed = (
        sa.select(job.c.id, job.c.backend_id)
        .where(job.c.state == _code("3"))
        .order_by(job.c.id.desc())
        .limit(P("b_count", type_=sa.Integer))
        .subquery()
    )
    newest = (
        sa.select(completed.c.backend_id, sa.func.max(completed.c.id).label("id"))
        .group_by(completed.c.backend_id)
        .subquery()
    )
    return (
        sa.select(newest.c.backend_id, attempt.c.prompt_id, lane.c.spec.label("lane_spec"))
        .join(job, job.c.id == newest.c.id)
        .join(lane, lane.c.id == job.c.lane_id)
        .join(attempt, sa.and_(attempt.c.job_id == job.c.id, attempt.c.number == job.c.attempt))
    )
