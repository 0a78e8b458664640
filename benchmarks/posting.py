"""Clients of HTTP that cost next to nothing: prepared bytes over a socket that is kept open."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

MOST_HEAD = 65_536


async def hammer(url: str, path: str, bodies: Callable[[], bytes], clients: int, seconds: float) -> list[float]:
    """Post from several clients at once, each one after the other; the seconds of each answer.

    Args:
        url: of the server.
        path: on it.
        bodies: makes a JSON body.
        clients: how many.
        seconds: for how long.

    Raises:
        ConnectionError: an answer was not 2xx.
    """
    spans: list[float] = []
    until = time.perf_counter() + seconds
    async with anyio.create_task_group() as tasks:
        for _ in range(clients):
            tasks.start_soon(_post, url, path, bodies, until, spans)
    return spans


async def _post(url: str, path: str, bodies: Callable[[], bytes], until: float, spans: list[float]) -> None:
    parts = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    async with await anyio.connect_tcp(parts.hostname or "", parts.port or 80) as stream:
        buffered = BufferedByteReceiveStream(stream)
        while (sent := time.perf_counter()) < until:
            body = bodies()
            await stream.send(f"{head}{len(body)}\r\n\r\n".encode() + body)
            await _answer(buffered)
            spans.append(time.perf_counter() - sent)


async def _answer(buffered: BufferedByteReceiveStream) -> bytes:
    status, *fields = (await buffered.receive_until(b"\r\n\r\n", MOST_HEAD)).split(b"\r\n")
    content = await buffered.receive_exactly(_length(fields))
    if not status.split(b" ")[1].startswith(b"2"):
        raise ConnectionError(f"{status!r}: {content[:300]!r}")
    return content


def _length(fields: Sequence[bytes]) -> int:
    named = (field.partition(b":") for field in fields)
    return next(int(value) for name, _, value in named if name.lower() == b"content-length")
