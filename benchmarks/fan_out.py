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
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What it took to tell a crowd.

    Attributes:
        crowd: what everybody heard.
        seconds: of processor time from when all were there to the end.
    """

    crowd: Crowd
    seconds: float

    @property
    def events(self) -> int:
        """What was told, over all listeners."""
        return sum(len(one.events) - 1 for one in self.crowd.heard)

    def row(self, who: str, single: Telling) -> Row:
        """What there is to say.

        Args:
            who: told them.
            single: the same with one listener: what more of them cost is beyond it.
        """
        delays = self.crowd.delays()
        further = max(1, self.events - single.events)
        return {
            "told by": who,
            "listeners": len(self.crowd.heard),
            "events told": self.events,
            "median ms": round(percentile(delays, 0.5) * 1000, 1),
            "p99 ms": round(percentile(delays, 0.99) * 1000, 1),
            "latest ms": round(percentile(delays, 1.0) * 1000, 1),
            "processor s": round(self.seconds, 2),
            "µs per further event": round((self.seconds - single.seconds) / further * 1e6, 1),
            "missed the end": sum(not one.ended for one in self.crowd.heard),
        }


async def told(url: str, process: int, count: int, steps: int) -> Telling:
    """The orchestrator tells a crowd of a render."""
    crowd, _, there, after = await gather(url, process, count, steps)
    return Telling(crowd=crowd, seconds=after.seconds - there.seconds)


async def replayed(heard: Heard, count: int, place: Path) -> Telling:
    """The bare loop tells a crowd what one listener heard."""
    crowd, there, after = await bare(heard, count, place)
    return Telling(crowd=crowd, seconds=after.seconds - there.seconds)


async def measure(report: Report, counts: Sequence[int], steps: int) -> None:
    """Everything.

    Args:
        report: what to add to.
        counts: how many listen, one crowd after the other.
        steps: of the render, at 40 ms each.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fan-out-") as name, server(Path(name)) as (url, process):
        await told(url, process, 1, steps)  # the first render ever brings more with it
        single = await told(url, process, 1, steps)
        for count in counts:
            ours = await told(url, process, count, steps)
            fullest = max(ours.crowd.heard, key=lambda one: len(one.events))
            alone = await replayed(fullest, 1, Path(name))
            rows.append(ours.row("orchestrator", single))
            rows.append((await replayed(fullest, count, Path(name))).row("bare Starlette", alone))
    report.table("fan-out", rows)
    mine, theirs = (one["µs per further event"] for one in rows[-2:])
    report.goal(
        f"{counts[-1]} listeners: events for each second of processor, over a bare loop",
        theirs / max(mine, 0.1),
        least=0.9,
    )
    report.goal("listeners that missed the end", sum(one["missed the end"] for one in rows), most=0)
    bars = [(f"{one['listeners']} listeners: {one['told by']}", one["µs per further event"]) for one in rows]
    report.bars("Processor time for each further event, µs", bars)
    report.notes.append(
        "The orchestrator also renders, stores and delivers the job, which the bare loop does not: both are compared "
        "by what a crowd costs beyond a single listener. The bare loop sends the very events that the fullest listener "
        "heard, to everybody. The crowd shares the cores. What limits the figure: an event is a turn of one task and a "
        "write to a socket for each listener, here and there: 30 µs; the rest is the end, about 160 µs here and 130 "
        "there. Beside the answer a second task ends, which notices listeners that leave (the bare loop looks out for "
        "none of its WebSockets), and the guards, the count of streams and the subscription are left."
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
