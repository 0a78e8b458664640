"""A job's stream, as WebSocket messages and as server-sent events: the present state, each change, the end.

Each listener is a subscription of its own at the service, which drops progress that a slow one cannot take; so no
listener waits for another one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final, Protocol

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.doors.http.answers import error_document
from orchestrator_mcp.doors.http.guard import SUBPROTOCOL_PREFIX
from orchestrator_mcp.errors import NotFoundError

UNKNOWN_JOB: Final = 4404
GOING_AWAY: Final = 1012  # "service restart": clients come back
TOO_SLOW: Final = 1013  # "try again later"
STALL_SECONDS: Final = 60.0
"""A reader that takes nothing for this long is dropped; it learns the present state when it comes back."""
KEEPALIVE_SECONDS: Final = 15.0
_CLOSE_SECONDS: Final = 1.0
_LOOKS: Final = 4  # at whether a reader takes what it is told, within the time that it has
FINAL: Final = frozenset({"completed", "failed", "cancelled"})


class Told(Protocol):
    """One message of a stream, of a job or of a batch."""

    @property
    def type(self) -> str:
        """What it is."""

    @property
    def seq(self) -> int:
        """The number of the newest history row that it knows."""

    @property
    def text(self) -> str:
        """It as JSON."""

    @property
    def over(self) -> bool:
        """Whether it tells of the end."""


Watch = AbstractAsyncContextManager[AsyncIterator[Told]]


class StreamShutdown:
    """Ends every open stream when the server stops; streams that are opened afterwards end at once."""

    def __init__(self) -> None:
        self._open: set[anyio.CancelScope] = set()
        self._closed = False

    def close(self) -> None:
        """End them all."""
        self._closed = True
        for scope in self._open:
            scope.cancel()

    @contextmanager
    def ending(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Cancel a scope when the streams end, for as long as the block lasts.

        Args:
            scope: of one stream.
        """
        if self._closed:
            scope.cancel()
        self._open.add(scope)
        try:
            yield
        finally:
            self._open.discard(scope)


def chosen_subprotocol(offered: list[str]) -> str | None:
    """Which of the offered subprotocols to take: browsers drop a connection that takes none of them.

    Args:
        offered: in the client's order. One that carries a token is taken only if there is no other, so that the
            token does not come back without need.
    """
    return next((name for name in offered if not name.startswith(SUBPROTOCOL_PREFIX)), offered[0] if offered else None)


def is_news(event: Told | None, after: int | None) -> bool:
    """Whether a reader that has seen the history up to `after` would learn something.

    Args:
        event: the first event of its stream; None when there is none.
        after: the number of the last history row it has seen.
    """
    if event is None:
        return False
    return not (event.over and after is not None and event.seq <= after)


def is_final(job: JobView) -> bool:
    """Whether nothing more will happen to the job."""
    return job.status in FINAL


async def serve_websocket(
    websocket: WebSocket, watch: Watch, shutdown: StreamShutdown, *, stall: float = STALL_SECONDS
) -> None:
    """Tell a WebSocket everything about a job.

    Args:
        websocket: not yet accepted.
        watch: the subscription, not yet entered.
        shutdown: ends it early.
        stall: seconds that one message may take.

    Raises:
        TooManyError: before it is accepted, when the caller reads as many streams as it may.
    """
    offered = list(websocket.scope.get("subprotocols", ()))
    try:
        async with watch as events:
            await websocket.accept(chosen_subprotocol(offered))
            code = await _tell_websocket(websocket, events, shutdown, stall)
    except NotFoundError as error:
        await websocket.accept(chosen_subprotocol(offered))
        document = {"type": "error", **error_document(str(error), code=error.code)}
        with anyio.move_on_after(_CLOSE_SECONDS):
            await _quietly(lambda: websocket.send_json(document))
        code = UNKNOWN_JOB
    if websocket.client_state is WebSocketState.CONNECTED:
        with anyio.move_on_after(_CLOSE_SECONDS):
            await _quietly(lambda: websocket.close(code))


async def _tell_websocket(
    websocket: WebSocket, events: AsyncIterator[Told], shutdown: StreamShutdown, stall: float
) -> int:
    code = GOING_AWAY
    patience = _Patience(stall)
    async with anyio.create_task_group() as tasks:

        async def tell() -> None:
            nonlocal code
            async for event in events:
                with patience:
                    await websocket.send_text(event.text)
            code = 1000
            tasks.cancel_scope.cancel()

        async def mind() -> None:
            nonlocal code
            await patience.lost()
            code = TOO_SLOW
            tasks.cancel_scope.cancel()

        async def listen() -> None:
            # What clients say means nothing here; that they leave does.
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass
            tasks.cancel_scope.cancel()

        with shutdown.ending(tasks.cancel_scope):
            tasks.start_soon(_left_quietly, tell, tasks.cancel_scope)
            tasks.start_soon(mind)
            await listen()
    return code


class _Patience:
    """Notices a reader that takes nothing, without a timer or a clock for each event: a thousand share the cost of few.

    Args:
        seconds: that one sending may take; it is noticed at most a quarter later.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = SystemClock()
        self._sending = 0
        self._number = 0

    def __enter__(self) -> None:
        if not self._sending:
            self._number += 1
        self._sending += 1

    def __exit__(self, *_error: object) -> None:
        self._sending -= 1

    async def lost(self) -> None:
        """Return when a sending takes too long: it is under way at so many looks in a row."""
        seen, times = 0, 0
        while True:
            stuck = self._sending > 0 and self._number == seen
            times = times + 1 if stuck else min(self._sending, 1)
            if times > _LOOKS:
                return
            seen = self._number
            await self._clock.sleep(self._seconds / _LOOKS)


async def _quietly(act: Callable[[], Awaitable[None]]) -> None:
    try:
        await act()
    except (WebSocketDisconnect, OSError, RuntimeError):
        return


async def _left_quietly(act: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
    """Do it; when the reader has gone, end the stream instead of failing."""
    try:
        await act()
    except (WebSocketDisconnect, OSError):
        scope.cancel()


class EventStreamResponse(Response):
    """A job's stream as server-sent events.

    A reader that comes back with `Last-Event-ID` after the end gets 204, which tells a browser to stop trying.

    Args:
        watch: the subscription, not yet entered; its NotFoundError comes before any byte is sent.
        shutdown: ends it early.
        after: the number of the last event that the reader has seen.
        ended: whether the job has ended already, so that the first event is there at once.
        keepalive: seconds of silence after which a comment is sent, so that proxies keep the connection.
        stall: seconds that sending one event may take.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        watch: Watch,
        shutdown: StreamShutdown,
        *,
        after: int | None = None,
        ended: bool = False,
        keepalive: float = KEEPALIVE_SECONDS,
        stall: float = STALL_SECONDS,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._watch = watch
        self._shutdown = shutdown
        self._after = after
        self._ended = ended
        self._keepalive = keepalive
        self._stall = stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._watch as events:
            first: Told | None = None
            if self._ended and self._after is not None:
                first = await anext(events, None)
                if not is_news(first, self._after):
                    await Response(status_code=204)(scope, receive, send)
                    return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._stream(first, events, receive, send)
            await _finish(send)

    async def _stream(self, first: Told | None, events: AsyncIterator[Told], receive: Receive, send: Send) -> None:
        quiet = False
        patience = _Patience(self._stall)

        async def say(chunk: bytes) -> None:
            with patience:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

        async with anyio.create_task_group() as tasks:

            async def tell() -> None:
                nonlocal quiet
                await say(b"retry: 2000\n\n")
                if first is not None:
                    await say(event_lines(first))
                async for event in events:
                    quiet = False
                    await say(event_lines(event))
                tasks.cancel_scope.cancel()

            async def keep_alive() -> None:
                nonlocal quiet
                while True:
                    quiet = True
                    await anyio.sleep(self._keepalive)
                    if quiet:
                        await say(b": still here\n\n")

            async def mind() -> None:
                await patience.lost()
                tasks.cancel_scope.cancel()

            async def listen() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            with self._shutdown.ending(tasks.cancel_scope):
                tasks.start_soon(_left_quietly, tell, tasks.cancel_scope)
                tasks.start_soon(_left_quietly, keep_alive, tasks.cancel_scope)
                tasks.start_soon(mind)
                await listen()


def event_lines(event: Told) -> bytes:
    """One server-sent event; JSON has no raw line breaks, so that one `data:` line holds it."""
    return f"id: {event.seq}\nevent: {event.type}\ndata: {event.text}\n\n".encode()


async def _finish(send: Send) -> None:
    with anyio.move_on_after(_CLOSE_SECONDS):
        try:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            return
