"""Finished work goes by age, by count and by size, in small steps. Outbox is never touched: it holds copies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.settings import RetentionSettings
from orchestrator_mcp.store import Forgotten, JobStore

log = logging.getLogger(__name__)

ROUND: Final = 600.0  # seconds between two rounds
LOOK: Final = 2.0  # seconds until a change of the settings begins the next round
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
        """A round now and then, and soon after the settings were changed; for ever."""
        while True:
            kept, ends = self._settings(), self._clock.monotonic() + ROUND
            try:
                await self.forget_old()
            except StorageError as error:
                log.warning("cannot forget old jobs now: %s", error)
            while self._settings() == kept and self._clock.monotonic() < ends:
                await self._clock.sleep(LOOK)

    async def forget_old(self) -> int:
        """One round: first by age, then the oldest until no more are left than are wanted, and the files fit.

        Returns:
            How many jobs went.
        """
        kept = self._settings()
        await self._delete_files(await self._store.unused(sorted(self._spared)))
        gone = await self._forget_by_age(timedelta(days=kept.days))
        gone += await self._forget_by_count(kept.jobs)
        gone += await self._forget_by_size(kept.bytes)
        if gone:
            log.info("forgot %d old jobs", gone)
        return gone

    async def _forget_by_age(self, age: timedelta) -> int:
        gone = 0
        while (step := await self._step(age)).count:
            gone += step.count
        while (await self._step_of_assets(age)).count:
            pass
        return gone

    async def _forget_by_count(self, most: int) -> int:
        gone, surplus = 0, await self._store.finished() - most
        while gone < surplus and (step := await self._step(timedelta(0), most=surplus - gone)).count:
            gone += step.count
        return gone

    async def _forget_by_size(self, most: int) -> int:
        """The sizes of all files are added up once, and each step tells what it freed."""
        gone, surplus = 0, await self._store.stored_bytes() - most
        while surplus > 0:
            step = await self._step(timedelta(0), enough=surplus)
            gone += step.count
            if not step.count:
                step = await self._step_of_assets(SETTLED)
            if not step.count:
                break
            surplus -= sum(step.files.values())
        return gone

    async def _step(self, age: timedelta, *, most: int = STEP, enough: int | None = None) -> Forgotten:
        step = await self._store.forget(self._clock.now() - age, count=min(most, STEP), enough=enough)
        await self._delete_files(step.files)
        if step.count:
            await self._clock.sleep(PAUSE)
        return step

    async def _step_of_assets(self, age: timedelta) -> Forgotten:
        """Input files that no job begins with, and that nobody has used for so long."""
        step = await self._store.forget_assets(self._clock.now() - age, count=STEP)
        await self._delete_files(step.files)
        if step.count:
            log.info("forgot %d input files", step.count)
            await self._clock.sleep(PAUSE)
        return step

    async def _delete_files(self, files: Iterable[str]) -> None:
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
