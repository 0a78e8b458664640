"""The processes that are measured, each apart from who measures: an orchestrator, a farm, another server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from orchestrator_mcp.machine.presence import find_running

LOOK = 0.01  # seconds between two looks at what tells nobody
PATIENCE = 300.0  # seconds that a start may take: a thousand backends on a busy machine


@dataclass(frozen=True, kw_only=True)
class House:
    """An orchestrator in a process of its own.

    Attributes:
        folder: holds its configuration, data, Inbox and Outbox.
        process: it.
    """

    folder: Path
    process: subprocess.Popen[bytes]

    async def opened(self) -> str:
        """Wait until its doors are open; its url."""
        with anyio.fail_after(PATIENCE):
            while (present := find_running(self.folder / "data")) is None or present.pid != self.process.pid:
                if self.process.poll() is not None:
                    raise SystemExit(f"the server ended with {self.process.returncode}")
                await anyio.sleep(LOOK)
        async with httpx.AsyncClient(base_url=present.url, trust_env=False, timeout=PATIENCE) as client:
            while not (await client.get("/api/health")).json()["accepting"]:  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(LOOK)
        return present.url


@contextmanager
def house(
    folder: Path,
    ports: Sequence[int] = (),
    *,
    slots: int = 1,
    module: str = "orchestrator_mcp.server",
    more: str = "",
    log: int | None = None,
) -> Iterator[House]:
    """Run an orchestrator; where it has no ports, its only backend is not there, and jobs stay queued.

    Args:
        folder: where it lives; its data may be there already.
        ports: of its backends.
        slots: of each.
        module: what to run.
        more: further lines of its configuration.
        log: where standard error goes; nowhere unless given, and then with what is told at level info.
    """
    backends = [{"id": f"gpu-{n:04}", "host": "127.0.0.1", "port": p} for n, p in enumerate(ports or [9])]
    for backend in backends:
        backend["max_concurrent_jobs"] = slots
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(f"backends: {json.dumps(backends)}\n{more}\n", encoding="utf-8")
    command = [sys.executable, "-m", module, "--port", "0", "--config", str(config)]
    command += ["--log-level", "error" if log is None else "info"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL if log is None else log)
    try:
        yield House(folder=folder, process=process)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        if process.stderr is not None:
            process.stderr.close()


@contextmanager
def farm(count: int, *, step_ms: float = 0.0, spread: float = 0.0, oracle: Path | None = None) -> Iterator[list[int]]:
    """Run sandbox servers in one other process; their ports.

    Args:
        count: how many.
        step_ms: milliseconds of work in each render of `blur`.
        spread: how far the slowest and the fastest are apart, as a share of that.
        oracle: the file into which they write what they did.
    """
    command = [sys.executable, "-m", "benchmarks.farm", "--count", str(count), "--step-ms", str(step_ms)]
    command += ["--spread", str(spread)]
    with other(command + (["--oracle", str(oracle)] if oracle else [])) as said:
        yield said


@contextmanager
def other(command: Sequence[str]) -> Iterator[Any]:
    """Run a process that says one line of JSON when it is ready, and stops when its standard input ends."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"it did not start: {' '.join(command)}")
        yield json.loads(line)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def picture(color: int = 0) -> dict[str, Any]:
    """A graph that costs a renderer next to nothing."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
    }


def blur(color: int = 0) -> dict[str, Any]:
    """A graph that takes one step of a sandbox."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 1, "sigma": 1.0}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "card"}},
    }


async def online(client: httpx.AsyncClient, count: int) -> None:
    """Wait until so many backends are there."""
    with anyio.fail_after(PATIENCE):
        while (await client.get("/health")).json()["backends_online"] < count:  # noqa: ASYNC110 - it tells nobody
            await anyio.sleep(LOOK)


async def rendered(client: httpx.AsyncClient, count: int, patience: float = 600.0) -> None:
    """Wait until so many jobs are completed.

    Args:
        client: of the server.
        count: how many.
        patience: seconds.
    """
    with anyio.fail_after(patience):
        while True:
            found = (await client.get("/api/jobs", params={"status": "queued,running", "limit": 1})).json()
            if not found["jobs"]:
                return
            await anyio.sleep(0.1)
