"""The HTTP door: the documented `/api`, its documentation pages, and the guard in front of the whole application."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.middleware import Middleware

from orchestrator_mcp.domain.access import KnownToken
from orchestrator_mcp.doors.http.answers import exception_handlers
from orchestrator_mcp.doors.http.directory import Directory
from orchestrator_mcp.doors.http.faults import FaultGuard
from orchestrator_mcp.doors.http.guard import Cors, HostGuard, OriginGuard, TokenGuard
from orchestrator_mcp.doors.http.open_streams import OpenStreams
from orchestrator_mcp.doors.http.reading import BodyLimits
from orchestrator_mcp.doors.http.routes import build_routes
from orchestrator_mcp.doors.http.unreadable import HttpProtocol

__all__ = [
    "BodyLimits",
    "Directory",
    "FaultGuard",
    "HostGuard",
    "HttpProtocol",
    "OriginGuard",
    "OpenStreams",
    "TokenGuard",
    "build_middleware",
    "build_routes",
    "exception_handlers",
]


def build_middleware(
    *,
    tokens: Iterable[KnownToken] = (),
    allowed_hosts: Iterable[str] = (),
    cors_origins: Iterable[str] = (),
    public_url: str | None = None,
) -> list[Middleware]:
    """The guards of the whole application, outermost first; for Starlette's `middleware=`.

    CORS stands before the token: a browser's preflight request carries none.

    Args:
        tokens: those that let somebody in; nobody needs one when there are none.
        allowed_hosts: `server.allowed_hosts`.
        cors_origins: `server.cors_origins`.
        public_url: `server.public_url`; its host is allowed as well.
    """
    origins = [origin.rstrip("/") for origin in cors_origins]
    hosts = [*allowed_hosts, *([public_url] if public_url else [])]
    cors = Middleware(
        Cors,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Range"]
        + ["Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version", "Mcp-Session-Id"],
        expose_headers=["Content-Disposition", "Content-Range", "ETag", "Location", "Retry-After", "Mcp-Session-Id"],
    )
    return [
        Middleware(FaultGuard),
        Middleware(HostGuard, hosts),
        Middleware(OriginGuard, origins),
        *([cors] if origins else []),
        Middleware(TokenGuard, tuple(tokens)),
    ]
