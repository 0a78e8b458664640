"""Where the time of a saturated orchestrator goes: `python -m benchmarks.costs`.

A farm that renders at once keeps one orchestrator at work, and py-spy looks at its threads from outside, many times a
second. A look counts for the library or the room of the house that was at work: of the frames on its stack the
innermost that belongs to one, since what the standard library does is done for somebody.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import httpx

from benchmarks.houses import farm, house, online, picture, rendered
from benchmarks.reporting import Report, Row, machine

RATE: Final = 100  # looks a second: more of them hold up what is looked at
LIBRARIES: Final = (
    "httpx",
    "httpcore",
    "h11",
    "uvicorn",
    "starlette",
    "pydantic",
    "httptools",
    "wsproto",
    "PIL",
    "mcp",
)
OURS: Final = ("orchestrator_mcp", "watcher")
PLUMBING: Final = ("cli", "command", "composition")  # the root of every stack: they began it all, and do nothing
LOOP: Final = "event loop (asyncio, anyio)"
MAIN: Final = "the event loop"
SHOWN: Final = 12
_FRAME: Final = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")


def owner(stack: str) -> str:
    """Who was at work.

    Args:
        stack: a folded stack as py-spy writes it, outermost frame first.
    """
    return next((named for frame in reversed(stack.split(";")) if (named := _named(frame))), LOOP)


def _named(frame: str) -> str | None:
    matched = _FRAME.match(frame)
    parts = Path(matched["file"]).parts if matched else ()
    if library := next((part for part in parts if part in LIBRARIES), None):
        return f"{library} (library)"
    if not parts or parts[0] not in OURS:
        return None
    room = "/".join(parts[: min(2, len(parts) - 1)])
    return None if len(parts) < 3 or parts[1] in PLUMBING else room


def thread(stack: str) -> str:
    """Which kind of thread it was."""
    first = stack.partition(";")[0].rpartition(": ")[2]
    return {"MainThread": MAIN, "AnyIO worker thread": "worker threads"}.get(first, first)


def looks(raw: Path) -> Iterator[tuple[str, int]]:
    """The stacks that were seen, and how often.

    Args:
        raw: what `py-spy record --format raw` wrote.
    """
    for line in raw.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        yield stack, int(count)


def shares(counted: Counter[str], what: str) -> list[Row]:
    """The largest first, the small ones together."""
    total = counted.total() or 1
    rows = [{what: name, "share %": round(100 * count / total, 1)} for name, count in counted.most_common(SHOWN)]
    rest = total - sum(count for _, count in counted.most_common(SHOWN))
    return [*rows, {what: "all others", "share %": round(100 * rest / total, 1)}] if rest > 0 else rows


def tally(seen: Iterable[tuple[str, int]]) -> tuple[Counter[str], Counter[str]]:
    """How often each owner, and each kind of thread, was seen at work."""
    owners: Counter[str] = Counter()
    threads: Counter[str] = Counter()
    for stack, count in seen:
        at_work, where = owner(stack), thread(stack)
        if at_work == LOOP and where != MAIN:
            continue  # a thread of which nobody has asked anything waits, though py-spy cannot always tell
        owners[at_work] += count
        threads[where] += count
    return owners, threads


async def watched(folder: Path, ports: list[int], jobs: int) -> tuple[float, Path]:
    """Keep an orchestrator at work while it is looked at.

    Args:
        folder: where it lives.
        ports: of the backends.
        jobs: how many in all.

    Returns:
        Jobs a second while being looked at, and what was seen.
    """
    raw = folder / "looks.txt"
    with house(folder / "house", ports, more="outbox: inbox") as running:
        async with httpx.AsyncClient(base_url=await running.opened(), trust_env=False, timeout=300) as client:
            await online(client, len(ports))
            spy = _spy(running.process.pid, raw)
            try:
                began = anyio.current_time()
                body: dict[str, Any] = {"workflow": picture(), "batch": {"1.color": list(range(jobs))}}
                (await client.post("/api/job", json=body)).raise_for_status()
                await rendered(client, jobs)
                took = anyio.current_time() - began
            finally:
                spy.send_signal(signal.SIGINT)  # it writes what it has, and ends
                said = spy.communicate(timeout=60)[1]
    if not raw.exists():
        raise SystemExit(f"py-spy could not look at the orchestrator: {said.decode(errors='replace').strip()}")
    return jobs / took, raw


def _spy(pid: int, raw: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("py-spy")
    assert program is not None
    command = [program, "record", "--pid", str(pid), "--format", "raw", "--output", str(raw), "--nonblocking"]
    command += ["--rate", str(RATE), "--threads", "--duration", "unlimited"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


async def measure(report: Report, backends: int, jobs: int) -> None:
    """Everything.

    Args:
        report: what to add to.
        backends: of the farm.
        jobs: how many they render.
    """
    with tempfile.TemporaryDirectory(prefix="costs-") as place, farm(backends) as ports:
        rate, raw = await watched(Path(place), ports, jobs)
        owners, threads = tally(looks(raw))
    report.table("by library and room", shares(owners, "who"))
    report.table("by thread", shares(threads, "thread"))
    report.bars("Share of the looks", [(name, round(100 * n / owners.total(), 1)) for name, n in owners.most_common(8)])
    report.notes.append(
        f"{jobs} jobs on {backends} backends that render at once, at {rate:.0f} jobs/s while being looked at "
        f"{RATE} times a second. What a library does for a room counts for the library; waiting counts for nobody."
    )


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--backends", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=3000)
    given = parser.parse_args()
    report = Report("costs", "Where the time of a saturated orchestrator goes", machine())
    if shutil.which("py-spy") is None:
        report.notes.append("Skipped: py-spy is not installed (`pip install '.[bench]'`).")
    else:
        anyio.run(measure, report, given.backends, given.jobs, backend_options={"use_uvloop": True})
    report.write(given.out)


if __name__ == "__main__":
    main()
