"""How long a saturated backend stands between two renders: `python -m benchmarks.gap`.

A farm of sandbox servers in one other process writes down when each render was accepted, began and ended. Compared in
the same run: one slot, two slots (a standby waits on the backend), and a backend that is fed by its own queue; and the
time from the end of a render to the next POST against one bare commit and one bare POST.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks.crowd import percentile
from benchmarks.houses import blur, farm, house, online, rendered
from benchmarks.raw import commits
from benchmarks.reporting import Report, Row, machine

COMMITS = 100
POSTS = 50
LEARNING = 3  # renders of a backend after which it is known how long they take there
FEWEST = 6  # renders of a backend, so that there are gaps after those
LONGEST = 20.0  # seconds of a render
SPREAD = 0.5  # of the lengths of renders: backends that began together must not go on ending together


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a farm saw, in milliseconds.

    Attributes:
        gaps: from the end of each render to the start of the next on the same backend.
        posts: from the end of each render to the arrival of the next prompt, where it came after.
    """

    gaps: list[float]
    posts: list[float]


def seen(oracle: Path) -> Seen:
    """Read what a farm wrote down; of each backend the renders are left out from which their length is learned.

    Args:
        oracle: the file.
    """
    accepted: dict[str, int] = {}
    ended: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for line in map(json.loads, oracle.read_text(encoding="utf-8").splitlines()):
        if line["event"] == "accepted":
            accepted[line["prompt_id"]] = line["at"]
        elif line["event"] == "ended":
            ended[line["port"]].append((line["started"], line["ended"], line["prompt_id"]))
    pairs = [
        pair for renders in ended.values() for pair in zip(renders[LEARNING:], renders[LEARNING + 1 :], strict=False)
    ]
    gaps = sorted(float(after[0] - before[1]) for before, after in pairs)
    waits = (accepted[after[2]] - before[1] for before, after in pairs)
    return Seen(gaps=gaps, posts=sorted(float(wait) for wait in waits if wait >= 0))


async def ours(folder: Path, backends: int, slots: int, each: int, step_ms: float) -> Seen:
    """A farm that the orchestrator keeps saturated.

    Args:
        folder: where everything lies.
        backends: how many.
        slots: of each.
        each: jobs for each backend.
        step_ms: milliseconds of a render.
    """
    oracle = folder / f"seen-{backends}-{slots}"
    place = folder / f"house-{backends}-{slots}"
    with (
        farm(backends, step_ms=step_ms, spread=SPREAD, oracle=oracle) as ports,
        house(place, ports, slots=slots) as running,
    ):
        async with httpx.AsyncClient(base_url=await running.opened(), trust_env=False, timeout=300) as client:
            await online(client, backends)
            for first in range(0, backends * each, 10_000):
                colors = list(range(first, min(backends * each, first + 10_000)))
                body: dict[str, Any] = {"workflow": blur(), "batch": {"1.color": colors}}
                (await client.post("/api/job", json=body)).raise_for_status()
            await rendered(client, backends * each)
    return seen(oracle)


async def own_queue(folder: Path, each: int, step_ms: float) -> Seen:
    """A backend that is handed everything at once.

    Args:
        folder: where its record lies.
        each: renders.
        step_ms: milliseconds of a render.
    """
    oracle = folder / "seen-own-queue"
    with farm(1, step_ms=step_ms, oracle=oracle) as [port]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            for number in range(each):
                (await client.post("/prompt", json={"prompt": blur(number)})).raise_for_status()
            with anyio.fail_after(60 + each * step_ms / 1000 * 3):
                while (await client.get("/prompt")).json()["exec_info"]["queue_remaining"]:  # noqa: ASYNC110
                    await anyio.sleep(0.05)
    return seen(oracle)


async def bare_posts(count: int) -> list[float]:
    """The seconds of bare POSTs of a prompt by one client that is kept, sorted."""
    spans = []
    with farm(1) as [port]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            for number in range(count):
                began = time.perf_counter()
                (await client.post("/prompt", json={"prompt": blur(number)})).raise_for_status()
                spans.append(time.perf_counter() - began)
    return sorted(spans)


async def measure(report: Report, sizes: Sequence[int], slots: Sequence[int], each: int, step_ms: float) -> None:
    """Everything.

    Args:
        report: what to add to.
        sizes: of the farms.
        slots: of each backend; what is asked of one slot, or of two, is left out where those are not measured.
        each: renders on a farm of one; fewer on each backend of larger ones.
        step_ms: milliseconds of a render on a farm of one; longer on larger ones, since two cores render for all.
    """
    with tempfile.TemporaryDirectory(prefix="gap-") as place:
        folder = Path(place)
        commit = statistics.median(commits(folder, COMMITS)) * 1000
        post = statistics.median(await bare_posts(POSTS)) * 1000
        alone = await own_queue(folder, each, step_ms)
        rows = [_row("its own queue", 1, 0, alone)]
        found: dict[tuple[int, int], Seen] = {}
        for size in sizes:
            length, renders = min(LONGEST * 1000, step_ms * max(1.0, size / 4)), max(FEWEST, each // size)
            for count in slots:
                found[size, count] = await ours(folder, size, count, renders, length)
                rows.append(_row("orchestrator", size, count, found[size, count]))
    report.table("gap", rows)
    report.table("bounds", [{"what": "one commit, ms", "median": round(commit, 2)}, _bound(post)])
    smallest, largest = min(sizes), max(sizes)
    if 2 in slots:
        # A render is its length and the gap after it: that is what a backend loses.
        own, standby = (step_ms + statistics.fmean(one.gaps) for one in (alone, found[smallest, 2]))
        report.goal("render and gap with a standby, over those of its own queue", standby / own, most=1.1)
    if 1 in slots:
        waits = _median(found[smallest, 1].posts) / (commit + post)
        report.goal("end of a render to the next POST, over one commit and one POST", waits, most=1.3)
        report.goal(f"p99 of that with {largest} backends, ms", percentile(found[largest, 1].posts, 0.99), most=10)
    report.bars("Median milliseconds between two renders", [(_label(row), row["gap median ms"]) for row in rows])
    report.notes.append(
        "The backends of a farm differ by half in their speed, or all would end at once each time. A slot is held "
        "until its backend says that it is done; its pictures are fetched and kept beside the next render. Renders "
        "take longer on larger farms, so that the one process that plays all backends is not what is measured. "
        "The record of a farm is in whole milliseconds."
    )
    report.notes.append(
        "Once it is known how long a render takes, its successor is claimed in its last moments, and what stands "
        "between is to hear of the end and to send. Where there is none, traced with one backend: 0.4 ms until the end "
        "is heard and the slot free, 0.2 for what the decision is made from, 0.4 to the thread that commits, 1.8 for "
        "the claim (of which the flush of a bare commit is 0.25), 0.4 back and to the task of the attempt, 0.2 for its "
        "graph, 0.8 until the prompt has arrived; and whatever else the event loop does meanwhile comes between. "
        "With a thousand backends (`--sizes 1000 --slots 1`, three minutes) it was once 134 ms in the median and 811 "
        "at p99: not traced; fifty to a hundred of them end in a second then, and 140 jobs a second are all that the "
        "whole way takes on two cores."
    )


def _bound(post: float) -> Row:
    return {"what": "one bare POST of a prompt, ms", "median": round(post, 2)}


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def _label(row: Row) -> str:
    return f"{row['backends']} backends, {row['slots'] or 'its own'} slots: {row['fed by']}"


def _row(who: str, backends: int, slots: int, seen: Seen) -> Row:
    return {
        "fed by": who,
        "backends": backends,
        "slots": slots,
        "renders": len(seen.gaps),
        "gap median ms": _median(seen.gaps),
        "gap p99 ms": percentile(seen.gaps, 0.99),
        "to next POST median ms": _median(seen.posts) if seen.posts else "-",
        "to next POST p99 ms": percentile(seen.posts, 0.99) if seen.posts else "-",
    }


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gap", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 100], help="backends; with 1000, three minutes for each of --slots"
    )
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2], choices=[1, 2], help="of each backend")
    parser.add_argument("--each", type=int, default=30, help="renders; fewer on each of many backends")
    parser.add_argument("--step-ms", type=float, default=250.0, help="milliseconds of a render")
    given = parser.parse_args()
    report = Report("gap", "How long a saturated backend stands between two renders", machine())
    anyio.run(measure, report, given.sizes, given.slots, given.each, given.step_ms)
    report.write(given.out)


if __name__ == "__main__":
    main()
