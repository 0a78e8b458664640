"""The open streams of the server: one task looks after all of them, so that a thousand need no timers of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from anyio.abc import TaskGroup
from starlette.types import Message, Send

from orchestrator_mcp.clock import Clock, SystemClock

STALL_SECONDS: Final = 60.0
"""A reader that takes nothing for this long is dropped; it learns the present state when it comes back."""
KEEPALIVE_SECONDS: Final = 15.0
_LOOKS: Final = 4  # at each stream, within the shorter of the two times


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


class OpenStream:
    """One of them.

    Args:
        tasks: all that it does; cancelled to end it.
        send: its ASGI send.
        comment: what breaks a silence, so that proxies keep the connection; None where the server sees to that.

    Attributes:
        cut: whether it was ended because its reader took nothing.
        over: whether its reader has been told of the end.
        left: whether its reader has gone, or heard all.
    """

    def __init__(self, tasks: TaskGroup, send: Send, comment: Message | None = None) -> None:
        self._tasks = tasks
        self._send = send
        self._comment = comment
        self._sending = 0
        self._said = 0
        self._seen = 0
        self._idle_looks = 0
        self.cut = False
        self.over = False
        self.left = False

    async def say(self, message: Message) -> None:
        """Send one message; a reader that does not take it is noticed."""
        self._sending += 1
        await self._send(message)
        self._sending -= 1
        self._said += 1

    def end(self) -> None:
        """End it early."""
        self._tasks.cancel_scope.cancel()

    def look(self, *, keepalive: int, stall: int) -> None:
        """See whether anything was said since the last look.

        Args:
            keepalive: looks at silence after which a comment is sent.
            stall: looks at one and the same sending after which the stream is cut.
        """
        if self._said != self._seen:
            self._seen, self._idle_looks = self._said, 0
            return
        self._idle_looks += 1
        if self._sending:
            if self._idle_looks >= stall:
                self.cut = True
                self.end()
        elif self._idle_looks >= keepalive and self._comment is not None:
            self._tasks.start_soon(self._break_silence, self._comment)

    async def _break_silence(self, comment: Message) -> None:
        try:
            await self.say(comment)
        except OSError:
            self.end()


class OpenStreams:
    """All of them; when the server stops they end, and those that are opened afterwards end at once.

    Args:
        keepalive: seconds of silence after which a comment is sent; it is noticed at most a quarter later.
        stall: seconds that one sending may take.
        clock: the time.
    """

    def __init__(
        self, *, keepalive: float = KEEPALIVE_SECONDS, stall: float = STALL_SECONDS, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._pause = min(keepalive, stall) / _LOOKS
        self._looks = {"keepalive": round(keepalive / self._pause), "stall": round(stall / self._pause)}
        self._open: set[OpenStream] = set()
        self._closed = False
        self._written: tuple[Told | None, bytes] = None, b""

    def lines(self, event: Told) -> bytes:
        """One server-sent event, written once for a crowd, who are told of it one after the other.

        JSON has no raw line breaks, so that one `data:` line holds it.
        """
        if self._written[0] is not event:
            self._written = event, f"id: {event.seq}\nevent: {event.type}\ndata: {event.text}\n\n".encode()
        return self._written[1]

    @contextmanager
    def opened(self, stream: OpenStream) -> Iterator[None]:
        """Look after a stream for as long as the block lasts."""
        if self._closed:
            stream.end()
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    def close(self) -> None:
        """End them all."""
        self._closed = True
        for stream in self._open:
            stream.end()

    async def run(self) -> None:
        """Break silences and cut readers that take nothing, for ever."""
        while True:
            await self._clock.sleep(self._pause)
            for stream in self._open:
                stream.look(**self._looks)
