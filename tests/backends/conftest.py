"""Partners for the client: the sandbox on a real port, and servers that answer with whatever bytes a test likes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import hypothesis
import pytest

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.settings import BackendSettings, LimitSettings, SchedulingSettings
from tests.partners import sandbox, sandboxes

__all__ = ["anyio_backend", "client", "make_client", "raw_server", "sandbox", "sandboxes"]

hypothesis.settings.register_profile(
    "backends", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("backends")  # a loaded machine must not fail a test, nor a test litter the checkout

Conversation = Callable[[anyio.abc.SocketStream], Awaitable[None]]
ClientMaker = Callable[..., ComfyClient]
RawServer = Callable[[Conversation], AbstractAsyncContextManager[int]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def make_client() -> ClientMaker:
    """Make a client for a port; keywords set time-outs, limits, host, scheme, headers and `before_send`."""

    def make(port: int, **chosen: Any) -> ComfyClient:
        times: dict[str, Any] = {"post_timeout": 10.0, "connect_timeout": 5.0, "probe_timeout": 5.0}
        limits = {key: chosen.pop(key) for key in ("backend_json_bytes", "output_bytes") if key in chosen}
        times.update({key: chosen.pop(key) for key in list(chosen) if key in times})
        return ComfyClient(
            BackendSettings(
                id="node1",
                host=chosen.pop("host", "127.0.0.1"),
                port=port,
                scheme=chosen.pop("scheme", "http"),
                headers=chosen.pop("headers", {}),
            ),
            scheduling=SchedulingSettings(**times),
            limits=LimitSettings(**limits),
            **chosen,
        )

    return make


@pytest.fixture
async def client(sandbox: SandboxServer, make_client: ClientMaker) -> AsyncIterator[ComfyClient]:
    async with make_client(sandbox.port) as connected:
        yield connected


@pytest.fixture
def raw_server() -> RawServer:
    """Serve TCP connections with a coroutine of the test's own; gives the port."""

    @asynccontextmanager
    async def serve(converse: Conversation) -> AsyncIterator[int]:
        async def guarded(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                try:
                    await converse(stream)
                except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

        listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listeners, anyio.create_task_group() as tasks:
            tasks.start_soon(listeners.serve, guarded)
            yield listeners.extra(anyio.abc.SocketAttribute.local_port)
            tasks.cancel_scope.cancel()

    return serve
