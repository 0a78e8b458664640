"""Who calls a tool, and whose a session is."""

from __future__ import annotations

from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from starlette.requests import Request
from starlette.types import Scope

from orchestrator_mcp.domain.access import LOCAL, Caller


def request_of(ctx: Context[Any, Any]) -> Request | None:
    """The HTTP request that a call came by; None over stdio."""
    request = ctx.request_context.request
    return request if isinstance(request, Request) else None


def caller_of(ctx: Context[Any, Any]) -> Caller:
    """Who calls: as the app's guard found, or whoever started this process."""
    request = request_of(ctx)
    if request is None:
        return LOCAL
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)  # the guard stands in front of these routes
    return caller


def name_principal(scope: Scope) -> None:
    """Tell the SDK whose request this is: it then lets nobody speak in another caller's session.

    Args:
        scope: of a request that has passed the app's guard.
    """
    caller = scope["state"]["caller"]
    assert isinstance(caller, Caller)
    scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=caller.name, scopes=[caller.scope]))
