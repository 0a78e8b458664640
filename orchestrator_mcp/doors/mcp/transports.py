"""MCP over HTTP: SSE at `/sse` and `/messages/`, streamable HTTP at `/mcp`, beside everything else in one app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final

import anyio
import anyio.lowlevel
from mcp.server.sse import SseServerTransport
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.doors.mcp.callers import name_principal
from orchestrator_mcp.doors.mcp.eras import serve_connection
from orchestrator_mcp.doors.mcp.icons import icon_route
from orchestrator_mcp.doors.mcp.inside import lowlevel
from orchestrator_mcp.doors.mcp.tools import AgentServer
from orchestrator_mcp.errors import TooLargeError

DEFAULT_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_SECONDS_TO_ANSWER: Final = 2.0
_HOPS: Final = 20  # task switches that an answer needs from its handler to the socket, with room to spare

# The app's own guard checks Host and Origin of every request, the SDK's list of hosts would only be a second,
# narrower truth. It must be off by word: left out, the SDK decides by the address it believes it is bound to.
GUARDED_BY_THE_APP: Final = TransportSecuritySettings(enable_dns_rebinding_protection=False)


class McpDoor:
    """The agents' door over HTTP.

    Args:
        server: what answers.
        security: the SDK's Host and Origin check; by default the app has one in front of every route.
        max_message_bytes: most bytes of one request; more is answered with 413.
        count: counts an open stream of a caller, and raises TooManyError when it is one too many.
    """

    def __init__(
        self,
        server: AgentServer,
        *,
        security: TransportSecuritySettings = GUARDED_BY_THE_APP,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
        count: Callable[[Caller], AbstractContextManager[None]] = lambda _caller: nullcontext(),
    ) -> None:
        self._server = server
        self._most = max_message_bytes
        self._count = count
        self._streams = _OpenStreams()
        self._sse = SseServerTransport("/messages/", security, max_message_bytes)
        server.streamable_http_app(transport_security=security, max_request_body_size=max_message_bytes)
        self._sessions = server.session_manager

    @property
    def routes(self) -> list[BaseRoute]:
        """To be merged into the app's own: as a mount, `/mcp` would answer with a redirect."""
        return [
            Route("/sse", _Endpoint(self._connect_sse, self._most), methods=["GET"]),
            Route("/messages/", _Endpoint(self._sse.handle_post_message, self._most), methods=["POST"]),
            Route("/mcp", _Endpoint(self._streamable, self._most), methods=["GET", "POST", "DELETE"]),
            icon_route(),
        ]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Hold the sessions of `/mcp`, and tell of changes; enter it once, in the app's lifespan, before a request."""
        async with anyio.create_task_group() as tasks, self._sessions.run():
            tasks.start_soon(self._server.run_updates, name="mcp updates")
            yield
            tasks.cancel_scope.cancel()

    async def close_streams(self) -> None:
        """End every open stream in a way that clients understand; takes at most two seconds.

        Waiting calls return the present state first. Call it before the HTTP server is told to stop, which otherwise
        waits for these streams.
        """
        self._server.calls.close()
        listening = lowlevel(self._server).get_request_handler("subscriptions/listen")
        if listening is not None and isinstance(listening.handler, ListenHandler):
            listening.handler.close()
        with anyio.move_on_after(_SECONDS_TO_ANSWER):
            await self._server.calls.drained()
        for _ in range(_HOPS):
            await anyio.lowlevel.checkpoint()
        self._streams.close()

    async def _connect_sse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve_counted(self._sse_session, scope, receive, send)

    async def _serve_counted(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        with self._count(scope["state"]["caller"]):
            await self._streams.serve(app, scope, receive, send)

    async def _sse_session(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            async with self._sse.connect_sse(scope, receive, noted) as (reads, writes):
                await serve_connection(self._server, reads, writes)
        except ValueError:
            if not answered:  # else it is the SDK telling that it has refused the request
                raise

    async def _streamable(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await self._serve_counted(self._sessions.handle_request, scope, receive, send)
        else:
            await self._sessions.handle_request(scope, receive, send)


class _Endpoint:
    """An ASGI app as an object (Starlette takes a bare method for one that returns a response), told who calls."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name_principal(scope)
        # White space around a header's value is no part of it (RFC 9110, 5.5); uvicorn leaves it there.
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self._most):
            # The SDK refuses it too, without a word about how much would be right.
            raise TooLargeError(
                f"The message is larger than {self._most:,} bytes. Put pictures into the backend's input folder "
                "instead of the message, or raise limits.body_bytes."
            )
        await self._app(scope, receive, send)


class _OpenStreams:
    """Responses that last until the client or the server ends them.

    The server ends one by telling its app that the client has gone: for that case every app cleans up after itself.
    """

    def __init__(self) -> None:
        self._receiving: set[anyio.CancelScope] = set()
        self._closed = False

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, and finish its response properly when the streams are closed."""
        if self._closed:
            await PlainTextResponse("The server is stopping.", 503)(scope, receive, send)
            return
        unfinished = False

        async def noted(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        async def received() -> Message:
            return await self._receive(receive)

        await app(scope, received, noted)
        if self._closed and unfinished:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _receive(self, receive: Receive) -> Message:
        if not self._closed:
            with anyio.CancelScope() as receiving:
                self._receiving.add(receiving)
                try:
                    return await receive()
                finally:
                    self._receiving.discard(receiving)
        return {"type": "http.disconnect"}

    def close(self) -> None:
        """End every stream that is open, and refuse new ones."""
        self._closed = True
        for receiving in tuple(self._receiving):
            receiving.cancel()
