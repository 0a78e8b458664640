"""What it costs to tell a crowd of a job: `python -m benchmarks.fan_out`.

WebSocket and server-sent events mixed, and one more listener that never reads; then the same crowd is told the same
bytes at the same pace by a bare Starlette loop, in the same run. `python -m benchmarks.listeners` is the short table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx

from benchmarks.crowd import Crowd, Heard, listen, percentile
from benchmarks.houses import other
from benchmarks.listeners import Used, gather, server, used
from benchmarks.reporting import Report, Row, machine


async def bare(heard: Heard, count: int, place: Path) -> tuple[Crowd, Used, Used]:
    """Tell a crowd what one listener heard.

    Args:
        heard: what it heard, and when.
        count: how many listen.
        place: where the recording is laid.

    Returns:
        What they heard, and what the server had used when all were there and at the end.
    """
    recording = place / "events.json"
    events = [(at, json.dumps(event, separators=(",", ":"))) for at, event in heard.events]
    recording.write_text(json.dumps(events), encoding="utf-8")
    crowd = Crowd([Heard("ws" if number % 2 else "sse") for number in range(count)])
    async with AsyncExitStack() as stack:
        url, process = stack.enter_context(other([sys.executable, "-m", "benchmarks.bare_fan_out", str(recording)]))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, timeout=120))
        async with anyio.create_task_group() as tasks:
            for one in crowd.heard:
                await tasks.start(listen, url, "job", one.kind, one)
            there = used(process)
            await client.delete("/api/job/job")
        return crowd, there, used(process)


def row(who: str, crowd: Crowd, there: Used, after: Used) -> Row:
    """What there is to say of a crowd."""
    delays = crowd.delays()
    return {
        "told by": who,
        "listeners": len(crowd.heard),
        "events told": len(delays),
        "median ms": round(percentile(delays, 0.5) * 1000, 1),
        "p99 ms": round(percentile(delays, 0.99) * 1000, 1),
        "latest ms": round(percentile(delays, 1.0) * 1000, 1),
        "processor µs per event": round((after.seconds - there.seconds) / max(1, len(delays)) * 1e6, 1),
        "missed the end": sum(not one.ended for one in crowd.heard),
    }


async def measure(report: Report, counts: Sequence[int], steps: int) -> None:
    """Everything.

    Args:
        report: what to add to.
        counts: how many listen, one crowd after the other.
        steps: of the render, at 40 ms each.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fan-out-") as name, server(Path(name)) as (url, process):
        for count in counts:
            crowd, _, there, after = await gather(url, process, count, steps)
            rows.append(row("orchestrator", crowd, there, after))
            fullest = max(crowd.heard, key=lambda one: len(one.events))
            rows.append(row("bare Starlette", *await bare(fullest, count, Path(name))))
    report.table("fan-out", rows)
    ours, alone = (one["processor µs per event"] for one in rows[-2:])
    report.goal(
        f"{counts[-1]} listeners: events for each second of processor, over a bare loop", alone / ours, least=0.9
    )
    report.goal("listeners that missed the end", sum(one["missed the end"] for one in rows), most=0)
    bars = [(f"{one['listeners']} listeners: {one['told by']}", one["processor µs per event"]) for one in rows]
    report.bars("Processor time for each event told, µs", bars)
    report.notes.append(
        "The orchestrator's processor time holds the render and its storing, which the bare loop has not; the crowd "
        "shares the cores."
    )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fan_out", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000], help="listeners")
    parser.add_argument("--steps", type=int, default=100, help="of the render, at 40 ms each")
    given = parser.parse_args()
    report = Report("fan_out", "What it costs to tell a crowd of a job", machine())
    anyio.run(measure, report, given.counts, given.steps, backend_options={"use_uvloop": True})
    report.write(given.out)


if __name__ == "__main__":
    main()
