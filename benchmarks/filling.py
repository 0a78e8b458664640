"""A million jobs into a database, faster than through a door: the row of one accepted job, again and again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from benchmarks.raw import connect
from orchestrator_mcp.domain.jobs import Door, new_job_id
from orchestrator_mcp.domain.lanes import LaneSpec, Requirements
from orchestrator_mcp.store import JobSpec, JobStore, NewJob

CHUNK = 10_000  # rows of one transaction


def new_job(graph: dict[str, Any], number: int = 0, *, priority: int = 0) -> NewJob:
    """A checked manifest, as the service hands it to the store.

    Args:
        graph: of node classes that need no model.
        number: what its parameter is.
        priority: its priority.
    """
    now = datetime.now(UTC)
    classes = frozenset(node["class_type"] for node in graph.values())
    return NewJob(
        job_id=new_job_id(now),
        owner="anonymous",
        door=Door.HTTP,
        workflow_id="card",
        stem="card",
        graph=graph,
        graph_hash="card",
        lane=LaneSpec(requirements=Requirements(node_classes=classes)),
        priority=priority,
        spec=JobSpec(parameters={"1.color": number}, targets={"1.color": ["1.color"]}, metadata={"shot": number}),
        submitted_at=now,
    )


async def fill(database: Path, queued: int, graph: dict[str, Any]) -> None:
    """Put jobs into the queue of a database that nobody has open; it is made if it is not there.

    Args:
        database: the file.
        queued: how many more.
        graph: what they render.
    """
    store = JobStore(database, tell=lambda _event: None)
    await store.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        accepted = await store.accept(new_job(graph))
        store.close()
    with closing(connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        [job] = connection.execute("SELECT * FROM job WHERE uid = ?", (accepted.job_id,)).fetchall()
        [told] = connection.execute("SELECT * FROM history WHERE job_id = ?", (job["id"],)).fetchall()
        for first in range(1, queued, CHUNK):
            _copy(connection, job, told, first, min(CHUNK, queued - first))


def _copy(connection: sqlite3.Connection, job: sqlite3.Row, told: sqlite3.Row, first: int, count: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    top = connection.execute("SELECT max(id) FROM job").fetchone()[0]
    seq = connection.execute("SELECT max(seq) FROM history").fetchone()[0]

    def jobs() -> Iterator[dict[str, Any]]:
        now = datetime.now(UTC)
        for number in range(1, count + 1):
            spec = job["spec"].replace('"1.color":0', f'"1.color":{first + number}')
            changed = {"id": top + number, "uid": new_job_id(now), "spec": spec, "seq": seq + number}
            yield {**dict(job), **changed}

    history = ({**dict(told), "seq": seq + number, "job_id": top + number} for number in range(1, count + 1))
    connection.executemany(_insert("job", job), jobs())
    connection.executemany(_insert("history", told), history)
    connection.execute("UPDATE lane SET queued = queued + ? WHERE id = ?", (count, job["lane_id"]))
    connection.execute("COMMIT")


def _insert(table: str, row: sqlite3.Row) -> str:
    names = row.keys()
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
