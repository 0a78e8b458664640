"""Serving one connection in whichever protocol era the client turns out to speak."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.message import SessionMessage
from mcp.types.jsonrpc import JSONRPCRequest

from orchestrator_mcp.doors.mcp.greeting import discovered, is_modern_discover
from orchestrator_mcp.doors.mcp.inside import lowlevel
from orchestrator_mcp.doors.mcp.tools import AgentServer

Received = SessionMessage | Exception


async def serve_connection(server: AgentServer, reads: Any, writes: Any) -> None:
    """Serve a duplex connection until its client leaves.

    The SDK lets the first request decide the era, and some clients (Copilot CLI 1.0.81 to 1.0.86, Claude Code 2.1.280)
    ask `server/discover` first and then shake hands in the old way, which it refuses. So leading discover requests are
    answered here, and the first request after them decides.

    Args:
        server: what answers.
        reads: messages of the client, or what could not be parsed; closed at the end.
        writes: messages to the client; closed at the end.
    """
    low = lowlevel(server)
    send, receive = anyio.create_memory_object_stream[Received](0)
    async with reads, writes, receive, anyio.create_task_group() as tasks:
        tasks.start_soon(_answer_leading_discovers, reads, writes, send)
        await serve_dual_era_loop(
            low, receive, writes, lifespan_state={}, init_options=low.create_initialization_options()
        )
        tasks.cancel_scope.cancel()


async def _answer_leading_discovers(
    reads: ObjectReceiveStream[Received],
    writes: ObjectSendStream[SessionMessage],
    onward: ObjectSendStream[Received],
) -> None:
    undecided = True
    async with onward:
        try:
            async for item in reads:
                request = item.message if isinstance(item, SessionMessage) else None
                if undecided and isinstance(request, JSONRPCRequest):
                    if is_modern_discover(request):
                        await writes.send(SessionMessage(discovered(request)))
                        continue
                    undecided = False
                await onward.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return
