"""Which finished jobs are to be delivered now, and which only after a pause."""

from __future__ import annotations

from typing import Final, Protocol

import anyio

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.events import Event, JobChanged

DELIVERY_SCAN: Final = 5.0  # seconds: events only make it faster
DELIVERY_PAUSE: Final = (1.0, 60.0)  # seconds until a failed delivery is due again, growing


class Deliverable(Protocol):
    """Knows what has ended and is not delivered."""

    async def undelivered(self, *, limit: int) -> list[str]:
        """The ids, oldest first."""


class DeliveryQueue:
    """Which finished jobs, or batches, are to be delivered now.

    Args:
        clock: paces the retries.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = anyio.Event()
        self._put_off: dict[str, tuple[float, float, str]] = {}

    @property
    def problems(self) -> list[str]:
        """Why deliveries were put off, each reason once."""
        return sorted({f"A result cannot be delivered: {reason}" for _, _, reason in self._put_off.values()})

    def hear(self, event: Event) -> None:
        """Wake when a job ends."""
        if isinstance(event, JobChanged) and event.state.final:
            self.wake()

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    async def due(self, store: Deliverable, limit: int) -> list[str]:
        """What to deliver now, oldest first."""
        self._wake = anyio.Event()
        now = self._clock.monotonic()
        waiting = {job_id for job_id, (at, _, _) in self._put_off.items() if at > now}
        undelivered = await store.undelivered(limit=limit + len(waiting))
        return [job_id for job_id in undelivered if job_id not in waiting][:limit]

    async def wait(self) -> None:
        """Until a job ends, or it is time to look again."""
        now = self._clock.monotonic()
        pause = min([DELIVERY_SCAN, *(at - now for at, _, _ in self._put_off.values() if at > now)])
        with anyio.move_on_after(pause):
            await self._wake.wait()

    def put_off(self, job_id: str, reason: str) -> None:
        """Try again after a growing pause."""
        first, longest = DELIVERY_PAUSE
        _, before, _ = self._put_off.get(job_id, (0.0, first / 2, ""))
        pause = min(before * 2, longest)
        self._put_off[job_id] = (self._clock.monotonic() + pause, pause, reason)

    def done(self, job_id: str) -> None:
        """Forget a job that is delivered."""
        self._put_off.pop(job_id, None)
