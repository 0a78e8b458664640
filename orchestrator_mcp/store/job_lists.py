"""Which jobs a list shows, as one statement that is put together for the occasion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.store.schema import STATE_CODES, batch, job, lane
from orchestrator_mcp.store.sqlite import DIALECT


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; None means all."""

    states: tuple[JobState, ...] = ()
    workflow_id: str | None = None
    backend_id: str | None = None
    source: str | None = None
    batch_id: str | None = None


def page_query(wanted: JobFilter, before: int | None, limit: int) -> tuple[str, list[Any]]:
    """The statement of a page of jobs, newest first, and its parameters.

    Args:
        wanted: which.
        before: only rows older than this one.
        limit: how many at the most.
    """
    query = (
        sa.select(job, lane.c.spec.label("lane_spec"), batch.c.uid.label("batch_uid"))
        .join(lane, lane.c.id == job.c.lane_id)
        .outerjoin(batch, batch.c.id == job.c.batch_id)
    )
    if wanted.states:
        query = query.where(job.c.state.in_([STATE_CODES[state] for state in wanted.states]))
    for column, value in (
        (job.c.workflow_id, wanted.workflow_id),
        (job.c.backend_id, wanted.backend_id),
        (job.c.source, wanted.source),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.batch_id is not None:
        query = query.where(
            job.c.batch_id == sa.select(batch.c.id).where(batch.c.uid == wanted.batch_id).scalar_subquery()
        )
    if before is not None:
        query = query.where(job.c.id < before)
    compiled = (
        query.order_by(job.c.id.desc())
        .limit(limit)
        .compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    )
    return str(compiled), [compiled.params[name] for name in compiled.positiontup or ()]
