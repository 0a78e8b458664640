"""What was learned of how fast backends are is put on record now and then, so that a restart does not forget it."""

from __future__ import annotations

import logging
from typing import Final

from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)

EVERY: Final = 10.0  # seconds; what was learned in the last of them is learned again after a crash


class LearnedSpeeds:
    """Keeps what is learned.

    Args:
        store: where.
        pool: who knows it.
        clock: the time.
    """

    def __init__(self, store: JobStore, pool: BackendPool, clock: Clock) -> None:
        self._store = store
        self._pool = pool
        self._clock = clock

    async def run(self) -> None:
        """Keep what is new, until cancelled."""
        while True:
            await self._clock.sleep(EVERY)
            await self.keep()

    async def keep(self) -> None:
        """Put what is new on record; what cannot be stored now is learned again."""
        if news := self._pool.foresight.news():
            try:
                await self._store.backends.keep_speeds(news, self._clock.now())
            except StorageError as error:
                log.warning("what was learned of the backends cannot be kept now: %s", error)
