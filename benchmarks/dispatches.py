"""How fast free slots are filled: durable dispatches a second, beside bare POSTs by httpx.

All backends of a farm are free, and as many jobs come in at one moment. Each is claimed on the disk and then posted to
its backend; its render goes on for longer than that takes, so nothing else is done meanwhile. The farm writes down when
it accepted each prompt: what counts is the time from the claim of the first job, or from before the first bare POST,
until the last one is accepted there.
"""

from __future__ import annotations

import json
import sqlite3
import ssl
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks.houses import LOOK, PATIENCE, blur, farm, house, online, rendered
from benchmarks.reporting import Row
from orchestrator_mcp.domain.jobs import Stage

SHORTEST_RENDER, RENDER_EACH = 1500.0, 15.0  # ms of a render, whatever the farm, and for each backend of it
DISPATCHES = 200  # of each measurement at the least, in as many rounds as that takes
MOST_ROUNDS = 5
FINEST = 0.001  # seconds that the farm's record can tell apart

NOTE = (
    "Dispatches: every backend is free, as many jobs come in at once, and the farm's own record tells when it accepted "
    "the last prompt; the time begins with the claim of the first job, or before the first bare POST. Ours claims each "
    "job on the disk before it is posted, 50 in one transaction, binds its graph, keeps a task for it, and listens to "
    "every backend; bare httpx posts from one client for each backend, all at once, and keeps nothing."
)


async def dispatches(sizes: Sequence[int]) -> list[Row]:
    """Both, each before a farm of its own: prompts of a stranger would be noticed there.

    Args:
        sizes: backends.
    """
    rows: list[Row] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="dispatches-") as place:
            bare = await _posted(Path(place), size)
            ours = await _dispatched(Path(place), size)
        row: Row = {"backends": size, "ours, dispatches/s": round(ours, 1), "bare httpx, POSTs/s": round(bare, 1)}
        rows.append({**row, "ratio": round(ours / bare, 3)})
    return rows


async def _posted(folder: Path, backends: int) -> float:
    """Prompts a second by bare httpx, with one client for each backend."""
    began: list[float] = []
    record, no_tls = folder / "seen-bare", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made once: it reads a large file
    async with AsyncExitStack() as opened:
        ports = opened.enter_context(farm(backends, step_ms=_render_ms(backends), oracle=record))
        clients = [
            await opened.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=no_tls, timeout=PATIENCE)
            )
            for port in ports
        ]
        for number in range(_rounds(backends)):
            began.append(time.time())
            async with anyio.create_task_group() as tasks:
                for place, client in enumerate(clients):
                    tasks.start_soon(_post, client, blur(number * backends + place))
            await _ended(record, (number + 1) * backends)
    return _rate(record, backends, began)


async def _post(client: httpx.AsyncClient, graph: dict[str, Any]) -> None:
    (await client.post("/prompt", json={"prompt": graph})).raise_for_status()


async def _dispatched(folder: Path, backends: int) -> float:
    """The same by the orchestrator."""
    began: list[float] = []
    record = folder / "seen-ours"
    with (
        farm(backends, step_ms=_render_ms(backends), oracle=record) as ports,
        house(folder / "house", ports, more="outbox: inbox") as running,
    ):
        async with httpx.AsyncClient(base_url=await running.opened(), trust_env=False, timeout=PATIENCE) as client:
            await online(client, backends)
            for number in range(_rounds(backends)):
                colors = list(range(number * backends, (number + 1) * backends))
                body: dict[str, Any] = {"workflow": blur(), "batch": {"1.color": colors}}
                answer = (await client.post("/api/job", json=body)).raise_for_status().json()
                await _ended(record, (number + 1) * backends)
                await rendered(client, 1)
                began.append(_claimed_at(running.folder, answer["job_ids"][0]))
    return _rate(record, backends, began)


def _render_ms(backends: int) -> float:
    return SHORTEST_RENDER + RENDER_EACH * backends


def _rounds(backends: int) -> int:
    return max(1, min(MOST_ROUNDS, DISPATCHES // backends))


async def _ended(record: Path, count: int) -> None:
    """Wait until so many renders have ended."""
    with anyio.fail_after(PATIENCE):
        while len(_times(record, "ended")) < count:  # noqa: ASYNC110 - it tells nobody
            await anyio.sleep(LOOK * 10)


def _claimed_at(folder: Path, job_id: str) -> float:
    """When a job was claimed, in seconds: its intent to dispatch is in its history."""
    with closing(sqlite3.connect(folder / "data" / "orchestrator.db")) as connection:
        [(at,)] = connection.execute(
            "SELECT min(at) FROM history JOIN job ON job.id = history.job_id WHERE uid = ? AND history.stage = ?",
            (job_id, Stage.DISPATCHING.value),
        )
    return float(at) / 1000


def _rate(record: Path, backends: int, began: Sequence[float]) -> float:
    """Prompts a second, in the median of the rounds."""
    lasts = _times(record, "accepted")[backends - 1 :: backends]
    return statistics.median(
        backends / max(FINEST, last / 1000 - first) for last, first in zip(lasts, began, strict=True)
    )


def _times(record: Path, event: str) -> list[int]:
    """When each of these events was, in milliseconds, in order; a line that is being written does not count yet."""
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True) if record.exists() else []
    told = [json.loads(line) for line in lines if line.endswith("\n")]
    return sorted(line["at"] if event == "accepted" else line["ended"] for line in told if line["event"] == event)
