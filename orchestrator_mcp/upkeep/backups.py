"""Backups of the database: one an hour, and one when the program stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import anyio
import anyio.to_thread

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.settings import Settings
from orchestrator_mcp.store import JobStore
from orchestrator_mcp.store.backups import list_backups

log = logging.getLogger(__name__)

FOLDER: Final = "backups"
EVERY: Final = 3600.0  # seconds
AGAIN: Final = 300.0  # seconds until a backup that failed is tried again
LAST: Final = 3.0  # seconds that the one at the stop may take


class Backups:
    """Makes backups while the program runs.

    Args:
        store: what is copied.
        settings: where it lies, and how much room must stay free.
        clock: the time.
        every: seconds between two backups.
    """

    def __init__(
        self, store: JobStore, settings: Callable[[], Settings], clock: Clock, *, every: float = EVERY
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._every = every
        self._folder = settings().data_dir / FOLDER
        self._failure: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the last one failed; None when it did not."""
        return self._failure

    async def run(self) -> None:
        """Back up now and then, for ever."""
        await self._clock.sleep(await self._first_pause())
        while True:
            await self.make()
            await self._clock.sleep(self._every if self._failure is None else min(AGAIN, self._every))

    async def make(self) -> None:
        """Make one; a failure is told in health."""
        if self._store.damage is not None:
            return
        try:
            spare = self._settings().limits.free_bytes
            made = await self._store.back_up(self._folder, self._clock.now(), spare=spare)
        except StorageError as error:
            log.warning("%s", error)
            self._failure = error.message
        else:
            log.info("backed up the database: %s, %d bytes", made.path, made.size)
            self._failure = None

    async def make_last(self) -> None:
        """Make the one of a clean stop, if it is quickly done."""
        with anyio.move_on_after(LAST, shield=True) as patience:
            await self.make()
        if patience.cancelled_caught:
            log.info("the backup at the stop would take too long; the last one stands")

    async def _first_pause(self) -> float:
        """Count from the newest one that there is; a clock that was set back counts as no time."""
        found = await anyio.to_thread.run_sync(list_backups, self._folder)
        age = (self._clock.now() - found[0].at).total_seconds() if found else 0.0
        return self._every - min(max(age, 0.0), self._every)
