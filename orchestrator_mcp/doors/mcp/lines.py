"""Lines from and to pipes, so that a stop never has to wait for the peer."""

from __future__ import annotations

import concurrent.futures
import os
import queue
import threading
from collections.abc import AsyncIterator

import anyio
import anyio.from_thread
import anyio.lowlevel
from anyio.abc import ObjectSendStream

MAX_LINE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 65536
_PEER_LEFT = (  # the task at our end, its event loop, or the descriptor is gone
    OSError,
    RuntimeError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    concurrent.futures.CancelledError,
)


class LineSplitter:
    """Cuts a stream of bytes at line feeds, and at nothing else: JSON may hold every other separator.

    Args:
        max_bytes: a longer line loses its tail, so that whoever parses it refuses it.
    """

    def __init__(self, *, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes; give the lines that they complete, without their ends."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            self._keep(piece)
            lines.append(self._rest.decode("utf-8", "replace").removesuffix("\r"))
            self._rest.clear()
        self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._rest += piece[: self._max_bytes - len(self._rest)]


class StdinLines:
    """The lines of standard input.

    A daemon thread reads a private duplicate of the descriptor, so a cancelled reader leaves at once even while the
    peer keeps its end open. Descriptor 0 is the null device from then on: children must not read the protocol.
    """

    def __init__(self) -> None:
        self._descriptor = os.dup(0)
        _divert(0, os.open(os.devnull, os.O_RDONLY))

    def __aiter__(self) -> AsyncIterator[str]:
        return self._lines()

    async def _lines(self) -> AsyncIterator[str]:
        send, receive = anyio.create_memory_object_stream[str](0)
        token = anyio.lowlevel.current_token()
        threading.Thread(target=self._pump, args=(send, token), name="mcp-stdin", daemon=True).start()
        async with receive:
            async for line in receive:
                yield line

    def _pump(self, send: ObjectSendStream[str], token: anyio.lowlevel.EventLoopToken) -> None:
        splitter = LineSplitter()
        try:
            for chunk in iter(lambda: os.read(self._descriptor, _CHUNK_BYTES), b""):
                for line in splitter.feed(chunk):
                    anyio.from_thread.run(send.send, line, token=token)
            anyio.from_thread.run(send.aclose, token=token)
        except _PEER_LEFT:
            return


class StdoutLines:
    """Standard output.

    A daemon thread writes to a private duplicate of the descriptor, so a cancelled writer leaves at once even when the
    peer has stopped reading and the pipe is full. Descriptor 1 is standard error from then on: whatever prints, in this
    process or in a child, goes there.
    """

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        _divert(1, _standard_error())
        self._waiting: queue.SimpleQueue[tuple[memoryview, _Receipt]] = queue.SimpleQueue()
        self._started = False

    async def write(self, text: str) -> None:
        """Write the text; returns when the pipe has taken it.

        Raises:
            BrokenPipeError: the peer has closed its end.
        """
        receipt = _Receipt(anyio.lowlevel.current_token())
        self._waiting.put((memoryview(text.encode()), receipt))
        if not self._started:
            self._started = True
            threading.Thread(target=self._pump, name="mcp-stdout", daemon=True).start()
        await receipt.wait()

    def _pump(self) -> None:
        while True:
            rest, receipt = self._waiting.get()
            error: OSError | None = None
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError as failure:
                error = failure
            try:
                receipt.give(error)
            except _PEER_LEFT:
                return


class _Receipt:
    """Tells the task that waits for a write how it went."""

    def __init__(self, token: anyio.lowlevel.EventLoopToken) -> None:
        self._token = token
        self._given = anyio.Event()
        self._error: OSError | None = None

    async def wait(self) -> None:
        await self._given.wait()
        if self._error is not None:
            raise self._error

    def give(self, error: OSError | None) -> None:
        self._error = error
        anyio.from_thread.run_sync(self._given.set, token=self._token)


def _divert(descriptor: int, target: int) -> None:
    try:
        os.dup2(target, descriptor)
    finally:
        os.close(target)


def _standard_error() -> int:
    try:
        return os.dup(2)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)
