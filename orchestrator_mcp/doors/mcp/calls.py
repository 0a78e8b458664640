"""The tool calls that are open now: a stop lets them answer, and ends the ones that wait for a render."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class OpenCalls:
    """Every call that has not been answered yet, on every transport."""

    def __init__(self) -> None:
        self._waits: set[anyio.CancelScope] = set()
        self._running = 0
        self._idle: anyio.Event | None = None
        self._closed = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a call for as long as the block runs."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0 and self._idle is not None:
                self._idle.set()

    @contextmanager
    def wait(self, seconds: float) -> Iterator[None]:
        """Run the block for at most this long, and no longer than the server runs.

        Args:
            seconds: 0 or more; the block is left in silence when they are over.
        """
        with anyio.move_on_after(0 if self._closed else seconds) as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)

    def close(self) -> None:
        """End every wait, now and later; the calls go on to their answer."""
        self._closed = True
        for scope in tuple(self._waits):
            scope.cancel()

    async def drained(self) -> None:
        """Wait until no call is open."""
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()
