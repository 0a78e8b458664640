"""How late the listeners of a job hear of it: `python -m benchmarks.listeners`.

Starts an orchestrator of its own, in a process of its own, with its built-in sandbox; renders one job for each crowd
and prints a table. One further listener never reads anything.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx

from benchmarks.crowd import Crowd, Heard, connect_and_never_read, listen, percentile

_HEADER = "| listeners | events told | median | p99 | latest | memory per listener | processor per event |"


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """An orchestrator on a free port; gives its url and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config.yaml").write_text("data_dir: ./data\n", encoding="utf-8")
    command = [sys.executable, "-m", "orchestrator_mcp.server", "--port", str(port), "--config"]
    process = subprocess.Popen([*command, str(folder / "config.yaml")], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(20)


async def ready(client: httpx.AsyncClient) -> None:
    """Wait until a backend is there."""
    with anyio.fail_after(30):
        while True:
            try:
                if (await client.get("/health")).json()["backends_online"]:
                    return
            except httpx.TransportError:
                pass
            await anyio.sleep(0.1)


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a process has taken so far.

    Attributes:
        memory: resident bytes.
        seconds: of processor time.
    """

    memory: int = 0
    seconds: float = 0.0


async def gather(url: str, process: int, count: int, steps: int) -> tuple[Crowd, Used, Used, Used]:
    """Render one job before a crowd.

    Args:
        url: of the server.
        process: its id.
        count: how many listen.
        steps: of the render, at 40 ms each.

    Returns:
        What they heard, and what the server had used before they came, when all were there, and at the end.
    """
    crowd = Crowd([Heard("ws" if number % 2 else "sse") for number in range(count)])
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        await ready(client)
        # The first job holds the only slot until everybody has come.
        waiting = {"workflow_id": "my_workflow_001", "parameters": {"steps": 5000}}
        first = (await client.post("/api/job", json=waiting)).json()["job_id"]
        body = {"workflow_id": "my_workflow_001", "parameters": {"steps": steps}}
        job_id = (await client.post("/api/job", json=body)).json()["job_id"]
        before = used(process)
        with connect_and_never_read(url, job_id):
            async with anyio.create_task_group() as tasks:
                for heard in crowd.heard:
                    await tasks.start(listen, url, job_id, heard.kind, heard)
                there = used(process)
                await client.delete(f"/api/job/{first}")
    return crowd, before, there, used(process)


def used(process: int) -> Used:
    """What a process has taken; nothing where /proc does not tell."""
    folder = Path("/proc") / str(process)
    try:
        memory = re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())
        ticks = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return Used()
    seconds = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return Used(memory=int(memory[1]) * 1024 if memory else 0, seconds=seconds)


async def measure(counts: list[int], steps: int) -> None:
    """Print one row for each crowd."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (url, process):
        _say(_HEADER)
        _say("|---|---|---|---|---|---|---|")
        for count in counts:
            crowd, before, there, after = await gather(url, process, count, steps)
            delays = crowd.delays()
            row = [
                str(count),
                str(len(delays)),
                *(f"{percentile(delays, share) * 1000:.0f} ms" for share in (0.5, 0.99, 1.0)),
                f"{(there.memory - before.memory) / count / 1024:.0f} KiB",
                f"{(after.seconds - there.seconds) / len(delays) * 1e6:.0f} µs",
            ]
            _say(f"| {' | '.join(row)} |")
            if not all(one.ended for one in crowd.heard):
                raise SystemExit("somebody did not hear of the end")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[10, 100, 1000], help="how many listeners")
    parser.add_argument("--steps", type=int, default=100, help="of the render, at 40 ms each")
    choices = parser.parse_args()
    anyio.run(measure, choices.counts, choices.steps, backend_options={"use_uvloop": True})  # it shares two cores


if __name__ == "__main__":
    main()
