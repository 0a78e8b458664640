"""Follow a job: events wake its readers, the store says what is true, and all readers share one look at it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import anyio

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.events import BackendChanged, Event, JobChanged, JobDelivered, JobProgressed
from orchestrator_mcp.domain.views import JobView, StreamEvent
from orchestrator_mcp.errors import NotFoundError, StorageError
from orchestrator_mcp.events import Events, Subscription
from orchestrator_mcp.service.pages import Page, Pages, told_once
from orchestrator_mcp.store import JobStore, StoredJob

SLOW_LOOK: Final = 10.0  # seconds after which the store is asked without an event
CROWD_PAUSE: Final = 1.0  # seconds between two tellings of changes to a crowd
FRESH: Final = 0.5  # seconds for which a look counts: queue positions change without an event of the job

Show = Callable[[StoredJob, str | None], Awaitable[JobView]]


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What the store said once.

    Attributes:
        stored: the job.
        at: when, in seconds of the monotonic clock.
        after: how many events of the job had been told before it.
        told: what callers are told of it, by kind and the base url they use.
    """

    stored: StoredJob
    at: float
    after: int
    told: dict[tuple[str, str | None], StreamEvent] = field(default_factory=dict)


class _Page(Page):
    """What the readers of one job share."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: anyio.Event | None = None
        self.told = 0
        self.look: _Look | None = None
        self._progress: tuple[JobProgressed, StreamEvent] | None = None

    def progress(self, event: JobProgressed, seq: int) -> StreamEvent:
        """How readers are told of progress: one object for all of them."""
        if self._progress is None or self._progress[0] is not event or self._progress[1].seq != seq:
            self._progress = event, _progress(event, seq)
        return self._progress[1]


class Watching:
    """The readers of all jobs: a thousand of one job cost one read of the store for each change.

    Args:
        store: the truth.
        events: the hints.
        clock: the time.
        show: makes the view of a job, for a base url.
    """

    def __init__(self, store: JobStore, events: Events, clock: Clock, show: Show) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._show = show
        self._pages = Pages(_Page)
        events.listen(self._hear)

    @asynccontextmanager
    async def watch(
        self, job_id: str, *, after: int | None, base_url: str | None, delivery_grace: float
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """See `JobService.watch`.

        Args:
            job_id: the job.
            after: history row that the reader has seen; an ended job that it has seen whole gives `end` alone.
            base_url: what urls begin with.
            delivery_grace: seconds that `end` waits for the files to stand in Outbox, so that it can name them.

        Raises:
            NotFoundError: on entering, when there is no such job.
        """
        with self._events.subscribe(job_id) as subscription, self._pages.opened(job_id) as page:
            reader = _Reader(self, page, subscription, base_url)
            stream = reader.stream(await self.look(page, job_id), after, delivery_grace)
            try:
                yield stream
            finally:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()

    async def run(self) -> None:
        """Look after every watched job now and then, for ever: an event that was lost costs latency, never truth."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_now_and_then, name="slow look")
            tasks.start_soon(self._tell_crowds, lambda: self._clock.sleep(CROWD_PAUSE), name="crowds, now and then")
            tasks.start_soon(self._tell_crowds, self._events.pressing, name="crowds, of results")

    async def _tell_crowds(self, due: Callable[[], Awaitable[None]]) -> None:
        """Look at what crowds are about to hear of, and tell them: else each reader wakes once more, for the look."""
        while True:
            await due()
            for job_id in self._events.held:
                if (page := self._pages.get(job_id)) is not None:
                    with suppress(NotFoundError, StorageError):
                        await self.look(page, job_id)
            self._events.release()

    async def _look_now_and_then(self) -> None:
        while True:
            await self._clock.sleep(SLOW_LOOK)
            for job_id, page in list(self._pages.items()):
                with suppress(NotFoundError, StorageError):
                    stored = await self._store.job(job_id)
                    if page.look is not None and stored.seq > page.look.stored.seq:
                        job = stored.job
                        self._events.publish(
                            JobChanged(job_id=job_id, seq=stored.seq, state=job.state, stage=job.stage)
                        )

    async def look(self, page: _Page, job_id: str) -> _Look:
        """What the store says after every event that has been told so far, read once for all readers."""
        while (known := self._fresh(page)) is None:
            if page.reading is not None:
                await (
                    page.reading.wait()
                )  # one event wakes a thousand readers at once; a lock would hand them on one by one
                continue
            page.reading = anyio.Event()
            try:
                page.look = await self._read(page, job_id)
            finally:
                page.reading.set()
                page.reading = None
        return known

    async def _read(self, page: _Page, job_id: str) -> _Look:
        after, before = page.told, page.look
        stored = await self._store.job(job_id)
        now = self._clock.monotonic()
        if before is not None and stored == before.stored and now - before.at < FRESH:
            return replace(before, after=after)  # the store had said already what the event told of
        look = _Look(stored=stored, at=now, after=after)
        for base_url in {base_url for _, base_url in before.told} if before is not None else ():
            # before a thousand readers wake, who would ask for it one after the other
            await self.told(page, look, "end" if stored.job.state.final else "job", base_url)
        return look

    def _fresh(self, page: _Page) -> _Look | None:
        known = page.look
        if known is None or known.after != page.told or self._clock.monotonic() - known.at >= FRESH:
            return None
        return known

    async def told(self, page: _Page, look: _Look, kind: Literal["job", "end"], base_url: str | None) -> StreamEvent:
        """What callers are told of a look, made once for all who use the same base url."""

        async def make() -> StreamEvent:
            view = await self._show(look.stored, base_url)
            return StreamEvent(type=kind, seq=look.stored.seq, job_id=view.job_id, job=view)

        return await told_once(page, look.told, (kind, base_url), make)

    def _hear(self, event: Event) -> None:
        if isinstance(event, JobProgressed | BackendChanged):
            return
        page = self._pages.get(event.job_id)
        if page is not None:
            page.told += 1


class _Reader:
    """One of them."""

    def __init__(self, watching: Watching, page: _Page, subscription: Subscription, base_url: str | None) -> None:
        self._watching = watching
        self._page = page
        self._subscription = subscription
        self._base_url = base_url

    async def stream(self, look: _Look, after: int | None, grace: float) -> AsyncGenerator[StreamEvent, None]:
        stored = look.stored
        job_id = stored.job.job_id
        if not stored.job.state.final or after is None or after < stored.seq:
            yield await self._tell("job", look)
        while not stored.job.state.final:
            event = await self._subscription.next()
            if isinstance(event, JobProgressed):
                yield self._page.progress(event, stored.seq)
                continue
            if isinstance(event, JobChanged) and event.seq <= stored.seq:
                continue
            seen, look = stored.seq, await self._watching.look(self._page, job_id)
            stored = look.stored
            if not stored.job.state.final and stored.seq > seen:
                yield await self._tell("job", look)
        if not stored.delivered and grace:
            await self._wait_for_delivery(grace)
            look = await self._watching.look(self._page, job_id)
        yield await self._tell("end", look)

    async def _tell(self, kind: Literal["job", "end"], look: _Look) -> StreamEvent:
        return await self._watching.told(self._page, look, kind, self._base_url)

    async def _wait_for_delivery(self, grace: float) -> None:
        """Until the files stand in Outbox, or that takes long."""
        with anyio.move_on_after(grace):
            while not isinstance(await self._subscription.next(), JobDelivered):
                pass


def _progress(event: JobProgressed, seq: int) -> StreamEvent:
    return StreamEvent(
        type="progress",
        seq=seq,
        job_id=event.job_id,
        progress=event.fraction,
        node=event.node,
        value=event.value,
        max=event.maximum,
    )
