"""Where jobs live: one schema, one writer, one reader."""

from __future__ import annotations

from orchestrator_mcp.store.records import Acceptance, JobSpec, LeftBehind, NewJob, OpenAttempt, StoredJob
from orchestrator_mcp.store.store import HistoryRow, JobFilter, JobStore

__all__ = [
    "Acceptance",
    "HistoryRow",
    "JobFilter",
    "JobSpec",
    "JobStore",
    "LeftBehind",
    "NewJob",
    "OpenAttempt",
    "StoredJob",
]
