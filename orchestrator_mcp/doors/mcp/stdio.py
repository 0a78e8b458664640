"""MCP over standard input and output."""

from __future__ import annotations

from orchestrator_mcp.doors.mcp.eras import serve_connection
from orchestrator_mcp.doors.mcp.standard_streams import standard_streams
from orchestrator_mcp.doors.mcp.tools import AgentServer


async def serve_stdio(server: AgentServer) -> None:
    """Serve the one client at the other end of the pipes; returns when it closes its end.

    Can be cancelled at any time. Logging must go to standard error from before this is called.

    Args:
        server: what answers.
    """
    try:
        async with standard_streams() as (reads, writes):
            await serve_connection(server, reads, writes)
    except* BrokenPipeError:
        pass  # the client has gone without closing its end first
