"""The statements about jobs that wait for others. See `statements` for how they are compiled and run."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from orchestrator_mcp.store.inserting import insert_missing
from orchestrator_mcp.store.schema import dependency, job, job_asset

P = sa.bindparam
_code = sa.literal_column

COLUMNS: Final = {
    "add_dependency": [column.name for column in dependency.columns],
    "keep_input": [column.name for column in job_asset.columns],
}
"""What the inserts are given."""


def writes(dialect: sa.Dialect) -> dict[str, sa.Executable]:
    """The statements that change something.

    Args:
        dialect: SQLAlchemy's dialect of the database.
    """
    return {
        "add_dependency": sa.insert(dependency),
        "set_pending": sa.update(job).where(job.c.id == P("b_id")).values(pending=P("b_pending")),
        "release_job": sa.update(job)
        .where(job.c.id == P("b_id"), job.c.state == _code("2"), job.c.pending > 0)
        .values(pending=job.c.pending - 1, spec=P("b_spec")),
        "unlink_children": sa.delete(dependency).where(dependency.c.parent_id == P("b_parent")),
        "unlink_parents": sa.delete(dependency).where(dependency.c.child_id == P("b_child")),
        "keep_input": insert_missing(dialect, job_asset),
    }


def reads() -> dict[str, sa.Executable]:
    """The statements that only look."""
    return {
        "any_dependency": sa.select(dependency.c.child_id).limit(1),
        "children_of": sa.select(job.c.id, job.c.uid, job.c.lane_id, job.c.pending, job.c.spec, job.c.batch_id)
        .with_hint(job, "NOT INDEXED", "sqlite")  # but by its number: not through everything that waits
        .join(dependency, dependency.c.child_id == job.c.id)
        .where(dependency.c.parent_id == P("b_parent"), job.c.state == _code("2"))
        .order_by(job.c.id),
        "open_parents": sa.select(job.c.uid, job.c.state)
        .join(dependency, dependency.c.parent_id == job.c.id)
        .where(dependency.c.child_id == P("b_child"))
        .order_by(job.c.id),
    }
