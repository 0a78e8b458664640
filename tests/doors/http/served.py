"""The HTTP door over real sockets, composed as the program composes it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from orchestrator_mcp.doors.http import (
    Directory,
    HttpProtocol,
    OpenStreams,
    build_middleware,
    build_routes,
    exception_handlers,
)
from orchestrator_mcp.service import JobService


class Server(uvicorn.Server):
    """Leaves the signals to the tests, and stops at once instead of at the next tenth of a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.leave.wait()


def build_app(
    service: JobService, *, streams: OpenStreams | None = None, guard: dict[str, Any] | None = None, **choices: Any
) -> ASGIApp:
    """The whole application.

    Args:
        service: what answers.
        streams: ends the streams.
        guard: arguments of `build_middleware`.
        choices: arguments of `build_routes`.
    """
    return Starlette(
        routes=[Directory(build_routes(service, version="1.2.3", streams=streams, **choices))],
        middleware=build_middleware(**(guard or {})),
        exception_handlers=exception_handlers(),
    )


@asynccontextmanager
async def served(service: JobService, **choices: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve it on a free port of this machine, and stop it as the program does; see `build_app`."""
    streams = choices.setdefault("streams", OpenStreams())
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        build_app(service, **choices), log_config=None, lifespan="off", timeout_graceful_shutdown=5, http=HttpProtocol
    )
    server = Server(config)
    stopped = anyio.Event()

    async def run() -> None:
        await server.serve(sockets=[listener])
        stopped.set()

    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with anyio.fail_after(20), listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
                    yield client
            finally:
                streams.close()
                server.leave.set()
                with anyio.CancelScope(shield=True), anyio.fail_after(10):
                    await stopped.wait()
