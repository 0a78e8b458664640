"""Who calls a tool, and whose a session is."""

from __future__ import annotations

import re
from typing import Any, Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from starlette.requests import Request
from starlette.types import Scope

from orchestrator_mcp.domain.access import LOCAL, Caller

_HOST: Final = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")


def request_of(ctx: Context[Any, Any]) -> Request | None:
    """The HTTP request that a call came by; None over stdio."""
    request = ctx.request_context.request
    return request if isinstance(request, Request) else None


def caller_of(ctx: Context[Any, Any]) -> Caller:
    """Who calls: as the app's guard found, or whoever started this process."""
    return sender_of(request_of(ctx))


def sender_of(request: object) -> Caller:
    """Who sent an HTTP request; whoever started this process, when it did not come by HTTP.

    Args:
        request: as the SDK hands it on; None over stdio.
    """
    if not isinstance(request, Request):
        return LOCAL
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)  # the guard stands in front of these routes
    return caller


def urls_begin(ctx: Context[Any, Any], public_url: str | None) -> str | None:
    """What the urls in an answer begin with; None over stdio, where the service knows best.

    Args:
        ctx: of the call.
        public_url: the configured address, which comes before the caller's own Host.
    """
    return urls_seen_by(request_of(ctx), public_url)


def urls_seen_by(request: object, public_url: str | None) -> str | None:
    """The same, for what the SDK hands on as the request."""
    if public_url or not isinstance(request, Request):
        return public_url.rstrip("/") if public_url else None
    host = request.headers.get("host", "")
    return f"{request.scope['scheme']}://{host}" if _HOST.fullmatch(host) else None


def name_principal(scope: Scope) -> None:
    """Tell the SDK whose request this is: it then lets nobody speak in another caller's session.

    Args:
        scope: of a request that has passed the app's guard.
    """
    caller = scope["state"]["caller"]
    assert isinstance(caller, Caller)
    scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=caller.name, scopes=[caller.scope]))
