"""What others cost beside ours, in the same run: queues alone, and one backend behind `comfy-api-proxy`.

Whoever is absent is left out by name, with the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.peer import compared
from benchmarks.postgres import AbsentError, postgres
from benchmarks.reporting import Report, Row

PATIENCE: Final = 400.0  # seconds for one queue
NEEDED: Final = {
    "ours": (),
    "pgqueuer": ("pgqueuer", "asyncpg"),
    "procrastinate": ("procrastinate", "psycopg"),
    "huey": ("huey",),
}
ON_POSTGRES: Final = ("pgqueuer", "procrastinate")

NOTES: Final = (
    "Queues alone: a job does nothing; each is durable when it was put in (fsync on every commit) and is told of at "
    "once where its queue can tell. Ours: 50 slots, the store without any backend; it keeps each job with its history "
    "and decides by what a job needs. pgqueuer: asyncpg, 5 workers with batches of 10, as its own benchmark has it; "
    "it keeps a log, and works from several machines. procrastinate: psycopg, one worker with 50 at once, woken by "
    "NOTIFY; it keeps the jobs, and works from several machines. huey: SQLite with fsync, 4 threads that look for work "
    "each millisecond; a job leaves its disk when it begins, so one that is killed is not begun again. PostgreSQL runs "
    "with its own durable settings and 256 MB of shared buffers, over a Unix socket, for this run alone.",
    "One backend: all three submit the same graph, ask each 2 ms and fetch the picture. comfy-api-proxy keeps its jobs "
    "in SQLite (`--state-dir`) and hands the picture through from ComfyUI; ours stores the job before it answers, "
    "chooses the backend, checks and hashes the picture and keeps it on its own disk before it says completed.",
)


async def beside(report: Report, jobs: int) -> None:
    """Measure, and add the tables.

    Args:
        report: what to add to.
        jobs: in each phase of a queue; a fiftieth of them, at least 12, take the whole way to a backend.
    """
    rows, absent = queues(jobs)
    report.table("queues alone, a job that does nothing", rows)
    with tempfile.TemporaryDirectory(prefix="peer-") as place:
        ways, alone = await compared(Path(place), max(12, jobs // 50))
    report.table("one backend, submitted until the picture is here", ways)
    if left_out := [*absent, *alone]:
        report.table("left out", left_out)
    report.bars("Jobs a second, queues alone", [(row["queue"], row["50 callers, jobs/s"]) for row in rows])
    report.notes.extend(NOTES)


def queues(jobs: int) -> tuple[list[Row], list[Row]]:
    """Every queue in a process of its own, one after the other.

    Args:
        jobs: in each phase.

    Returns:
        The figures, and who was left out and why.
    """
    rows: list[Row] = []
    absent: list[Row] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="queues-"))
        server: list[str] = []
        for name in NEEDED:
            try:
                _check(name)
                if name in ON_POSTGRES and not server:
                    server.append(stack.enter_context(postgres()))
                rows.append(_measured(name, server[0] if name in ON_POSTGRES else folder, jobs))
            except AbsentError as error:
                absent.append({"left out": name, "why": str(error)})
    return rows, absent


def _check(name: str) -> None:
    if missing := [module for module in NEEDED[name] if find_spec(module) is None]:
        raise AbsentError(f"{' and '.join(missing)} not installed; `pip install '.[bench]'` brings it")


def _measured(name: str, place: str, jobs: int) -> Row:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.queues", name, "--at", place, "--jobs", str(jobs)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if ended.returncode:
        raise AbsentError(f"it ended with {ended.returncode}: {next(_last(ended.stderr), 'without a word')}")
    found = json.loads(ended.stdout.splitlines()[-1])
    return {
        "queue": name,
        "put in until begun, ms": round(found["begun"] * 1000, 1),
        "50 callers, jobs/s": round(found["rate"]),
        "50 callers, ms a job": round(1000 / found["rate"], 2),
        "drained, jobs/s": round(found["drained"]),
    }


def _last(text: str) -> Iterator[str]:
    return (line.strip() for line in reversed(text.splitlines()) if line.strip())
