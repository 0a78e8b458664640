"""MCP over standard input and output."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
from mcp.server.stdio import stdio_server

from orchestrator_mcp.doors.mcp.eras import serve_connection
from orchestrator_mcp.doors.mcp.lines import StdinLines, StdoutLines
from orchestrator_mcp.doors.mcp.tools import AgentServer


@asynccontextmanager
async def stdio_streams() -> AsyncIterator[tuple[Any, Any]]:
    """The process's own standard streams as a pair of message streams.

    While they are open, descriptor 1 is standard error: what else prints goes there, and the protocol stays clean.
    """
    # The SDK only iterates over the one, and only writes to and flushes the other.
    stdin = cast("anyio.AsyncFile[str]", StdinLines())
    stdout = cast("anyio.AsyncFile[str]", StdoutLines())
    async with stdio_server(stdin=stdin, stdout=stdout) as (reads, writes), reads, writes:
        yield reads, writes


async def serve_stdio(server: AgentServer) -> None:
    """Serve the one client at the other end of the pipes; returns when it closes its end.

    Can be cancelled at any time. Logging must go to standard error from before this is called.

    Args:
        server: what answers.
    """
    try:
        async with stdio_streams() as (reads, writes):
            await serve_connection(server, reads, writes)
    except* BrokenPipeError:
        pass  # the client has gone without closing its end first
