"""How many jobs a second the whole way can take: `python -m benchmarks.control_plane`.

First without HTTP: jobs that end as soon as they were claimed, every end and claim on the disk, against the turn-over
of a lane by hand-written SQL on a bare `sqlite3` connection. Then how fast the free slots of a farm are filled over
HTTP, against bare httpx. Then the whole way, over HTTP to a farm of sandbox servers that render at once, against a
script with one httpx client for each backend that posts, asks for the history, fetches the picture, and stores nothing.
Beside it, what other queues and the nearest peer cost; they come with `pip install '.[bench]'`, and are left out by
name where they are absent.
"""

from __future__ import annotations

import argparse
import functools
import gc
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks.beside import beside
from benchmarks.dispatches import NOTE, dispatches
from benchmarks.filling import fill
from benchmarks.houses import farm, house, online, picture, rendered
from benchmarks.raw import Pace, Stopwatch, turnover, turnover_of_our_rows, turnover_without_lanes
from benchmarks.reporting import Report, Row, machine
from orchestrator_mcp.command.serving import FASTEST_LOOP, OLD_ONCE_IN, TURN_OF_A_THREAD
from orchestrator_mcp.domain.jobs import JobState, Outcome
from orchestrator_mcp.domain.placement import Candidate
from orchestrator_mcp.store import JobStore, OpenAttempt

GOALS = {1: 0.5, 10: 0.7, 100: 0.85, 1000: 0.95}
GROUPS = {1: 1, 10: 16, 100: 128, 1000: 128}  # jobs in one transaction of the rival
LARGEST_GROUP = 128
OURS, RAW, BARE, SAME = "ours", "raw sqlite3", "raw, no lanes", "raw sqlite3 with our rows"
LARGEST = 10_000  # jobs of one batch
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.064  # seconds between two looks of the script


class Everything:
    """The catalogue of a backend that has every node and every model."""

    def has_class(self, name: str) -> bool:
        """Yes."""
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        """Not known."""
        return None


def candidates(count: int) -> list[Candidate]:
    """So many backends that are free."""
    everything = Everything()
    return [
        Candidate(
            backend_id=f"gpu-{number}",
            epoch=1,
            unavailable=None,
            capabilities=frozenset(),
            slots=1,
            running=0,
            catalogue=everything,
        )
        for number in range(count)
    ]


def as_it_serves() -> None:
    """Have Python as the product has it while it serves: what stands is not looked through for garbage again."""
    sys.setswitchinterval(TURN_OF_A_THREAD)
    gc.set_threshold(*gc.get_threshold()[:2], OLD_ONCE_IN)
    gc.collect()
    gc.freeze()


async def stored_turnover(folder: Path, backends: int, jobs: int) -> Pace:
    """Jobs that are ended and followed by the next, through the store.

    Args:
        folder: where the database lies.
        backends: how many jobs end in the same moment.
        jobs: how many in all, at least two rounds.
    """
    rounds = max(2, jobs // backends)
    path = folder / f"ours-{backends}-{time.monotonic_ns()}.db"
    await fill(path, backends * (rounds + 1), picture())
    store = JobStore(path, tell=lambda _event: None)
    await store.open()
    free = candidates(backends)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        watch = Stopwatch()
        held = await _claimed(store, free)
        for _ in range(rounds):
            if len(held) != backends:
                raise SystemExit(f"{len(held)} jobs were claimed for {backends} backends")
            held = await _round(store, held, free)
        pace = watch.pace(backends * (rounds + 1))
        store.close()
    return pace


async def _round(store: JobStore, held: Sequence[OpenAttempt], free: Sequence[Candidate]) -> list[OpenAttempt]:
    """All of these end, and the next are claimed, as the dispatcher has it: in one moment, so in few commits."""
    claimed: list[OpenAttempt] = []

    async def claim() -> None:
        claimed.extend(await _claimed(store, free))

    async with anyio.create_task_group() as tasks:
        now = datetime.now(UTC)
        for one in held:
            finish = functools.partial(store.finish, one, JobState.COMPLETED, Outcome.SUCCEEDED, now, reason="rendered")
            tasks.start_soon(finish)
        tasks.start_soon(claim)
    return claimed


async def _claimed(store: JobStore, free: Sequence[Candidate]) -> list[OpenAttempt]:
    """A job for each of these, in as many claims as the dispatcher needs."""
    claimed: list[OpenAttempt] = []
    taken: set[str] = set()
    while len(claimed) < len(free):
        left = [one for one in free if one.backend_id not in taken]
        found = await store.claim(lambda left=left: left, datetime.now(UTC))  # type: ignore[misc]
        if not found:
            break
        claimed += found
        taken.update(held.backend_id for held in found)
    return claimed


async def turnovers(sizes: Sequence[int], jobs: int, turns: int) -> list[Row]:
    """Both, by turns.

    Args:
        sizes: backends.
        jobs: of each turn.
        turns: how often each.
    """
    rows: list[Row] = []
    for size in sizes:
        paces: dict[str, list[Pace]] = {OURS: [], RAW: [], BARE: [], SAME: []}
        group = GROUPS.get(size, min(size, LARGEST_GROUP))
        for _ in range(turns):
            with tempfile.TemporaryDirectory(prefix="turnover-") as place:
                paces[OURS].append(await stored_turnover(Path(place), size, jobs))
                paces[RAW].append(turnover(Path(place), group, jobs))
                paces[BARE].append(turnover_without_lanes(Path(place), size, jobs))
                paces[SAME].append(await _raw_turnover_of_our_rows(Path(place), size, jobs))
        rates = {who: statistics.median(pace.rate for pace in found) for who, found in paces.items()}
        used = {who: statistics.median(pace.processor for pace in found) for who, found in paces.items()}
        row: Row = {"backends": size, **{f"{who}, jobs/s": round(rate) for who, rate in rates.items()}}
        row |= {"ratio": round(rates[OURS] / rates[RAW], 3), "of our rows": round(rates[OURS] / rates[SAME], 3)}
        rows.append({**row, **{f"{who}, processor µs": round(each, 1) for who, each in used.items()}})
    return rows


async def _raw_turnover_of_our_rows(folder: Path, backends: int, jobs: int) -> Pace:
    rounds = max(2, jobs // backends)
    path = folder / "our-rows.db"
    await fill(path, backends * (rounds + 1), picture())
    return turnover_of_our_rows(path, backends, rounds)


async def scripted(ports: Sequence[int], jobs: int) -> float:
    """Jobs a second of a script that keeps nothing; its clients are there before the clock starts, as ours are.

    Args:
        ports: of the backends.
        jobs: how many in all.
    """
    numbers, no_tls = iter(range(jobs)), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made once: it reads a large file
    async with AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=no_tls, timeout=60)
            )
            for port in ports
        ]
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(_script, client, numbers)
        return jobs / (time.perf_counter() - began)


async def _script(client: httpx.AsyncClient, numbers: Iterator[int]) -> None:
    for number in numbers:
        answer = await client.post("/prompt", json={"prompt": picture(2**24 - 1 - number)})
        prompt_id = answer.raise_for_status().json()["prompt_id"]
        pause = FIRST_PAUSE
        while not (found := (await client.get(f"/history/{prompt_id}")).json()):
            await anyio.sleep(pause)  # a thousand that ask without a pause would only hold each other up
            pause = min(pause * 2, LONGEST_PAUSE)
        [file] = found[prompt_id]["outputs"]["2"]["images"]
        (await client.get("/view", params=file)).raise_for_status()


async def orchestrated(folder: Path, ports: Sequence[int], jobs: int) -> float:
    """Jobs a second of the whole product, from the first accepted to the last completed.

    Args:
        folder: where it lives.
        ports: of the backends.
        jobs: how many in all.
    """
    with house(folder, ports, more="outbox: inbox") as running:
        async with httpx.AsyncClient(base_url=await running.opened(), trust_env=False, timeout=300) as client:
            await online(client, len(ports))
            began = time.perf_counter()
            for first in range(0, jobs, LARGEST):
                colors = list(range(first, min(jobs, first + LARGEST)))
                body: dict[str, Any] = {"workflow": picture(), "batch": {"1.color": colors}}
                (await client.post("/api/job", json=body)).raise_for_status()
            await rendered(client, jobs)
            return jobs / (time.perf_counter() - began)


async def over_http(sizes: Sequence[int], jobs: int) -> list[Row]:
    """The whole way and the script, on the same farm.

    Args:
        sizes: backends.
        jobs: for each.
    """
    rows: list[Row] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="whole-way-") as place, farm(size) as ports:
            script = await scripted(ports, max(jobs, size))
            ours = await orchestrated(Path(place), ports, max(jobs, size))
        row = {"backends": size, "ours, jobs/s": round(ours, 1), "script, jobs/s": round(script, 1)}
        rows.append({**row, "ratio": round(ours / script, 3), "ours, ms each": round(1000 / ours, 1)})
    return rows


async def measure(report: Report, sizes: Sequence[int], farms: Sequence[int], jobs: int, turns: int) -> None:
    """Everything.

    Args:
        report: what to add to.
        sizes: backends without HTTP.
        farms: backends with it.
        jobs: of each measurement without HTTP; a twentieth of them over HTTP, a fifth through each queue of others.
        turns: how often each without HTTP.
    """
    stored = await turnovers(sizes, jobs, turns)
    report.table("without HTTP: ended and claimed", stored)
    for row in stored:
        size = row["backends"]
        report.goal(f"{size} backends, over raw sqlite3", row["ratio"], least=GOALS.get(size, 0.5))
    filled = await dispatches(farms)
    report.table("dispatches: claimed on the disk and posted", filled)
    for row in filled:
        report.goal(f"dispatches to {row['backends']} free backends, over bare httpx", row["ratio"], least=0.85)
    whole = await over_http(farms, max(20, jobs // 20))
    report.table("the whole way", whole)
    for row in whole:
        report.goal(
            f"{row['backends']} backends over HTTP, over a script that stores nothing", row["ratio"], least=0.85
        )
    report.bars(
        "Jobs a second without HTTP",
        [(f"{r['backends']}: {w}", r[f"{w}, jobs/s"]) for r in stored for w in (OURS, SAME, RAW, BARE)],
    )
    report.bars(
        "Jobs a second, the whole way",
        [(f"{r['backends']}: {w}", r[f"{w}, jobs/s"]) for r in whole for w in ("ours", "script")],
    )
    report.notes.append(
        "Raw sqlite3 writes two statements for each job, its end and its claim, both guarded, in groups of 1, 16 and "
        "128, into one table with an index of its lanes, one of what runs, and two unique ones: the least that can "
        "bind late and fence. Without lanes it is one queue with two indexes and a row for each attempt, unguarded, "
        "and all jobs of a moment are one group. Neither has a history, the end of an attempt, a stage, a delivery "
        "that is due, or an event, and both decide nothing. With our "
        "rows it writes all that the product puts on record into the product's tables, by hand-written SQL in loops of "
        "the driver. What ours does beside that: the decision, the checks, a task for each job that ends, and a change "
        "of thread for each transaction. The goals are over the first. "
        "What limits it now: with one backend the pages of each commit, which hand-written SQL for the same rows "
        "writes as well; with many, a third of the processor time is the task in which a job ends, from its start "
        "to its wake, a third are its rows in SQLite, and the rest is the decision, the records and the events. The "
        "first two thirds alone are several times what raw sqlite3 takes in all, so nothing in Python that "
        "gives each job a task and a history reaches the goals. "
        "Over HTTP, one other process plays "
        "all backends, draws a picture for every job, and shares the cores: on two of them it is most of the time. "
        "Both send three requests for a job; ours cost less than those of httpx, so requests are not what limits it. "
        "What it does beside them is: hear the WebSocket, which says more than ten times what a job is at; claim and "
        "end the job in transactions; check, hash and flush its file and the folder that names it. All of that is one "
        "Python process, whose threads take turns with its event loop: their sum for a job is the limit."
    )
    report.notes.append(NOTE)
    await beside(report, max(100, jobs // 5))


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control_plane", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100, 1000], help="backends without HTTP")
    parser.add_argument("--farms", type=int, nargs="+", default=[1, 10, 100, 1000], help="backends with it")
    parser.add_argument("--jobs", type=int, default=10_000, help="without HTTP; a twentieth over HTTP")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    report = Report("control_plane", "How many jobs a second the whole way can take", machine())
    as_it_serves()
    anyio.run(measure, report, given.sizes, given.farms, given.jobs, given.turns, backend_options=FASTEST_LOOP)
    report.write(given.out)


if __name__ == "__main__":
    main()
