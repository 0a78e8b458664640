"""Jobs, backends and stores for tests: real SQLite files, and time that stands still."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import Artifact, Door, new_job_id
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Candidate
from orchestrator_mcp.store import JobSpec, JobStore, NewJob

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRAPH: dict[str, Any] = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64}}}


class Everything:
    """The catalogue of a backend that has every node and every model."""

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def new_job(*, at: datetime = NOON, spec: JobSpec | None = None, **fields: Any) -> NewJob:
    """A checked manifest, ready to be accepted."""
    values: dict[str, Any] = {
        "job_id": new_job_id(at),
        "owner": "anonymous",
        "door": Door.HTTP,
        "workflow_id": "card",
        "stem": "card",
        "graph": GRAPH,
        "graph_hash": "the hash of the card",
        "lane": LaneSpec(),
        "priority": 0,
        "spec": spec or JobSpec(parameters={}),
        "submitted_at": at,
    }
    return NewJob(**{**values, **fields})


def candidate(backend_id: str = "one", **fields: Any) -> Candidate:
    """A backend that is idle and can do everything."""
    values: dict[str, Any] = {
        "backend_id": backend_id,
        "epoch": 1,
        "unavailable": None,
        "capabilities": frozenset(),
        "slots": 1,
        "running": 0,
        "catalogue": Everything(),
    }
    return Candidate(**{**values, **fields})


def free(*backends: Candidate) -> Callable[[], list[Candidate]]:
    """What `JobStore.claim` asks for."""
    return lambda: list(backends)


def artifact(name: str = "card.png", **fields: Any) -> Artifact:
    values = {"node": "2", "kind": "image", "media_type": "image/png", "size": 7, "sha256": "ab" * 32}
    return Artifact(name=name, **{**values, **fields})


@asynccontextmanager
async def opened(path: Path, told: list[JobChanged] | None = None, **choices: Any) -> AsyncIterator[JobStore]:
    """A store at work; what it tells is put into `told`."""
    store = JobStore(path, tell=(told if told is not None else []).append, **choices)
    await store.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        try:
            with anyio.fail_after(30):
                yield store
        finally:
            store.close()


def look(path: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Ask the file over a connection of one's own: what is seen there is committed."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()
