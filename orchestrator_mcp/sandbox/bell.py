"""Waiting for a condition that other tasks of the same event loop bring about."""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Bell:
    """Wakes everybody who waits, so that each looks again at its own condition."""

    def __init__(self) -> None:
        """Make a bell that nobody waits for yet."""
        self._event = anyio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        self._event.set()
        self._event = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at now and after each ring.

        Args:
            condition: A quick look without side effects.
        """
        while not condition():
            await self._event.wait()

    async def within(self, seconds: float, condition: Callable[[], bool]) -> bool:
        """Wait until a condition holds, but not longer than a while.

        Args:
            seconds: How long to wait at most.
            condition: A quick look without side effects.

        Returns:
            Whether the condition holds.
        """
        with anyio.move_on_after(seconds):
            await self.until(condition)
        return condition()
