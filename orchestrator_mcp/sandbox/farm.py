"""Many sandbox servers in one process, or just one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from starlette.types import Receive, Scope, Send

from orchestrator_mcp.sandbox.folders import Folders
from orchestrator_mcp.sandbox.listening import Listener, quiet_config
from orchestrator_mcp.sandbox.options import SandboxOptions
from orchestrator_mcp.sandbox.protocol import protocol_app
from orchestrator_mcp.sandbox.server import SandboxServer

OptionsFor = Callable[[int], SandboxOptions]
"""Gives the options of the server at a place of the list of ports."""


class _Dispatch:
    """The one application of all ports; it finds the server by the port that was reached."""

    def __init__(self) -> None:
        self.servers: dict[int, SandboxServer] = {}
        self._app = protocol_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = self.servers[scope["server"][1]]
        scope["sandbox"] = server
        try:
            await self._app(scope, receive, send)
        except anyio.get_cancelled_exc_class():
            if server.alive:
                raise
            # A stopping server ends its requests so; the task ends here, and uvicorn need not call it an error.


@asynccontextmanager
async def _task_group() -> AsyncIterator[TaskGroup]:
    """Open a task group out of which a single error comes as it is, not in a group of one."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


@asynccontextmanager
async def serve_many(
    ports: Sequence[int], options_for: OptionsFor, *, host: str = "127.0.0.1"
) -> AsyncIterator[list[SandboxServer]]:
    """Run one server per port until the block is left; everything stops at once then.

    Args:
        ports: The ports; 0 takes a free one.
        options_for: Gives the options by place in ``ports``.
        host: The address to listen on.

    Yields:
        The servers, ready, in the order of the ports.

    Raises:
        OSError: If a port is taken or a folder cannot be made.
    """
    dispatch = _Dispatch()
    config = quiet_config(dispatch)
    scratch = await to_thread.run_sync(_scratch_folder)
    servers: list[SandboxServer] = []
    try:
        for place, port in enumerate(ports):
            listener = Listener(config, host, port)
            options = options_for(place)
            folder = options.folder or Path(scratch.name) / str(listener.port)
            server = SandboxServer(options, Folders(folder), listener)
            servers.append(server)
            dispatch.servers[server.port] = server
        async with _task_group() as tasks:
            try:
                for server in servers:
                    await server.start(tasks)
                yield servers
            finally:
                with anyio.CancelScope(shield=True):
                    async with anyio.create_task_group() as stopping:
                        for server in servers:
                            stopping.start_soon(server.stop)
    finally:
        with anyio.CancelScope(shield=True):
            for server in servers:
                await server.close()
            await to_thread.run_sync(scratch.cleanup)


class Sandbox:
    """One sandbox server, ready to be served."""

    def __init__(self, options: SandboxOptions | None = None) -> None:
        """Choose what it is like.

        Args:
            options: The choices; the defaults suit a demonstration.
        """
        self._options = options or SandboxOptions()

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[SandboxServer]:
        """Run the server until the block is left.

        Args:
            host: The address to listen on.
            port: The port; 0 takes a free one.

        Yields:
            The server, ready.

        Raises:
            OSError: If the port is taken or a folder cannot be made.
        """
        async with serve_many([port], lambda _: self._options, host=host) as servers:
            yield servers[0]


def same_for_all(options: SandboxOptions) -> OptionsFor:
    """Give every server the same options, and its own subfolder if a folder is chosen.

    Args:
        options: The choices.
    """

    def options_for(place: int) -> SandboxOptions:
        if options.folder is None:
            return options
        return replace(options, folder=options.folder / f"server-{place}")

    return options_for


def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f"sandbox-{os.getpid()}-", ignore_cleanup_errors=True)
