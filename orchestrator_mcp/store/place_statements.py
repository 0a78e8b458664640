"""The statement behind a place in the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator_mcp.store.schema import job, lane

P = sa.bindparam


def reads() -> dict[str, sa.Executable]:
    """What lies round a job in its lane: four reads of the queue's index, each of at most so many entries.

    Each is one range of the index. A comparison of (rank, id) pairs would be fewer, but SQLite bounds it by the rank
    alone and goes through all the rest; and left to itself it takes the index of states, which holds every lane.
    In a lane of jobs with deadlines all have one rank, and the deadline decides in its place.
    """
    rank, due = job.c.rank == P("b_rank"), job.c.due == P("b_due")
    return {
        "surroundings": _surroundings(
            job.c.rank < P("b_rank"), job.c.rank > P("b_rank"), (rank, job.c.due == sa.literal_column("0")), job.c.rank
        ),
        "surroundings_dated": _surroundings(
            sa.and_(rank, job.c.due < P("b_due")), sa.and_(rank, job.c.due > P("b_due")), (rank, due), job.c.due
        ),
    }


def _surroundings(
    higher: sa.ColumnElement[bool],
    lower: sa.ColumnElement[bool],
    same: Sequence[sa.ColumnElement[bool]],
    order: sa.ColumnElement[int],
) -> sa.Executable:
    parts = [
        _counted("higher", higher, order=order),
        _counted("lower", lower, order=order),
        _counted("ahead", *same, job.c.id < P("b_id"), order=job.c.id, furthest=sa.func.max),
        _counted("behind", *same, job.c.id > P("b_id"), order=job.c.id.desc(), furthest=sa.func.min),
    ]
    joined: sa.FromClause = lane
    for part in parts:
        joined = joined.join(part, sa.true())
    columns = [column for part in parts for column in part.c]
    return sa.select(lane.c.queued, *columns).select_from(joined).where(lane.c.id == P("b_lane"))


def _counted(
    name: str,
    *which: sa.ColumnElement[bool],
    order: sa.ColumnElement[int],
    furthest: Callable[[sa.ColumnElement[int]], sa.ColumnElement[int]] | None = None,
) -> sa.Subquery:
    """How many of the lane's queued jobs these are, and the number of the furthest of those that were counted."""
    rows = (
        sa.select(job.c.id)
        .where(job.c.lane_id == P("b_lane"), job.c.state == sa.literal_column("0"), *which)
        .with_hint(job, "INDEXED BY ix_job_queue", "sqlite")
        .order_by(order)
        .limit(P("b_count", type_=sa.Integer))
        .subquery()
    )
    columns: list[sa.ColumnElement[Any]] = [sa.func.count().label(name)]
    if furthest is not None:
        columns.append(furthest(rows.c.id).label(f"{name}_to"))
    return sa.select(*columns).select_from(rows).subquery()
