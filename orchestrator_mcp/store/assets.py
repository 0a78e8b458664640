"""Input files on record. Runs on the store thread only.

A file is kept while a job that is kept begins with it (`job_asset`), and for a while after it was last used.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.assets import KINDS, Asset
from orchestrator_mcp.domain.chains import extension_of
from orchestrator_mcp.store.records import Forgotten
from orchestrator_mcp.store.sqlite import Transaction


def keep(tx: Transaction, asset: Asset, now: datetime) -> bool:
    """Put a file on record, or note that it was used again.

    Args:
        tx: the transaction.
        asset: the file; its bytes lie in the artifact store.
        now: the present moment.

    Returns:
        Whether it was on record before.
    """
    known = tx.one("asset_by_sha256", b_sha256=asset.sha256) is not None
    at = to_millis(now)
    tx.run(
        "keep_asset",
        sha256=asset.sha256,
        extension=asset.extension,
        kind=asset.kind,
        media_type=asset.media_type,
        size=asset.size,
        added_at=at,
        used_at=at,
    )
    return known


def find(tx: Transaction, sha256: str) -> Asset | None:
    """A file that is on record as an input, or as an output of a job that could be one.

    Args:
        tx: the transaction.
        sha256: of its bytes.
    """
    row = tx.one("asset_by_sha256", b_sha256=sha256)
    if row is not None:
        return _asset(row, row["extension"])
    row = tx.one("artifact_by_sha256", b_sha256=sha256)
    return _asset(row, extension_of(row["name"])) if row is not None and row["kind"] in KINDS else None


def forget(tx: Transaction, before: datetime, count: int) -> Forgotten:
    """Take the files off the record that no job begins with and nobody has used for long.

    Args:
        tx: the transaction.
        before: only those that were last used before then.
        count: how many at the most.

    Returns:
        How many went, and those of them that no job made either.
    """
    rows = tx.all("oldest_assets", b_before=to_millis(before), b_count=count)
    for row in rows:
        tx.run("forget_asset", b_sha256=row["sha256"])
    unused = [row for row in rows if tx.one("artifact_in_use", b_sha256=row["sha256"]) is None]
    return Forgotten(count=len(rows), files={row["sha256"]: row["size"] for row in unused})


def _asset(row: sqlite3.Row, extension: str) -> Asset:
    return Asset(
        sha256=row["sha256"],
        extension=extension,
        kind=row["kind"],
        media_type=row["media_type"],
        size=row["size"],
    )
