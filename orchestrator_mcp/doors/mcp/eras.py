"""Serving one connection in whichever protocol era the client turns out to speak."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.lowlevel.server import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.message import SessionMessage
from mcp.types import DiscoverResult
from mcp.types.jsonrpc import JSONRPCRequest, JSONRPCResponse
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator_mcp.doors.mcp.inside import lowlevel
from orchestrator_mcp.doors.mcp.standard_streams import Received
from orchestrator_mcp.doors.mcp.tools import AgentServer

_PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
_SERVER_INFO = "io.modelcontextprotocol/serverInfo"


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
        tasks.start_soon(_answer_leading_discovers, low, reads, writes, send)
        await serve_dual_era_loop(
            low, receive, writes, lifespan_state={}, init_options=low.create_initialization_options()
        )
        tasks.cancel_scope.cancel()


async def _answer_leading_discovers(
    low: Server[Any],
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
                    if _is_modern_discover(request):
                        await writes.send(SessionMessage(_discovered(low, request)))
                        continue
                    undecided = False
                await onward.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return


def _is_modern_discover(request: JSONRPCRequest) -> bool:
    meta = (request.params or {}).get("_meta")
    version = meta.get(_PROTOCOL_VERSION) if isinstance(meta, dict) else None
    return request.method == "server/discover" and version in MODERN_PROTOCOL_VERSIONS


def _discovered(low: Server[Any], request: JSONRPCRequest) -> JSONRPCResponse:
    newest = MODERN_PROTOCOL_VERSIONS[-1]
    found = DiscoverResult(
        supported_versions=list(MODERN_PROTOCOL_VERSIONS),
        capabilities=low.get_capabilities(protocol_version=newest),
        instructions=low.instructions,
    ).model_dump(by_alias=True, mode="json", exclude_none=True)
    return JSONRPCResponse(
        jsonrpc="2.0", id=request.id, result={**found, "_meta": {_SERVER_INFO: low.server_info_stamp}}
    )
