"""How soon an orchestrator that was killed is back at its renders: `python -m benchmarks.restart`.

20 renders that go on are left behind by `kill -9`, with 10^3 to 10^6 jobs in the queue. Measured from the start of the
next process to the moment when it has found the last of them again, against the import of the program alone, in the
same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import httpx

from benchmarks.filling import fill
from benchmarks.houses import LOOK, PATIENCE, House, blur, farm, house, online, picture
from benchmarks.reporting import Report, machine

FOUND: Final = b"on its backend"  # what the log says of a render that was found again
NEEDED: Final = ("orchestrator_mcp.server", "orchestrator_mcp.app", "orchestrator_mcp.composition.core", "httpcore")
RENDER_MS: Final = 3_600_000.0
MARGIN: Final = 0.3  # seconds beyond the imports


def import_seconds(times: int) -> float:
    """The median of how long the program takes to be imported as far as recovery needs it."""
    spans = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {', '.join(NEEDED)}"], check=True)
        spans.append(time.perf_counter() - began)
    return statistics.median(spans)


async def begin(folder: Path, ports: Sequence[int]) -> None:
    """Have every backend at work on a render that does not end, and kill the orchestrator.

    Args:
        folder: where it lives.
        ports: of the backends.
    """
    count = len(ports)
    with house(folder, ports) as running:
        async with httpx.AsyncClient(base_url=await running.opened(), trust_env=False, timeout=60) as client:
            await online(client, count)
            body = {"workflow": blur(), "batch": {"1.color": list(range(count))}, "priority": 100}
            (await client.post("/api/job", json=body)).raise_for_status()
            with anyio.fail_after(PATIENCE):
                while await _rendering(client) < count:  # noqa: ASYNC110 - whole lists tell nobody
                    await anyio.sleep(LOOK * 10)
        running.process.kill()


async def _rendering(client: httpx.AsyncClient) -> int:
    jobs = (await client.get("/api/jobs", params={"status": "running", "limit": 500})).json()["jobs"]
    return sum(job["stage"] == "rendering" for job in jobs)


def found_again(folder: Path, ports: Sequence[int]) -> float:
    """Seconds from the start of a process until it has found every render again; it is killed then.

    Args:
        folder: where it lives.
        ports: of the backends.
    """
    began = time.perf_counter()
    with house(folder, ports, log=subprocess.PIPE) as running:
        seconds = _when_found(running, len(ports)) - began
        running.process.kill()
    return seconds


def _when_found(running: House, count: int) -> float:
    assert running.process.stderr is not None
    found = 0
    for line in running.process.stderr:
        found += FOUND in line
        if found == count:
            return time.perf_counter()
    raise SystemExit(f"the server ended when {found} of {count} renders were found")


async def measure(report: Report, depths: Sequence[int], renders: int, turns: int) -> None:
    """Everything.

    Args:
        report: what to add to.
        depths: jobs that wait, the shallow queue first.
        renders: that go on.
        turns: of each.
    """
    imports = import_seconds(turns)
    rows = []
    with tempfile.TemporaryDirectory(prefix="restart-") as place, farm(renders, step_ms=RENDER_MS) as ports:
        await begin(Path(place), ports)
        queued = 0
        for depth in sorted(depths):
            await fill(Path(place) / "data" / "orchestrator.db", depth - queued, picture())
            queued = depth
            spans = [found_again(Path(place), ports) for _ in range(turns)]
            rows.append(
                {
                    "queued": depth,
                    "renders": renders,
                    "found again after s": round(statistics.median(spans), 3),
                    "imports s": round(imports, 3),
                    "beyond them s": round(statistics.median(spans) - imports, 3),
                }
            )
    report.table("restart", rows)
    report.goal("seconds beyond the imports, deepest queue", rows[-1]["beyond them s"], most=MARGIN)
    ratio = rows[-1]["found again after s"] / rows[0]["found again after s"]
    report.goal(f"{rows[-1]['queued']:,} queued, over {rows[0]['queued']:,}", ratio, most=1.1)
    report.bars(
        "Seconds until every render is found again", [(f"{r['queued']:,}", r["found again after s"]) for r in rows]
    )
    report.notes.append("The imports are those that recovery needs; the doors are imported beside it, on a thread.")


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--depths", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--renders", type=int, default=20, help="that go on")
    parser.add_argument("--turns", type=int, default=3, help="of each depth")
    given = parser.parse_args()
    if os.name != "posix":
        raise SystemExit("a kill -9 is needed")
    report = Report("restart", "How soon a killed orchestrator is back at its renders", machine())
    anyio.run(measure, report, given.depths, given.renders, given.turns)
    report.write(given.out)


if __name__ == "__main__":
    main()
