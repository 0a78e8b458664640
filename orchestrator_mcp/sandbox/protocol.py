"""The whole protocol as one ASGI application, shared by all servers of a process."""

from __future__ import annotations

import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Router, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from orchestrator_mcp.sandbox.exchange import BodyTooLarge, origin_fits, plain, server_of, trouble
from orchestrator_mcp.sandbox.routes_about import ABOUT_ROUTES
from orchestrator_mcp.sandbox.routes_files import FILE_ROUTES
from orchestrator_mcp.sandbox.routes_jobs import JOB_ROUTES
from orchestrator_mcp.sandbox.routes_prompts import PROMPT_ROUTES
from orchestrator_mcp.sandbox.server import SandboxServer

logger = logging.getLogger(__name__)

_GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_BROKEN_JSON = b'{"queue_running": [[0, "'


def protocol_app() -> ASGIApp:
    """Build the application; the scope must say under ``sandbox`` which server was reached."""
    routes: list[BaseRoute] = [*PROMPT_ROUTES, *FILE_ROUTES, *ABOUT_ROUTES, WebSocketRoute("/ws", _socket)]
    return _Gate(_router(routes), _router(list(JOB_ROUTES)))


def _router(routes: list[BaseRoute]) -> Router:
    return Router(routes, redirect_slashes=False, default=_no_such_page)


async def _no_such_page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as ComfyUI's catch-all for static files: other methods than GET are not allowed there."""
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).close()
    elif scope["method"] in ("GET", "HEAD"):
        await plain(404, "404: Not Found")(scope, receive, send)
    else:
        await plain(405, "405: Method Not Allowed")(scope, receive, send)


async def _socket(socket: WebSocket) -> None:
    server: SandboxServer = socket.scope["sandbox"]
    origin_refused = not origin_fits(socket.headers.get("host"), socket.headers.get("origin"))
    if origin_refused or server.faults.on("no-ws"):
        await socket.close()
        return
    await socket.accept()
    await server.hub.attend(socket, status=server.status, current_node=server.running_node)


class _Gate:
    """Everything that happens to every request before and after its route."""

    def __init__(self, routes: Router, job_routes: Router) -> None:
        self._routes = routes
        self._job_routes = job_routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/api/") and not path.startswith(("/api/internal/", "/api/jobs")):
            path = path.removeprefix("/api")
        scope = {**scope, "path": path, "raw_path": path.encode()}
        if scope["type"] == "websocket":
            await self._routes(scope, receive, send)
        else:
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        server = server_of(request)
        wait = server.faults.number("slow-http")
        if wait is not None:
            await server.clock.sleep(wait / 1000)
        refused = _refused_early(request, server)
        if refused is not None:
            await refused(scope, receive, send)
            return
        if server.faults.hits_path("garbage-json", scope["path"]) and scope["path"] != "/view":
            await self._routed(scope, receive, _swallow, server)
            await Response(_BROKEN_JSON, media_type="application/json")(scope, receive, send)
            return
        await self._routed(scope, receive, send, server)

    async def _routed(self, scope: Scope, receive: Receive, send: Send, server: SandboxServer) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        limited = _Limited(receive, server.options.max_body)
        routes = self._job_routes if scope["path"].startswith("/api/jobs") else self._routes
        try:
            await routes(scope, limited, watched_send)
        except BodyTooLarge:
            await plain(413, limited.sentence())(scope, receive, send)
        except Exception as error:  # supervision boundary: a real server answers 500 and goes on
            logger.debug("A sandbox request failed: %s %s: %r", scope["method"], scope["path"], error)
            if started:
                raise
            await trouble()(scope, receive, send)


class _Limited:
    """A request's body, read only up to a limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise BodyTooLarge
        return message

    def sentence(self) -> str:
        return f"Maximum request body size {self._limit} exceeded, actual body size {self._seen}"


def _refused_early(request: Request, server: SandboxServer) -> Response | None:
    if server.faults.hits_path("html-502", request.scope["path"]):
        return HTMLResponse(_GATEWAY_PAGE, 502)
    if not origin_fits(request.headers.get("host"), request.headers.get("origin")):
        return plain(403)
    length = request.headers.get("content-length", "0")
    limit = server.options.max_body
    if length.isdecimal() and int(length) > limit:
        return plain(413, f"Maximum request body size {limit} exceeded, actual body size {length}")
    return None


async def _swallow(_: Any) -> None:
    """Take an answer that nobody is to see."""
