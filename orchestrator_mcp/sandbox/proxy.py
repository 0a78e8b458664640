"""A TCP proxy that misbehaves on purpose: what a network, and not a server, can do to a connection."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.sandbox.bell import Bell
from orchestrator_mcp.sandbox.faults import PROXY_FAULTS, FaultSet

_PIECE: Final = 65_536
_ANSWERED_WITHIN: Final = 10.0  # seconds that a request without its caller has for its answer
_PROMPT_LINES: Final = (b"POST /prompt ", b"POST /api/prompt ")
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@dataclass(kw_only=True, eq=False)
class _Link:
    """One carried connection.

    Attributes:
        told: bytes of answers that were passed on.
        dead: it met a blackhole; it stays open and silent for good.
        answered: set when the server says something.
    """

    client: SocketStream
    server: SocketStream
    told: int = 0
    dead: bool = False
    answered: anyio.Event = field(default_factory=anyio.Event)


class FaultProxy:
    """Stands before one server; its faults can be changed at any time, and concern open connections too.

    Args:
        target: the server's host and port.
        faults: those of ``PROXY_FAULTS`` that are on from the start, as ``name`` or ``name:argument``.
        seed: of the garbage.
        clock: where time comes from; the machine's clock by default.

    Raises:
        ValueError: If there is no such fault of a proxy.
    """

    def __init__(
        self, target: tuple[str, int], faults: tuple[str, ...] = (), *, seed: int = 0, clock: Clock | None = None
    ) -> None:
        self._target = target
        self._bell = Bell()
        self._faults = FaultSet(faults, changed=self._bell.ring, known=PROXY_FAULTS)
        self._random = random.Random(seed)
        self._clock = clock or SystemClock()
        self.host = ""
        self.port = 0

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def set_fault(self, fault: str) -> None:
        """Turn a fault on, or change its argument.

        Args:
            fault: ``name`` or ``name:argument``.

        Raises:
            ValueError: If there is no such fault of a proxy.
        """
        self._faults.set(fault)

    def clear_faults(self, *names: str) -> None:
        """Turn faults off. Connections that met a blackhole stay dead.

        Args:
            names: Which ones; all if none is named.
        """
        self._faults.clear(*names)

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[FaultProxy]:
        """Carry connections until the block is left.

        Args:
            host: The address to listen on.
            port: The port; 0 takes a free one.

        Yields:
            The proxy, ready.

        Raises:
            OSError: If the port is taken.
        """
        async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
            self.host, self.port = host, listener.extra(SocketAttribute.local_port)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, self._carry)
                yield self
                tasks.cancel_scope.cancel()

    async def _carry(self, client: SocketStream) -> None:
        async with client:
            if self._faults.on("tcp-blackhole"):
                await anyio.sleep_forever()
            try:
                server = await anyio.connect_tcp(*self._target)
            except OSError:
                await _reset(client)
                return
            async with server, anyio.create_task_group() as tasks:
                link = _Link(client=client, server=server)
                tasks.start_soon(self._carry_answers, link, tasks.cancel_scope)
                await self._carry_requests(link)
                tasks.cancel_scope.cancel()

    async def _carry_requests(self, link: _Link) -> None:
        """Until the caller has gone; a prompt that was held back on its way arrives nevertheless."""
        in_flight = False
        with suppress(*_GONE):
            while True:
                piece = await link.client.receive(_PIECE)
                await self._hold_back(link)
                delay = self._faults.number("tcp-post-delay")
                if delay is not None and piece.startswith(_PROMPT_LINES):
                    in_flight = True
                    link.answered = anyio.Event()
                    await self._clock.sleep(delay / 1000)
                await link.server.send(piece)
        if in_flight:
            with anyio.move_on_after(_ANSWERED_WITHIN):
                await link.answered.wait()

    async def _carry_answers(self, link: _Link, both: anyio.CancelScope) -> None:
        try:
            while True:
                piece = await link.server.receive(_PIECE)
                link.answered.set()
                await self._hold_back(link)
                if self._faults.on("tcp-garbage"):
                    piece = self._random.randbytes(len(piece))
                if await self._cut_off(link, piece):
                    return
                link.told += len(piece)
                with suppress(*_GONE):
                    await link.client.send(piece)
        except _GONE:
            return
        finally:
            both.cancel()

    async def _hold_back(self, link: _Link) -> None:
        latency = self._faults.number("tcp-latency")
        if latency is not None:
            await self._clock.sleep(latency / 1000)
        link.dead = link.dead or self._faults.on("tcp-blackhole")
        if link.dead:
            await anyio.sleep_forever()

    async def _cut_off(self, link: _Link, piece: bytes) -> bool:
        for fault in ("tcp-cut", "tcp-reset"):
            most = self._faults.number(fault)
            if most is None or link.told + len(piece) <= most:
                continue
            with suppress(*_GONE):
                await link.client.send(piece[: max(0, most - link.told)])
            if fault == "tcp-reset":
                await _reset(link.client)
            return True
        return False


async def _reset(stream: SocketStream) -> None:
    """Close a connection with a reset instead of a farewell."""
    with suppress(OSError):
        stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    await stream.aclose()
