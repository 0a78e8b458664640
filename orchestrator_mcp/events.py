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


class _Crowd:
    """The readers of one job; one bell for all of them costs less than one for each.

    Attributes:
        readers: they.
        bell: rung, and replaced, when there is something for them.
    """

    def __init__(self) -> None:
        self.readers: set[Subscription] = set()
        self.bell = anyio.Event()

    def tell(self, event: JobChanged | JobDelivered | JobProgressed) -> None:
        """Keep an event for each of them, and wake those who wait."""
        for reader in self.readers:
            reader.put(event)
        bell, self.bell = self.bell, anyio.Event()
        bell.set()


class Subscription:
    """What one reader has not seen yet: every change in order, and only the newest progress.

    Args:
        crowd: whose bell wakes it.
    """

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._changes: deque[JobChanged | JobDelivered] = deque(maxlen=MOST_WAITING)
        self._progress: JobProgressed | None = None

    def put(self, event: JobChanged | JobDelivered | JobProgressed) -> None:
        """Keep an event; never blocks. Beyond the bound the oldest change goes."""
        if isinstance(event, JobProgressed):
            self._progress = event
        else:
            self._changes.append(event)

    async def next(self) -> JobChanged | JobDelivered | JobProgressed:
        """The oldest change that waits, else the newest progress; waits for one."""
        while True:
            if self._changes:
                return self._changes.popleft()
            if self._progress is not None:
                progress, self._progress = self._progress, None
                return progress
            await self._crowd.bell.wait()


class Events:
    """The switchboard of one process.

    Args:
        clock: paces progress.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_job: dict[str, _Crowd] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._progress: dict[str, JobProgressed] = {}
        self._told_at: dict[str, float] = {}
        self._held: dict[str, JobChanged | JobDelivered] = {}
        self._pressing = anyio.Event()

    def publish(self, event: Event) -> None:
        """Tell an event to whom it concerns; never blocks.

        Progress of a job that comes faster than every 0.2 s is kept, not told; with more than 200 readers, slower.
        Such a crowd hears of changes only at the next `release`: the stages at the end of a job follow each other
        faster than a thousand readers can be told.
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
        crowd = self._by_job.get(event.job_id)
        if crowd is None:
            return
        if isinstance(event, JobProgressed) or len(crowd.readers) < CROWD:
            crowd.tell(event)
            return
        self._held[event.job_id] = event
        if isinstance(event, JobDelivered):
            self._pressing.set()

    async def pressing(self) -> None:
        """Wait until a result is delivered of which a crowd is to hear; `release` is due then."""
        await self._pressing.wait()
        self._pressing = anyio.Event()

    @property
    def held(self) -> list[str]:
        """The jobs of which a change is held back."""
        return list(self._held)

    def release(self) -> None:
        """Tell the changes that were held back; to be called about once a second, and when one is `pressing`."""
        while self._held:
            job_id, event = self._held.popitem()
            if (crowd := self._by_job.get(job_id)) is not None:
                crowd.tell(event)

    def _due(self, job_id: str) -> bool:
        """Whether the readers of a job may hear of its progress again; they count as told then."""
        crowd = self._by_job.get(job_id)
        pause = max(PROGRESS_INTERVAL, len(crowd.readers) / RATE if crowd is not None else 0.0)
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
        crowd = self._by_job.setdefault(job_id, _Crowd())
        subscription = Subscription(crowd)
        crowd.readers.add(subscription)
        try:
            yield subscription
        finally:
            crowd.readers.discard(subscription)
            if not crowd.readers:
                self._by_job.pop(job_id, None)
