"""Finished work goes by age and by size, in small steps. Outbox is never touched: it holds copies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.settings import RetentionSettings
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)

ROUND: Final = 600.0  # seconds between two rounds
STEP: Final = 50  # jobs deleted in one transaction, so that accepting never waits long
SETTLED: Final = timedelta(minutes=15)  # after which a file surely belongs to the job that it was fetched for
PAUSE: Final = 0.05  # seconds between two steps


class Retention:
    """Forgets old jobs, input files that nobody uses, and what no job names any more.

    Args:
        store: the jobs.
        artifacts: their files.
        settings: tells for how long, and how much.
        clock: the time.
    """

    def __init__(
        self, store: JobStore, artifacts: ArtifactStore, settings: Callable[[], RetentionSettings], clock: Clock
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._settings = settings
        self._clock = clock
        self._spared: set[str] = set()

    async def run(self) -> None:
        """A round now and then, for ever."""
        while True:
            try:
                await self.forget_old()
            except StorageError as error:
                log.warning("cannot forget old jobs now: %s", error)
            await self._clock.sleep(ROUND)

    async def forget_old(self) -> int:
        """One round: first by age, then the oldest until the files fit.

        Returns:
            How many jobs went.
        """
        await self._delete_files(await self._store.unused(sorted(self._spared)))
        gone = 0
        while (step := await self._step(timedelta(days=self._settings().days))) > 0:
            gone += step
        while await self._step_of_assets(timedelta(days=self._settings().days)) > 0:
            pass
        while await self._store.stored_bytes() > self._settings().bytes:
            step = await self._step(timedelta(0))
            if step == 0 and await self._step_of_assets(SETTLED) == 0:
                break
            gone += step
        if gone:
            log.info("forgot %d old jobs", gone)
        return gone

    async def _step(self, age: timedelta) -> int:
        count, files = await self._store.forget(self._clock.now() - age, count=STEP)
        await self._delete_files(files)
        if count:
            await self._clock.sleep(PAUSE)
        return count

    async def _step_of_assets(self, age: timedelta) -> int:
        """Input files that no job begins with, and that nobody has used for so long."""
        count, files = await self._store.forget_assets(self._clock.now() - age, count=STEP)
        await self._delete_files(files)
        if count:
            log.info("forgot %d input files", count)
            await self._clock.sleep(PAUSE)
        return count

    async def _delete_files(self, files: list[str]) -> None:
        """Delete files that no job names; one that came in just now may belong to a job that is being published."""
        settled = self._clock.now() - SETTLED
        for sha256 in files:
            if (
                await self._artifacts.remove(sha256, older_than=settled)
                or await self._artifacts.size_of(sha256) is None
            ):
                self._spared.discard(sha256)
            else:
                self._spared.add(sha256)
