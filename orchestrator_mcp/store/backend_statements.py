"""The statements about backends, see `statements`."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator_mcp.store.schema import backend_wish, lease, speed

COLUMNS = {
    "add_wish": [column.name for column in backend_wish.columns],
    "add_speed": [column.name for column in speed.columns],
}
"""Insert statement -> the columns that it is given."""


def writes() -> dict[str, sa.Executable]:
    """What changes rows."""
    return {
        "add_wish": sa.insert(backend_wish),
        "forget_wish": sa.delete(backend_wish).where(backend_wish.c.backend_id == sa.bindparam("b_backend_id")),
        "add_speed": sa.insert(speed),
        "forget_speed": sa.delete(speed).where(
            speed.c.sort == sa.bindparam("b_sort"),
            speed.c.backend_id == sa.bindparam("b_backend_id"),
            speed.c.subject == sa.bindparam("b_subject"),
        ),
        "forget_old_speeds": sa.delete(speed).where(speed.c.seen_at < sa.bindparam("b_before")),
    }


def reads() -> dict[str, sa.Executable]:
    """What only looks."""
    return {
        "lease_owners": sa.select(lease.c.backend_id, lease.c.owner),
        "wishes": sa.select(backend_wish),
        "speeds": sa.select(speed).order_by(speed.c.seen_at),
        "oldest_speed_to_keep": sa.select(speed.c.seen_at)
        .order_by(speed.c.seen_at.desc())
        .offset(sa.bindparam("b_most", type_=sa.Integer))
        .limit(1),
    }
