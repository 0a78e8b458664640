"""A job's stream, as WebSocket messages and as server-sent events: the present state, each change, the end.

Each listener is a subscription of its own at the service, which drops progress that a slow one cannot take; so no
listener waits for another one. It has two tasks: that of the request waits until the client has left, and one tells. To
the server the last word is the end of the request as well, so that nothing is cancelled when all has been told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.doors.http.answers import error_document
from orchestrator_mcp.doors.http.guard import SUBPROTOCOL_PREFIX
from orchestrator_mcp.doors.http.open_streams import OpenStream, OpenStreams, Told
from orchestrator_mcp.errors import NotFoundError

UNKNOWN_JOB: Final = 4404
GOING_AWAY: Final = 1012  # "service restart": clients come back
TOO_SLOW: Final = 1013  # "try again later"
FINAL: Final = frozenset({"completed", "failed", "cancelled"})
_CLOSE_SECONDS: Final = 1.0
_GONE: Final = frozenset({"http.disconnect", "websocket.disconnect"})
_RETRY: Final = b"retry: 2000\n\n"
_COMMENT: Final[Message] = {"type": "http.response.body", "body": b": still here\n\n", "more_body": True}


Watch = AbstractAsyncContextManager[AsyncIterator[Told]]


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


async def serve_websocket(websocket: WebSocket, watch: Watch, streams: OpenStreams) -> None:
    """Tell a WebSocket everything about a job.

    Args:
        websocket: not yet accepted.
        watch: the subscription, not yet entered.
        streams: looks after it.

    Raises:
        TooManyError: before it is accepted, when the caller reads as many streams as it may.
    """
    offered = list(websocket.scope.get("subprotocols", ()))
    try:
        async with watch as events:
            await websocket.accept(chosen_subprotocol(offered))
            await _tell_websocket(websocket, events, streams)
    except NotFoundError as error:
        await websocket.accept(chosen_subprotocol(offered))
        document = {"type": "error", **error_document(str(error), code=error.code, hint=error.hint)}
        with _at_the_end():
            await websocket.send_json(document)
            await websocket.close(UNKNOWN_JOB)


async def _tell_websocket(websocket: WebSocket, events: AsyncIterator[Told], streams: OpenStreams) -> None:
    async def tell(stream: OpenStream) -> None:
        async for event in events:
            await stream.say({"type": "websocket.send", "text": event.text})
        await stream.say({"type": "websocket.close", "code": 1000})
        stream.over = True

    stream = await _follow(tell, websocket.receive, websocket.send, streams)
    if not stream.over and not stream.left:
        with _at_the_end():
            await websocket.close(TOO_SLOW if stream.cut else GOING_AWAY)


async def _follow(
    tell: Callable[[OpenStream], Awaitable[None]],
    receive: Receive,
    send: Send,
    streams: OpenStreams,
    comment: Message | None = None,
) -> OpenStream:
    """Tell until all is told, the client leaves, or the stream is ended."""
    async with anyio.create_task_group() as tasks:
        stream = OpenStream(tasks, send, comment)
        with streams.opened(stream):
            tasks.start_soon(_left_quietly, tell, stream)
            while (await receive())["type"] not in _GONE:
                pass  # what clients say means nothing here; that they leave does
            stream.left = True
            if not stream.over:
                stream.end()
    return stream


async def _left_quietly(tell: Callable[[OpenStream], Awaitable[None]], stream: OpenStream) -> None:
    """Tell; when the reader has gone, end the stream instead of failing."""
    try:
        await tell(stream)
    except (WebSocketDisconnect, OSError):
        stream.end()


@contextmanager
def _at_the_end() -> Iterator[None]:
    """Say a last word to somebody who may be gone, or take nothing."""
    with anyio.move_on_after(_CLOSE_SECONDS), suppress(WebSocketDisconnect, OSError, RuntimeError):
        yield


class EventStreamResponse(Response):
    """A job's stream as server-sent events.

    A reader that comes back with `Last-Event-ID` after the end gets 204, which tells a browser to stop trying.

    Args:
        watch: the subscription, not yet entered; its NotFoundError comes before any byte is sent.
        streams: looks after it.
        after: the number of the last event that the reader has seen.
        ended: whether the job has ended already, so that the first event is there at once.
    """

    media_type = "text/event-stream"

    def __init__(self, watch: Watch, streams: OpenStreams, *, after: int | None = None, ended: bool = False) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._watch = watch
        self._streams = streams
        self._after = after
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._watch as events:
            if self._ended and self._after is not None:
                first = await anext(events, None)
                if not is_news(first, self._after):
                    await Response(status_code=204)(scope, receive, send)
                    return
                events = _beginning_with(first, events)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or not await self._tell(events, receive, send):
                with _at_the_end():
                    await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, events: AsyncIterator[Told], receive: Receive, send: Send) -> bool:
        """Tell all that there is; gives whether the answer ended with it."""

        async def tell(stream: OpenStream) -> None:
            before = _RETRY
            async for event in events:
                last = event.type == "end"
                body = before + self._streams.lines(event)
                await stream.say({"type": "http.response.body", "body": body, "more_body": not last})
                stream.over, before = last, b""

        return (await _follow(tell, receive, send, self._streams, _COMMENT)).over


async def _beginning_with(first: Told | None, events: AsyncIterator[Told]) -> AsyncIterator[Told]:
    if first is not None:
        yield first
    async for event in events:
        yield event
