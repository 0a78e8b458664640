"""Where jobs live: one schema, one writer, one reader."""

from __future__ import annotations

from orchestrator_mcp.store.batch_records import BatchAcceptance, BatchJob, BatchSpec, NewBatch, StoredBatch
from orchestrator_mcp.store.job_lists import JobFilter
from orchestrator_mcp.store.records import (
    Acceptance,
    Forgotten,
    JobSpec,
    LeftBehind,
    NewJob,
    OpenAttempt,
    Place,
    SpecForm,
    StoredJob,
)
from orchestrator_mcp.store.store import JobStore
from orchestrator_mcp.store.whole_jobs import HistoryRow
from orchestrator_mcp.store.writer import Written

__all__ = [
    "Acceptance",
    "BatchAcceptance",
    "BatchJob",
    "BatchSpec",
    "Forgotten",
    "HistoryRow",
    "JobFilter",
    "JobSpec",
    "JobStore",
    "LeftBehind",
    "NewBatch",
    "NewJob",
    "OpenAttempt",
    "Place",
    "SpecForm",
    "StoredBatch",
    "StoredJob",
    "Written",
]
