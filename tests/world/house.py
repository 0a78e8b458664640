"""A whole orchestrator over a folder of its own, and what tests ask of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx

from orchestrator_mcp.app import Choices, orchestrator
from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.settings import Settings, load_settings
from orchestrator_mcp.store import JobStore

CARD = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "card"}},
}
QUICK = """
scheduling: {probe_interval: 50ms, poll_interval: 50ms, poll_interval_max: 200ms, quarantine: 500ms, lost_after: 5s}
"""


def backend(name: str, server: SandboxServer, more: str = "") -> str:
    """A line for the list of backends."""
    return f"  - {{id: {name}, host: 127.0.0.1, port: {server.port}{', ' if more else ''}{more}}}\n"


def configured(*backends: str, more: str = QUICK) -> str:
    """The text of a config.yaml."""
    return f"server: {{port: 0}}\n{more}" + ("backends:\n" + "".join(backends) if backends else "")


def write_config(folder: Path, text: str) -> Path:
    """Replace the configuration as editors do: written beside, renamed over it."""
    (folder / "config.yaml.new").write_text(text, encoding="utf-8")
    return (folder / "config.yaml.new").rename(folder / "config.yaml")


class FastClock(SystemClock):
    """Time that passes faster, so that a test need not wait out the patience of a watcher."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def monotonic(self) -> float:
        return super().monotonic() * self._factor

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._factor)


class ShiftedClock(SystemClock):
    """A calendar that jumps; how long things take is not changed by it.

    Attributes:
        shift: how far it is from the truth now.
    """

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.shift


@dataclass(kw_only=True)
class House:
    """A running orchestrator.

    Attributes:
        api: a client of its HTTP door.
        store: behind the doors.
    """

    folder: Path
    api: httpx.AsyncClient
    settings: Settings
    store: JobStore

    async def submit(self, graph: dict[str, Any] | None = None, **fields: Any) -> str:
        answer = await self.api.post("/api/job", json={"workflow": graph or CARD, **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        return dict((await self.api.get(f"/api/job/{job_id}")).json())

    async def health(self) -> dict[str, Any]:
        return dict((await self.api.get("/api/health")).json())

    async def backends(self) -> dict[str, dict[str, Any]]:
        return {view["id"]: view for view in (await self.api.get("/api/backends")).json()}

    async def ended(self, job_id: str) -> dict[str, Any]:
        """Wait for a job's end."""

        async def over() -> bool:
            return (await self.job(job_id))["status"] in ("completed", "failed", "cancelled")

        await until(over)
        return await self.job(job_id)

    def drop(self, name: str, content: bytes | None = None) -> Path:
        """Put a manifest into the Inbox, written beside and renamed."""
        given = json.dumps({"workflow_json": CARD}).encode() if content is None else content
        (self.settings.inbox_dir / f".{name}.tmp").write_bytes(given)
        return (self.settings.inbox_dir / f".{name}.tmp").rename(self.settings.inbox_dir / name)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for something that only asking tells."""
    with anyio.fail_after(seconds):
        while True:
            if await condition():
                return
            await anyio.sleep(0.02)


@asynccontextmanager
async def house(folder: Path, text: str = "server: {port: 0}\n", clock: Clock | None = None) -> AsyncIterator[House]:
    """Run an orchestrator on a folder."""
    settings = load_settings(write_config(folder, text), environ={})
    with anyio.fail_after(90):
        async with (
            orchestrator(settings, Choices(any_port=True), clock=clock) as running,
            httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=20) as api,
        ):
            yield House(folder=folder, api=api, settings=running.settings, store=running.service._store)
