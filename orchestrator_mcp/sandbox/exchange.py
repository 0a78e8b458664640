"""Small pieces of an HTTP exchange, as aiohttp's server would put them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from orchestrator_mcp.sandbox.server import SandboxServer

SERVER_TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"


class BodyTooLarge(Exception):
    """A request's body is over the limit."""


def server_of(request: Request) -> SandboxServer:
    """Give the server that a request reached.

    Args:
        request: The request, dispatched by its port.
    """
    server: SandboxServer = request.scope["sandbox"]
    return server


def json_answer(content: Any, status: int = 200) -> Response:
    """Answer with JSON; NaN and Infinity are written as Python writes them.

    Args:
        content: What to write.
        status: The status code.
    """
    return Response(json.dumps(content), status, media_type="application/json; charset=utf-8")


def plain(status: int, text: str = "") -> Response:
    """Answer with a plain text, or with nothing.

    Args:
        status: The status code.
        text: The text.
    """
    return Response(text, status, media_type="text/plain; charset=utf-8" if text else None)


def trouble() -> Response:
    """Answer as a server whose code raised."""
    return plain(500, SERVER_TROUBLE)


async def json_body(request: Request) -> Any:
    """Read a JSON body, whatever its content type.

    Args:
        request: The request.

    Returns:
        The value.

    Raises:
        ValueError: If it is no JSON.
    """
    return json.loads(await request.body())


def origin_fits(host: str | None, origin: str | None) -> bool:
    """Decide whether a request may pass that says which page it comes from.

    ComfyUI refuses a page of another origin only while the server is called by a loopback name: that keeps web pages
    from driving a local server.

    Args:
        host: The ``Host`` header.
        origin: The ``Origin`` header.
    """
    if not host or not origin:
        return True
    called, page = urlsplit(f"//{host.lower()}"), urlsplit(origin.lower())
    if called.hostname not in ("localhost", "127.0.0.1", "::1") or page.hostname is None:
        return True
    if called.port is None or page.port is None:
        return called.hostname == page.hostname
    return called.netloc == page.netloc
