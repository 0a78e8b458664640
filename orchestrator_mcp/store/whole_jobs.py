"""A job put together from all of its rows."""

from __future__ import annotations

import sqlite3

from orchestrator_mcp.store.records import StoredJob, stored_job
from orchestrator_mcp.store.sqlite import Transaction


def whole_job(tx: Transaction, row: sqlite3.Row) -> StoredJob:
    """Everything about a job.

    Args:
        tx: reads what belongs to it.
        row: the job's, joined with its lane and batch.
    """
    return stored_job(
        row,
        tx.all("attempts_of", b_id=row["id"]),
        tx.all("artifacts_of", b_id=row["id"]),
        tx.all("open_parents", b_child=row["id"]) if row["pending"] else [],
    )
