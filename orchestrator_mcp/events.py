"""In-process fan-out of events: bounded for each subscriber; a lost one costs latency, never truth.

Readers re-read the store; an event only says that it is worth it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.events import BackendChanged, Event, JobChanged, JobDelivered, JobProgressed

MOST_WAITING: Final = 256  # changes that a slow subscriber may have waiting
PROGRESS_INTERVAL: Final = 0.2  # seconds between two progress events of a job
CROWD: Final = 200  # readers of one job, from which on a change may wait for the next one
RATE: Final = 1000  # events of a job in a second, over all its readers: a crowd hears less often


class Subscription:
    """What one reader has not seen yet: every change in order, and only the newest progress."""

    def __init__(self) -> None:
        self._changes: deque[JobChanged | JobDelivered] = deque(maxlen=MOST_WAITING)
        self._progress: JobProgressed | None = None
        self._wake = anyio.Event()

    def put(self, event: JobChanged | JobDelivered | JobProgressed) -> None:
        """Keep an event; never blocks. Beyond the bound the oldest change goes."""
        if isinstance(event, JobProgressed):
            self._progress = event
        else:
            self._changes.append(event)
        self._wake.set()

    async def next(self) -> JobChanged | JobDelivered | JobProgressed:
        """The oldest change that waits, else the newest progress; waits for one."""
        while True:
            if self._changes:
                return self._changes.popleft()
            if self._progress is not None:
                progress, self._progress = self._progress, None
                return progress
            self._wake = anyio.Event()
            await self._wake.wait()


class Events:
    """The switchboard of one process.

    Args:
        clock: paces progress.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_job: dict[str, set[Subscription]] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._progress: dict[str, JobProgressed] = {}
        self._told_at: dict[str, float] = {}
        self._held: dict[str, JobChanged] = {}

    def publish(self, event: Event) -> None:
        """Tell an event to whom it concerns; never blocks.

        Progress of a job that comes faster than every 0.2 s is kept, not told; with more than 200 readers, slower.
        Such a crowd also hears of changes only after a pause (see `release`), or when the result is delivered: the
        stages at the end of a job follow each other faster than a thousand readers can be told.
        """
        if isinstance(event, JobProgressed):
            self._progress[event.job_id] = event
            if not self._due(event.job_id):
                return
        elif isinstance(event, JobChanged) and event.stage is None:
            self._progress.pop(event.job_id, None)
            self._told_at.pop(event.job_id, None)
        for listener in self._listeners:
            listener(event)
        if isinstance(event, BackendChanged):
            return
        readers = self._by_job.get(event.job_id, ())
        if isinstance(event, JobChanged) and len(readers) >= CROWD:
            self._held[event.job_id] = event
            return
        if isinstance(event, JobDelivered):
            self._held.pop(event.job_id, None)
        for subscription in readers:
            subscription.put(event)

    def release(self) -> None:
        """Tell the changes that were held back; to be called about once a second."""
        while self._held:
            job_id, event = self._held.popitem()
            for subscription in self._by_job.get(job_id, ()):
                subscription.put(event)

    def _due(self, job_id: str) -> bool:
        """Whether the readers of a job may hear of its progress again; they count as told then."""
        pause = max(PROGRESS_INTERVAL, len(self._by_job.get(job_id, ())) / RATE)
        now = self._clock.monotonic()
        if now - self._told_at.get(job_id, -1.0) < pause:
            return False
        self._told_at[job_id] = now
        return True

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call a function with every event, for as long as the process lives. It must not block or raise."""
        self._listeners.append(listener)

    def progress(self, job_id: str) -> JobProgressed | None:
        """How far a job's render has come, when it runs."""
        return self._progress.get(job_id)

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription]:
        """Hear of one job for as long as the block lasts."""
        subscription = Subscription()
        readers = self._by_job.setdefault(job_id, set())
        readers.add(subscription)
        try:
            yield subscription
        finally:
            readers.discard(subscription)
            if not readers:
                self._by_job.pop(job_id, None)
