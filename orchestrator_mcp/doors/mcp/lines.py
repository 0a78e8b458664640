"""Lines from a pipe, read so that a stop never has to wait for the peer."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator

import anyio
import anyio.from_thread
import anyio.lowlevel
from anyio.abc import ObjectSendStream

MAX_LINE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 65536
_READER_LEFT = (  # or its event loop has, or the descriptor is gone
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
    """The lines of standard input, for the SDK's `stdio_server`.

    A daemon thread reads a private duplicate of the descriptor, so a cancelled reader leaves at once even while the
    peer keeps its end open. Descriptor 0 is the null device from then on: children must not read the protocol.
    """

    def __init__(self) -> None:
        self._descriptor = os.dup(0)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            os.dup2(null, 0)
        finally:
            os.close(null)

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
        except _READER_LEFT:
            return
