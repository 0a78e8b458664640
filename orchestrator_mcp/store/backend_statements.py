"""The statements about backends, see `statements`."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator_mcp.store.schema import backend_wish

COLUMNS = {"add_wish": [column.name for column in backend_wish.columns]}
"""Insert statement -> the columns that it is given."""


def writes() -> dict[str, sa.Executable]:
    """What changes rows."""
    return {
        "add_wish": sa.insert(backend_wish),
        "forget_wish": sa.delete(backend_wish).where(backend_wish.c.backend_id == sa.bindparam("b_backend_id")),
    }


def reads() -> dict[str, sa.Executable]:
    """What only looks."""
    return {"wishes": sa.select(backend_wish)}
