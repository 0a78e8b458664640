"""The door over a real HTTP server on a free port of this machine."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator_mcp import __version__
from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.doors.http import exception_handlers
from orchestrator_mcp.doors.mcp.tools import build_server
from orchestrator_mcp.doors.mcp.transports import McpDoor
from orchestrator_mcp.service import JobService


class Server(uvicorn.Server):
    """Leaves the signals to the tests."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, kw_only=True)
class Served:
    url: str
    door: McpDoor
    stop: Callable[[], None]
    stopped: anyio.Event


def owned_by(owner: str, app: ASGIApp) -> ASGIApp:
    """Say whose requests these are, as the guard in front of the app does."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["caller"] = Caller(name=owner)
        await app(scope, receive, send)

    return guarded


@asynccontextmanager
async def served(
    service: JobService, *, owner: str = "alice", max_message_bytes: int = 10_000, public_url: str | None = None
) -> AsyncIterator[Served]:
    """Serve one farm, and stop it in the order in which the program does."""
    door = McpDoor(
        build_server(service, version=__version__, public_url=public_url), max_message_bytes=max_message_bytes
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with door.run():
            yield

    app = owned_by(owner, Starlette(routes=door.routes, lifespan=lifespan, exception_handlers=exception_handlers()))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5)
    server = Server(config)
    stopped = anyio.Event()

    def stop() -> None:
        server.should_exit = True

    async def run() -> None:
        try:
            await server.serve(sockets=[listener])
        finally:
            stopped.set()

    with anyio.fail_after(60), listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                yield Served(url=f"http://127.0.0.1:{listener.getsockname()[1]}", door=door, stop=stop, stopped=stopped)
            finally:
                with anyio.CancelScope(shield=True):
                    await door.close_streams()
                    stop()
                    await stopped.wait()
