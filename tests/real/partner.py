"""The ComfyUI that these tests talk to: one that stands at COMFYUI_URL, or one that a test starts by COMFYUI_COMMAND.

COMFYUI_COMMAND is a command line in which `{port}` stands for the port and `{folder}` for an empty folder, for example
`python /opt/ComfyUI/main.py --cpu --listen 127.0.0.1 --port {port} --base-directory {folder}`.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import Process

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.errors import BackendError
from orchestrator_mcp.settings import BackendSettings, LimitSettings, SchedulingSettings
from tests.scheduler.core import Core, core

ADDRESS: Final = urlsplit(os.environ.get("COMFYUI_URL", ""))
COMMAND: Final = os.environ.get("COMFYUI_COMMAND", "")
WAIT: Final = 300.0
LOOK_AGAIN: Final = 0.2  # seconds between two questions to a server that is not there yet

QUICK: Final = SchedulingSettings(
    probe_interval=0.2, poll_interval=0.1, poll_interval_max=0.5, quarantine=2.0, lost_after=120.0, retry_delay=0.1
)

needs_server = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not ADDRESS.hostname, reason="COMFYUI_URL does not name a ComfyUI server"),
]
needs_command = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.skipif("{port}" not in COMMAND, reason="COMFYUI_COMMAND does not say how to start a ComfyUI"),
]


def standing(**choices: Any) -> BackendSettings:
    """The backend entry of the server at COMFYUI_URL."""
    return BackendSettings(
        id="real",
        host=ADDRESS.hostname or "",
        port=ADDRESS.port or 8188,
        scheme="https" if ADDRESS.scheme == "https" else "http",
        **choices,
    )


def client_of(backend: BackendSettings) -> ComfyClient:
    """A client beside the core: what another user of the same server has."""
    return ComfyClient(backend, scheduling=SchedulingSettings(), limits=LimitSettings())


async def needs_nodes_of(graph: dict[str, Any]) -> None:
    """Skip where the server is too old for a graph."""
    async with client_of(standing()) as client:
        catalogue = await client.object_info()
    missing = [node["class_type"] for node in graph.values() if not catalogue.has_class(node["class_type"])]
    if missing:
        pytest.skip(f"this server has no {missing[0]}")


@asynccontextmanager
async def real_core(folder: Path, backend: BackendSettings) -> AsyncIterator[Core]:
    """A core whose one backend is a real server."""
    async with core(folder, [backend], QUICK) as running:
        running.patience = WAIT
        yield running


@dataclass(kw_only=True, eq=False)
class OwnServer:
    """A ComfyUI that a test may kill and start again."""

    port: int
    folder: Path
    _process: Process | None = None

    @property
    def backend(self) -> BackendSettings:
        return BackendSettings(id="own", host="127.0.0.1", port=self.port)

    async def start(self) -> None:
        """Start it; it answers some seconds later."""
        words = [word.replace("{port}", str(self.port)) for word in shlex.split(COMMAND)]
        words = [word.replace("{folder}", str(self.folder)) for word in words]
        quiet = subprocess.DEVNULL
        self._process = await anyio.open_process(words, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)

    async def kill(self) -> None:
        """Kill it and all that it started, without a word of warning."""
        assert self._process is not None
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await self._process.wait()

    async def answers(self) -> None:
        """Ask until it answers."""
        async with client_of(self.backend) as client:
            while True:
                try:
                    await client.object_info()
                    return
                except BackendError:
                    assert self._process is None or self._process.returncode is None, "ComfyUI ended by itself"
                    await anyio.sleep(LOOK_AGAIN)


@asynccontextmanager
async def own_server(folder: Path) -> AsyncIterator[OwnServer]:
    """Start a ComfyUI on a free port, and kill it afterwards."""
    await anyio.Path(folder).mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = OwnServer(port=port, folder=folder)
    await server.start()
    try:
        with anyio.fail_after(WAIT):
            await server.answers()
        yield server
    finally:
        await server.kill()
