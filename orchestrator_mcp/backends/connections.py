"""A few HTTP/1.1 connections to one server, which stay open for a while.

It does what this product needs of HTTP and no more: no redirects, no cookies, no compression, no proxies. A request
costs a quarter of what it costs through httpx, and of a job that renders at once requests are most of the work.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from orchestrator_mcp.backends.incoming import Incoming, TornError
from orchestrator_mcp.clock import Clock

MOST: Final = 8  # at one time
KEPT_SECONDS: Final = 30.0  # a connection that nobody needs stays open
_PIECE_BYTES: Final = 2**18


@dataclass(kw_only=True, eq=False)
class _Connection:
    """One that stands.

    Attributes:
        good: it may carry another request.
        since: when it was needed last, monotonic seconds.
    """

    stream: ByteStream
    good: bool = True
    since: float = 0.0


class Response:
    """What a server answers, its body unread.

    Args:
        stream: over which it comes.
        incoming: its head is there.
        first: what of the body came with the head.
        idle: seconds that may pass without a byte of the body; as long as the caller waits unless given.

    Attributes:
        status: of the answer.
        headers: by their names in lower case.
    """

    def __init__(self, stream: ByteStream, incoming: Incoming, first: bytes, idle: float | None) -> None:
        self.status = incoming.status
        self.headers: Mapping[str, str] = incoming.headers
        self._stream = stream
        self._incoming = incoming
        self._first = first
        self._idle = idle

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, in order.

        Raises:
            TornError: it will not become whole.
            TimeoutError: it fell silent.
        """
        if self._first:
            yield self._first
        while not self._incoming.whole:
            if piece := await fed(self._incoming, self._stream, self._idle):
                yield piece


async def fed(incoming: Incoming, stream: ByteStream, idle: float | None) -> bytes:
    """Wait for bytes of an answer; those of its body.

    Args:
        incoming: takes them in.
        stream: gives them.
        idle: see `Response`.

    Raises:
        TornError: none came, and some had to, or they are no answer.
        TimeoutError: none came.
    """
    try:
        if idle is None:  # somebody above looks at the clock, and once for each request is enough
            received = await stream.receive(_PIECE_BYTES)
        else:
            with anyio.fail_after(idle):
                received = await stream.receive(_PIECE_BYTES)
    except anyio.EndOfStream:
        incoming.end()
        return b""
    except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
        raise TornError("the connection broke before the answer was whole") from error
    return incoming.feed(received)


class Connections:
    """Those to one server.

    Args:
        host: its name or address.
        port: on which it listens.
        tls: how to make sure who it is; None speaks in the clear.
        patience: seconds to connect, and to wait while all connections are in use.
        clock: tells how long a connection was not needed.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, patience: float, clock: Clock) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._patience = patience
        self._clock = clock
        self._room = anyio.Semaphore(MOST, fast_acquire=True)
        self._idle: list[_Connection] = []
        self._closed = False

    async def close(self) -> None:
        """Close those that nobody uses, and the others as soon as they are given back."""
        self._closed = True
        while self._idle:
            await anyio.aclose_forcefully(self._idle.pop().stream)

    @asynccontextmanager
    async def answered(
        self,
        head: bytes,
        body: AsyncIterable[bytes] | None = None,
        *,
        idle: float | None = None,
        leaving: Callable[[], None],
    ) -> AsyncIterator[Response]:
        """Send a request, and have the answer, whose body is read within.

        Args:
            head: the request, with its body unless that is given apart.
            body: sent piece by piece.
            idle: see `Response`.
            leaving: called when the connection stands and before the first byte; what it raises stops the request.

        Raises:
            OSError: no connection can be made.
            TimeoutError: none is free, or none is made, in time.
            TornError: there is no answer.
        """
        async with self._one() as connection:
            leaving()
            incoming, first = Incoming(bodiless=head.startswith(b"HEAD ")), b""
            try:
                sent = await _sent(connection.stream, head, body)
                while not incoming.begun:
                    first = await fed(incoming, connection.stream, idle)
                yield Response(connection.stream, incoming, first, idle)
                connection.good = sent and incoming.whole and incoming.reusable
            finally:
                incoming.let_go()

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[_Connection]:
        """A connection of one's own; if it is good for another request afterwards, it is kept, and else closed."""
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.fail_after(self._patience):
                await self._room.acquire()
        try:
            connection = await self._kept() or _Connection(stream=await self._opened())
            try:
                connection.good = False
                yield connection
            finally:
                if connection.good and not self._closed:
                    connection.since = self._clock.monotonic()
                    self._idle.append(connection)
                else:
                    await anyio.aclose_forcefully(connection.stream)
        finally:
            self._room.release()

    async def _kept(self) -> _Connection | None:
        """The one that was used last, if it is still good; those that are not are closed."""
        while self._idle:
            connection = self._idle.pop()
            if self._clock.monotonic() - connection.since <= KEPT_SECONDS and not _speaks(connection.stream):
                return connection
            await anyio.aclose_forcefully(connection.stream)
        return None

    async def _opened(self) -> ByteStream:
        with anyio.fail_after(self._patience):
            if self._tls is None:
                return await anyio.connect_tcp(self._host, self._port)
            return await anyio.connect_tcp(self._host, self._port, ssl_context=self._tls, tls_standard_compatible=False)


async def _sent(stream: ByteStream, head: bytes, body: AsyncIterable[bytes] | None) -> bool:
    """Whether all of a request has left; if not, the server may have answered before it closed its ears."""
    try:
        await stream.send(head)
        if body is not None:
            async for piece in body:
                await stream.send(piece)
    except anyio.BrokenResourceError:
        return False
    return True


def _speaks(stream: ByteStream) -> bool:
    """Whether a connection that should be silent is not: mostly the server has closed it."""
    socket = stream.extra(SocketAttribute.raw_socket)
    if hasattr(select, "poll"):
        look = select.poll()
        look.register(socket.fileno(), select.POLLIN)
        return bool(look.poll(0))
    return bool(select.select([socket.fileno()], [], [], 0)[0])
