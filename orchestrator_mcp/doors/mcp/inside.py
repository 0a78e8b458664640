"""The SDK's inside, where it has no public way: private names are used here and only here. Checked with mcp 2.3."""

from __future__ import annotations

from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import ListenHandler
from mcp.types import (
    CompleteRequestParams,
    CompleteResult,
    ListToolsResult,
    PaginatedRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)

from orchestrator_mcp.doors.mcp.callers import urls_seen_by
from orchestrator_mcp.doors.mcp.icons import with_icons
from orchestrator_mcp.doors.mcp.resources import Resources
from orchestrator_mcp.doors.mcp.updates import SubscribeRequests, Updates


def lowlevel(server: MCPServer[Any]) -> Server[Any]:
    """The SDK's server beneath: the only way to serve a pair of streams, or a request that it does not know."""
    return server._lowlevel_server


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """What stays when a request is over: notifications go to it, and it ends when the client leaves."""
    return ctx.session._connection


def serve_tool_list(server: MCPServer[Any], public_url: str | None) -> None:
    """Answer `tools/list` with icons at the address by which this client came; the SDK's own list knows no caller."""

    async def listed(ctx: ServerRequestContext[Any, Any], _params: PaginatedRequestParams) -> ListToolsResult:
        return ListToolsResult(tools=with_icons(await server.list_tools(), urls_seen_by(ctx.request, public_url)))

    lowlevel(server).add_request_handler("tools/list", PaginatedRequestParams, listed)


def serve_completion(server: MCPServer[Any], resources: Resources) -> None:
    """Answer `completion/complete`; the SDK's own decorator has no types."""

    async def complete(_ctx: ServerRequestContext[Any, Any], params: CompleteRequestParams) -> CompleteResult:
        return CompleteResult(completion=await resources.complete(params.ref, params.argument, params.context))

    lowlevel(server).add_request_handler("completion/complete", CompleteRequestParams, complete)


def serve_subscriptions(server: MCPServer[Any], updates: Updates, listening: ListenHandler) -> None:
    """Answer the subscriptions of both eras: for the older one the SDK has no place, of tasks it knows nothing."""
    requests = SubscribeRequests(updates, connection_of)
    low = lowlevel(server)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, requests.subscribe)
    low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, listening)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, requests.unsubscribe)
