"""Many listeners of one job over raw sockets, WebSocket and server-sent events mixed: as cheap as listeners can be."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

LEAVE_AFTER: Final = 1.0  # seconds between hearing of the end and hanging up
_MOST: Final = 1 << 24  # bytes of one message


@dataclass
class Heard:
    """What one listener was told, and when.

    Attributes:
        kind: `ws` or `sse`.
        events: each with the second of the monotonic clock at which it was read.
    """

    kind: str
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the last event says that the job has ended."""
        return bool(self.events) and self.events[-1][1]["type"] == "end"


@dataclass
class Crowd:
    """Everybody who listens."""

    heard: list[Heard] = field(default_factory=list)

    def delays(self) -> list[float]:
        """For each event that a listener was told, the seconds since the first listener had it.

        Only events after which the listener was already there count, and progress that several of them heard.
        """
        first: dict[tuple[Any, ...], float] = {}
        told = [(_name(event), at) for one in self.heard for at, event in one.events[1:]]
        for name, at in told:
            first[name] = min(at, first.get(name, at))
        return sorted(at - first[name] for name, at in told)


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of sorted values lies; 0.0 of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


async def listen(
    url: str, job_id: str, kind: str, heard: Heard, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Follow a job to its end.

    Args:
        url: of the server.
        job_id: the job.
        kind: `ws` or `sse`.
        heard: where to note what is told.
        task_status: told when the first event is there.
    """
    async with await _connect(url, job_id, kind) as stream:
        async for text in _websocket(stream) if kind == "ws" else _events(stream):
            heard.events.append((time.monotonic(), json.loads(text)))
            if len(heard.events) == 1:
                task_status.started()
            if heard.ended:
                await anyio.sleep(LEAVE_AFTER)  # or the crowd's own leaving would be measured
                return


def connect_and_never_read(url: str, job_id: str) -> socket.socket:
    """A WebSocket whose owner has gone to lunch: the smallest buffer that there is, and nothing is ever read."""
    parts = urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.connect((parts.hostname, parts.port))
    sock.sendall(_request(parts.netloc, job_id, "ws"))
    return sock


async def _connect(url: str, job_id: str, kind: str) -> SocketStream:
    parts = urlsplit(url)
    stream = await anyio.connect_tcp(parts.hostname or "", parts.port or 80)
    await stream.send(_request(parts.netloc, job_id, kind))
    return stream


def _request(host: str, job_id: str, kind: str) -> bytes:
    path = f"/api/job/{job_id}/{'stream' if kind == 'ws' else 'events'}"
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    if kind == "ws":
        key = base64.b64encode(os.urandom(16)).decode()
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    return "\r\n".join([*lines, "", ""]).encode()


async def _head(buffered: BufferedByteReceiveStream, status: bytes) -> None:
    head = await buffered.receive_until(b"\r\n\r\n", 65536)
    if status not in head.split(b"\r\n")[0]:
        raise ConnectionError(head[:200].decode("latin-1"))


async def _websocket(stream: SocketStream) -> AsyncIterator[bytes]:
    """The text messages of a server that sends them whole and unmasked, as servers do."""
    buffered = BufferedByteReceiveStream(stream)
    await _head(buffered, b" 101 ")
    while True:
        opcode, length = await buffered.receive_exactly(2)
        if length == 126:
            length = int.from_bytes(await buffered.receive_exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await buffered.receive_exactly(8), "big")
        content = await buffered.receive_exactly(min(length, _MOST))
        if opcode & 0x0F == 8:
            return
        if opcode & 0x0F == 1:
            yield content


async def _events(stream: SocketStream) -> AsyncIterator[bytes]:
    buffered = BufferedByteReceiveStream(stream)
    await _head(buffered, b" 200 ")
    while True:
        line = await buffered.receive_until(b"\n", _MOST)
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ")


def _name(event: dict[str, Any]) -> tuple[Any, ...]:
    if event["type"] == "progress":
        return event["type"], event["node"], event["value"], event["progress"]
    return event["type"], event["seq"]
