"""What has ended and is not delivered yet: given out when it is due, then put on record, or put off for a while."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Generic, TypeVar

import anyio

from orchestrator_mcp.clock import Clock

D = TypeVar("D")

DELIVERY_SCAN: Final = 5.0  # seconds: events only make it faster
DELIVERY_PAUSE: Final = (1.0, 60.0)  # seconds until a failed delivery is due again, growing


class Deliveries(ABC, Generic[D]):
    """The deliveries of one kind, as the Outbox takes them.

    Args:
        clock: paces the retries.
        at_once: how many are given out together, at most.
    """

    def __init__(self, clock: Clock, *, at_once: int) -> None:
        self._clock = clock
        self._at_once = at_once
        self._wake = anyio.Event()
        self._put_off: dict[str, tuple[float, float, str]] = {}

    @property
    def problems(self) -> list[str]:
        """Why deliveries were put off, each reason once."""
        return sorted({f"A result cannot be delivered: {reason}" for _, _, reason in self._put_off.values()})

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    async def due(self) -> list[D]:
        """What to deliver now, oldest first; waits until there is at least one."""
        while True:
            self._wake = anyio.Event()
            if names := await self._names_due():
                return [await self._load(name) for name in names]
            await self._wait()

    async def record(self, name: str, folder: Path | None) -> None:
        """The result stands in Outbox, and its Inbox file is put away.

        Args:
            name: the id of what was delivered.
            folder: where it stands; None when nothing had to be put there.
        """
        await self._put_on_record(name, folder)
        self._put_off.pop(name, None)

    def put_off(self, name: str, reason: str) -> None:
        """A delivery failed: it is due again after a growing pause, and health tells the reason."""
        first, longest = DELIVERY_PAUSE
        _, before, _ = self._put_off.get(name, (0.0, first / 2, ""))
        pause = min(before * 2, longest)
        self._put_off[name] = (self._clock.monotonic() + pause, pause, reason)

    @abstractmethod
    async def _undelivered(self, limit: int) -> list[str]:
        """The ids of what has ended and is not on record as delivered, oldest first."""

    @abstractmethod
    async def _load(self, name: str) -> D:
        """All that is to be delivered of one."""

    @abstractmethod
    async def _put_on_record(self, name: str, folder: Path | None) -> None:
        """Store that it is delivered."""

    async def _names_due(self) -> list[str]:
        now = self._clock.monotonic()
        waiting = {name for name, (at, _, _) in self._put_off.items() if at > now}
        undelivered = await self._undelivered(self._at_once + len(waiting))
        return [name for name in undelivered if name not in waiting][: self._at_once]

    async def _wait(self) -> None:
        """Until something ends, or it is time to look again."""
        now = self._clock.monotonic()
        pause = min([DELIVERY_SCAN, *(at - now for at, _, _ in self._put_off.values() if at > now)])
        with anyio.move_on_after(pause):
            await self._wake.wait()
