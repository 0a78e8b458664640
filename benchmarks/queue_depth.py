"""What the store costs when a million jobs wait: `python -m benchmarks.queue_depth`.

Fills one database for each depth and measures, by turns on each: submit, claim, status, list and cancel, the memory of
the process and the bytes on the disk for each job. `python -m benchmarks.depth` measures the same from outside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from benchmarks.control_plane import candidates
from benchmarks.filling import fill, new_job
from benchmarks.houses import other, picture
from benchmarks.reporting import Report, Row, machine
from orchestrator_mcp.store import JobFilter, JobSpec, JobStore

WARM = 3  # of each, before anything counts
MOST = {"claim": 1.15}
OTHERS = 1.5
USUAL = 2_000  # jobs with usual parameters


async def timed(store: JobStore, repeats: int) -> dict[str, list[float]]:
    """Seconds of each operation on a store.

    Args:
        store: open.
        repeats: of each.
    """
    spans: dict[str, list[float]] = defaultdict(list)
    free = candidates(1)
    graph = picture()

    async def took(name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        began = time.perf_counter()
        found = await work()
        spans[name].append(time.perf_counter() - began)
        return found

    for number in range(repeats + WARM):
        new = new_job(graph, number)
        await took("submit", lambda new=new: store.accept(new))  # type: ignore[misc]
        await took("claim", lambda: store.claim(lambda: free, datetime.now(UTC)))
        stored = await took("status", lambda new=new: store.job(new.job_id))  # type: ignore[misc]
        await took("place in the queue", lambda stored=stored: store.positions([stored.place]))  # type: ignore[misc]
        await took("list", lambda: store.jobs(JobFilter(), before=None, limit=50))
        await took("counts", store.counts)
        await took("cancel", lambda new=new: store.request_cancel(new.job_id, datetime.now(UTC)))  # type: ignore[misc]
    return {name: found[WARM:] for name, found in spans.items()}


async def measured(path: Path, repeats: int) -> dict[str, Any]:
    """Open a database and measure: what a process of its own says of one depth."""
    before = _memory()
    store = JobStore(path, tell=lambda _event: None)
    await store.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        opened = _memory()
        spans = await timed(store, repeats)
        store.close()
    medians = {name: statistics.median(found) * 1000 for name, found in spans.items()}
    return {"opening": opened - before, "memory": _memory() - before, "ms": medians}


def _memory() -> int:
    """Bytes that this process alone holds; 0 where nobody tells."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def in_a_process(path: Path, repeats: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.queue_depth", "--measure", str(path), "--repeats", str(repeats)]
    with other(command) as said:
        found: dict[str, Any] = said
        return found


async def measure(report: Report, depths: Sequence[int], repeats: int, turns: int) -> None:
    """Everything.

    Args:
        report: what to add to.
        depths: jobs that wait, the shallow queue first.
        repeats: of each operation in a turn.
        turns: of each depth.
    """
    with tempfile.TemporaryDirectory(prefix="depths-") as place:
        paths = {depth: Path(place) / f"{depth}.db" for depth in depths}
        for depth, path in paths.items():
            began = time.perf_counter()
            await fill(path, depth, picture())
            sys.stderr.write(f"{depth} jobs stored in {time.perf_counter() - began:.1f} s\n")
        sizes = {depth: path.stat().st_size for depth, path in paths.items()}
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for _ in range(turns):
            for depth, path in paths.items():
                found[depth].append(in_a_process(path, repeats))
        usual = await bytes_on_disk(Path(place), USUAL)
    rows = [_row(depth, sizes[depth], found[depth]) for depth in depths]
    report.table("depth", rows)
    first, last = rows[0], rows[-1]
    for name in found[depths[0]][0]["ms"]:
        ratio = last[f"{name} ms"] / first[f"{name} ms"]
        report.goal(f"{name} at {last['queued']:,}, over {first['queued']:,}", ratio, most=MOST.get(name, OTHERS))
    more = (last["memory MiB"] - first["memory MiB"]) * 2**20 / (last["queued"] - first["queued"])
    report.goal("bytes of memory for each further job", more, most=16)
    report.table("a job with two prompts, on the disk", [usual])
    report.goal("bytes on the disk, over those of usual parameters", usual["ratio"], most=1.5)
    report.bars("Milliseconds of a claim", [(f"{row['queued']:,} queued", row["claim ms"]) for row in rows])
    report.notes.append(
        "Memory holds the page cache of the database, at most 64 MiB, which a deep queue fills and a shallow one does "
        "not. Jobs on the disk include their indexes and the history of being accepted; the graph is stored once."
    )


async def bytes_on_disk(place: Path, jobs: int) -> Row:
    """What a job with usual parameters takes, beside what they are as they were sent.

    Args:
        place: where its database lies.
        jobs: how many are stored.
    """
    graph, path = picture(), place / "usual.db"
    await fill(path, 1, graph)
    before = path.stat().st_size
    store = JobStore(path, tell=lambda _event: None)
    await store.open()
    sent = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        async with anyio.create_task_group() as callers:
            for number in range(jobs):
                parameters = _usual(number)
                sent += len(json.dumps(parameters))
                spec = JobSpec(parameters=parameters, targets={name: [f"1.{name}"] for name in parameters})
                callers.start_soon(store.accept, replace(new_job(graph, number), spec=spec))
        store.close()
    each, own = (path.stat().st_size - before) / jobs, sent / jobs
    return {"jobs": jobs, "bytes a job": round(each), "its parameters": round(own), "ratio": round(each / own, 2)}


def _usual(number: int) -> dict[str, Any]:
    """Two prompts and the usual numbers."""
    return {
        "positive": f"shot {number:04}, "
        + "a lighthouse above a stormy sea at dusk, 35 mm, volumetric light, " * (4 + number % 9),
        "negative": "blurry, low contrast, watermark, text, deformed hands, " * (1 + number % 7),
        "seed": 2**50 + number,
        "steps": 30,
        "cfg": 6.5,
        "width": 1344,
        "height": 768,
    }


def _row(depth: int, size: int, turns: Sequence[dict[str, Any]]) -> Row:
    names = turns[0]["ms"]
    medians = {f"{name} ms": round(statistics.median(turn["ms"][name] for turn in turns), 3) for name in names}
    memory = statistics.median(turn["memory"] for turn in turns) / 2**20
    return {"queued": depth, **medians, "memory MiB": round(memory, 1), "bytes a job": round(size / depth)}


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue_depth", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--depths", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=200, help="of each operation in a turn")
    parser.add_argument("--turns", type=int, default=1, help="of each depth")
    parser.add_argument("--measure", type=Path, help="only measure this database, and say so as JSON")
    given = parser.parse_args()
    if given.measure is not None:
        sys.stdout.write(json.dumps(anyio.run(measured, given.measure, given.repeats)) + "\n")
        return
    report = Report("queue_depth", "What the store costs when many jobs wait", machine())
    anyio.run(measure, report, given.depths, given.repeats, given.turns)
    report.write(given.out)


if __name__ == "__main__":
    main()
