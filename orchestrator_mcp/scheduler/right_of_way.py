"""Who goes first on the event loop when much ends at once: a backend that stands idle, and then files that wait."""

from __future__ import annotations

from typing import Final

import anyio

LONGEST: Final = 0.02  # seconds for which one who fetches stands back; more would be felt by whoever waits for the job


class RightOfWay:
    """Keeps what asks about a render, and what fetches its end, out of the way of what sends the next one.

    Both take milliseconds of the loop, and when many renders end in one moment, the last backend would stand idle
    until all are through.
    """

    def __init__(self) -> None:
        self._hurrying: set[str] = set()
        self._clear = anyio.Event()

    def hurry(self, who: str) -> None:
        """Somebody is on the way to send until `arrived`.

        Args:
            who: a name of its own.
        """
        self._hurrying.add(who)

    def arrived(self, who: str) -> None:
        """It has sent, or has nothing to send; what is said a second time counts for nothing."""
        self._hurrying.discard(who)
        if not self._hurrying:
            self._clear.set()
            self._clear = anyio.Event()

    async def to_fetch(self) -> None:
        """Wait for a turn to ask or fetch: until those who send are through, or `LONGEST`."""
        if self._hurrying:
            with anyio.move_on_after(LONGEST):
                await self._clear.wait()
