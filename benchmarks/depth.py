"""What a deep queue costs at the start and for each new job: `python -m benchmarks.depth`.

Fills two databases, one shallow and one deep, each with the same number of ended jobs beside its queued ones, and runs
a server of its own on each, by turns. Its only backend is not there, so the jobs stay queued. Prints one JSON document;
what counts are the ratios within it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks.crowd import percentile
from orchestrator_mcp.domain.jobs import Door, new_job_id
from orchestrator_mcp.domain.lanes import LaneSpec, Requirements
from orchestrator_mcp.machine.presence import find_running
from orchestrator_mcp.store import JobSpec, JobStore, NewJob

BATCH = 500  # jobs that are stored together
LOOK = 0.01  # seconds between two looks whether it is ready
DATABASE = "orchestrator.db"
GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}


@dataclass(kw_only=True)
class Depth:
    """A queue, and what was measured over it.

    Attributes:
        folder: holds its configuration and data.
        queued: jobs in the queue at first.
        starts: seconds from the start of the process to its first answer that it accepts, one for each run.
        submits: seconds of each `POST /api/job`.
    """

    folder: Path
    queued: int
    starts: list[float] = field(default_factory=list)
    submits: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Medians and the ninety-ninth of a hundred, in milliseconds."""
        return {
            "queued": self.queued,
            "start_ms": round(statistics.median(self.starts) * 1000, 1),
            "submit_median_ms": round(statistics.median(self.submits) * 1000, 2),
            "submit_p99_ms": round(percentile(sorted(self.submits), 0.99) * 1000, 2),
        }


async def fill(database: Path, queued: int, ended: int) -> None:
    """Store jobs as the service does: the ended ones first, delivered.

    Args:
        database: the file.
        queued: jobs that wait.
        ended: jobs that were cancelled.
    """
    store = JobStore(database, tell=lambda _event: None)
    await store.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        for first in range(0, ended + queued, BATCH):
            count = min(BATCH, ended + queued - first)
            jobs = [_new_job(first + number) for number in range(count)]
            async with anyio.create_task_group() as batch:
                for number, job in enumerate(jobs, first):
                    batch.start_soon(_store, store, job, number < ended)
        store.close()


async def _store(store: JobStore, job: NewJob, ends: bool) -> None:
    await store.accept(job)
    if ends:
        await store.request_cancel(job.job_id, datetime.now(UTC))
        await store.record_delivery(job.job_id, None)


def _new_job(number: int) -> NewJob:
    now = datetime.now(UTC)
    return NewJob(
        job_id=new_job_id(now),
        owner="anonymous",
        door=Door.HTTP,
        workflow_id="card",
        stem="card",
        graph=GRAPH,
        graph_hash="card",
        lane=LaneSpec(requirements=Requirements(node_classes=frozenset({"EmptyImage", "SaveImage"}))),
        priority=number % 5,
        spec=JobSpec(parameters={"1.color": number}, targets={"1.color": ["1.color"]}, metadata={"shot": number}),
        submitted_at=now,
    )


@contextmanager
def server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An orchestrator on a free port, which its note tells."""
    command = [sys.executable, "-m", "orchestrator_mcp.server", "--port", "0", "--log-level", "error", "--config"]
    process = subprocess.Popen([*command, str(folder / "config.yaml")], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


async def run_once(depth: Depth, submits: int) -> None:
    """Start a server, hand jobs in one after the other, stop it.

    Args:
        depth: on which queue.
        submits: how many jobs.
    """
    began = time.perf_counter()
    with server(depth.folder) as process:
        url = await _opened(process, depth.folder / "data")
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            while not (await client.get("/api/health")).json()["accepting"]:  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(LOOK)
            depth.starts.append(time.perf_counter() - began)
            for number in range(submits):
                body = {"workflow": GRAPH, "parameters": {"1.color": number}}
                sent = time.perf_counter()
                (await client.post("/api/job", json=body)).raise_for_status()
                depth.submits.append(time.perf_counter() - sent)


async def _opened(process: subprocess.Popen[bytes], data: Path) -> str:
    """Wait until its doors are open; its url."""
    with anyio.fail_after(120):
        while (present := find_running(data)) is None:
            if process.poll() is not None:
                raise SystemExit(f"the server ended with {process.returncode}")
            await anyio.sleep(LOOK)
    return present.url


async def measure(depths: Sequence[int], ended: int, submits: int, runs: int, place: Path) -> dict[str, Any]:
    """Everything, as one document.

    Args:
        depths: jobs that wait, the shallow queue first.
        ended: jobs beside them that have ended.
        submits: jobs handed in during each run.
        runs: how often each server is started.
        place: where the databases lie.
    """
    found = []
    for queued in depths:
        depth = Depth(folder=place / str(queued), queued=queued)
        (depth.folder / "data").mkdir(parents=True)
        config = "data_dir: ./data\nbackends: [{id: away, host: 127.0.0.1, port: 9}]\n"
        (depth.folder / "config.yaml").write_text(config, encoding="utf-8")
        began = time.perf_counter()
        await fill(depth.folder / "data" / DATABASE, queued, ended)
        sys.stderr.write(f"{queued} jobs stored in {time.perf_counter() - began:.1f} s\n")
        found.append(depth)
    for _ in range(runs):
        for depth in found:
            await run_once(depth, submits)
    figures = [depth.figures() for depth in found]
    ratios = {
        name.removesuffix("_ms"): round(figures[-1][name] / figures[0][name], 2)
        for name in figures[0]
        if name.endswith("_ms")
    }
    return {"ended": ended, "runs": runs, "submits": runs * submits, "depths": figures, "ratios": ratios}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth", description=__doc__)
    parser.add_argument("--shallow", type=int, default=1_000, help="jobs in the queue that is compared with")
    parser.add_argument("--deep", type=int, default=100_000, help="jobs in the deep queue")
    parser.add_argument("--ended", type=int, default=10_000, help="ended jobs beside them")
    parser.add_argument("--submits", type=int, default=300, help="jobs handed in during each run")
    parser.add_argument("--runs", type=int, default=3, help="how often each server is started")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="depth-") as place:
        depths = (given.shallow, given.deep)
        found = anyio.run(measure, depths, given.ended, given.submits, given.runs, Path(place))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
