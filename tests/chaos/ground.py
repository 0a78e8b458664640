"""What a chaos run stands on: a folder, its configuration, and a farm of sandbox servers with an oracle."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import yaml

from orchestrator_mcp.sandbox import SandboxOptions, SandboxServer, same_for_all, serve_many

QUICK: dict[str, Any] = {
    "probe_interval": "100ms",
    "probe_timeout": 3,
    "poll_interval": "50ms",
    "poll_interval_max": "500ms",
    "post_timeout": 1,
    "quarantine": 1,
    "lost_after": 20,
    "stall_timeout": 20,
    "zombie_after": 1,
    "interrupt_patience": 2,
    "suspect_pause": "500ms",
    "retry_delay": "100ms",
    "connect_timeout": 2,
}
LOOK = 0.02  # seconds between two looks at the database


@dataclass(kw_only=True, eq=False)
class Ground:
    """Folders and servers.

    Attributes:
        root: holds everything.
        farm: the backends; they live in this process and survive the orchestrator.
        keys: the job of each key that was confirmed.
        dropped: the files that were put into the Inbox.
        answers: what the API said of each job at the end.
    """

    root: Path
    farm: Sequence[SandboxServer]
    keys: dict[str, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def inbox(self) -> Path:
        return self.root / "Inbox"

    @property
    def outbox(self) -> Path:
        return self.root / "Outbox"

    @property
    def database(self) -> Path:
        return self.root / "data" / "orchestrator.db"

    def write_config(self, ports: Sequence[int] = (), *, slots: int = 2, **scheduling: Any) -> None:
        """Write config.yaml.

        Args:
            ports: where the backends are reached; the servers' own when empty.
            slots: of each backend.
            scheduling: keys that differ from `QUICK`.
        """
        ports = ports or [server.port for server in self.farm]
        backends = [
            {"id": f"b{place}", "host": "127.0.0.1", "port": port, "max_concurrent_jobs": slots}
            for place, port in enumerate(ports)
        ]
        document = {"data_dir": "./data", "backends": backends, "scheduling": {**QUICK, **scheduling}}
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")

    def oracle(self) -> list[dict[str, Any]]:
        """Everything that the servers noted, oldest first."""
        return [json.loads(line) for line in (self.root / "oracle.jsonl").read_bytes().splitlines()]

    async def restart(self, server: SandboxServer) -> None:
        """Kill a server with all it holds, and start it on the same port; the oracle notes the death."""
        server.oracle.write("died", port=server.port)
        await server.restart()

    def rows(self, sql: str) -> list[sqlite3.Row]:
        """Read the orchestrator's database beside it."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=30)) as reading:
            reading.row_factory = sqlite3.Row
            return reading.execute(sql).fetchall()

    async def until_all_delivered(self, jobs: int) -> None:
        """Wait until so many jobs are there, and all are delivered."""
        await self.until(f"SELECT count(*) = {jobs} AND count(*) = sum(delivery = 2) FROM job")

    async def until(self, condition: str) -> None:
        """Wait until a question to the database is answered with a yes."""
        while not self.rows(condition)[0][0]:  # noqa: ASYNC110
            await anyio.sleep(LOOK)  # another process brings it about, and only its database tells


@asynccontextmanager
async def ground(root: Path, *, servers: int = 3, step_ms: float = 15.0) -> AsyncIterator[Ground]:
    """Prepare the folders and run the farm."""
    options = SandboxOptions(step_ms=step_ms, oracle=root / "oracle.jsonl", folder=root / "servers")
    async with serve_many([0] * servers, same_for_all(options)) as farm:
        prepared = Ground(root=root, farm=farm)
        _make_folder(prepared.inbox)
        prepared.write_config()
        yield prepared


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
