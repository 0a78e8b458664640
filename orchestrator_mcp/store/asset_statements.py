"""The statements about input files, see `statements`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator_mcp.store.schema import artifact, asset, job_asset

P = sa.bindparam

COLUMNS = {"keep_asset": [column.name for column in asset.columns]}
"""Insert statement -> the columns that it is given."""


def writes(dialect: sa.Dialect) -> dict[str, sa.Executable]:
    """What changes rows.

    Args:
        dialect: SQLAlchemy's dialect of the database.
    """
    flavour: Any = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    insert = flavour(asset)
    keep = insert.on_conflict_do_update(index_elements=["sha256"], set_={"used_at": insert.excluded.used_at})
    return {
        "keep_asset": keep,
        "touch_asset": sa.update(asset).where(asset.c.sha256 == P("b_sha256")).values(used_at=P("b_now")),
        "forget_asset": sa.delete(asset).where(asset.c.sha256 == P("b_sha256")),
    }


def reads() -> dict[str, sa.Executable]:
    """What only looks."""
    return {
        "asset_by_sha256": sa.select(asset).where(asset.c.sha256 == P("b_sha256")),
        "oldest_assets": sa.select(asset.c.sha256, asset.c.size)
        .where(asset.c.used_at < P("b_before"), ~sa.exists().where(job_asset.c.sha256 == asset.c.sha256))
        .order_by(asset.c.used_at)
        .limit(P("b_count", type_=sa.Integer)),
        "artifact_by_sha256": sa.select(artifact).where(artifact.c.sha256 == P("b_sha256")).limit(1),
    }
