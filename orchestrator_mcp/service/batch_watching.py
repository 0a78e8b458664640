"""Follow batches: any change of any job may be one of theirs, so readers look again, together and not too often."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import anyio

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.batch_views import BatchEvent, BatchView
from orchestrator_mcp.domain.events import BackendChanged, Event
from orchestrator_mcp.events import Events
from orchestrator_mcp.service.pages import Page, Pages, told_once
from orchestrator_mcp.store import JobStore, StoredBatch

PAUSE: Final = 0.2  # seconds between two messages to a reader
SLOW_LOOK: Final = 10.0  # seconds after which the store is asked without an event

Show = Callable[[StoredBatch, str | None], Awaitable[BatchView]]


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What the store said once.

    Attributes:
        stored: the batch.
        at: when, in seconds of the monotonic clock.
        heard: how many events had been heard before it.
        told: what callers are told of it, by kind and the base url they use.
    """

    stored: StoredBatch
    at: float
    heard: int
    told: dict[tuple[str, str | None], BatchEvent] = field(default_factory=dict)


class _Page(Page):
    """What the readers of one batch share."""

    def __init__(self) -> None:
        super().__init__()
        self.look: _Look | None = None


class BatchWatching:
    """The readers of all batches: a thousand of one batch cost five reads of the store in a second.

    Args:
        store: the truth.
        events: the hints.
        clock: the time.
        show: makes the view of a batch, for a base url.
    """

    def __init__(self, store: JobStore, events: Events, clock: Clock, show: Show) -> None:
        self._store = store
        self._clock = clock
        self._show = show
        self._pages = Pages(_Page)
        self._heard = 0
        self._wake = anyio.Event()
        events.listen(self._hear)

    @asynccontextmanager
    async def watch(
        self, batch_id: str, *, after: int | None, base_url: str | None
    ) -> AsyncIterator[AsyncIterator[BatchEvent]]:
        """Follow a batch: where it stands first, then whenever that changes, `end` last.

        Args:
            batch_id: the batch.
            after: history row that the reader has seen; an ended batch that it has seen whole gives `end` alone.
            base_url: what urls begin with.

        Raises:
            NotFoundError: on entering, when there is no such batch.
        """
        with self._pages.opened(batch_id) as page:
            first = await self._look(page, batch_id)
            stream = self._stream(page, batch_id, first, after, base_url)
            try:
                yield stream
            finally:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()

    async def _stream(
        self, page: _Page, batch_id: str, look: _Look, after: int | None, base_url: str | None
    ) -> AsyncGenerator[BatchEvent, None]:
        told: BatchEvent | None = None
        if not look.stored.over or after is None or after < look.stored.seq:
            told = await self._told(page, look, "batch", base_url)
            yield told
        while not look.stored.over:
            if look.heard == self._heard:
                with anyio.move_on_after(SLOW_LOOK):
                    await self._wake.wait()
            await self._clock.sleep(PAUSE)
            look = await self._look(page, batch_id)
            if look.stored.over:
                break
            event = await self._told(page, look, "batch", base_url)
            if told is None or event.batch != told.batch:
                told = event
                yield event
        yield await self._told(page, look, "end", base_url)

    async def _look(self, page: _Page, batch_id: str) -> _Look:
        """What the store says, at most a moment ago."""
        async with page.lock:
            now = self._clock.monotonic()
            if page.look is None or now - page.look.at >= PAUSE / 2:
                heard = self._heard
                page.look = _Look(stored=await self._store.batches.batch(batch_id), at=now, heard=heard)
            return page.look

    async def _told(self, page: _Page, look: _Look, kind: Literal["batch", "end"], base_url: str | None) -> BatchEvent:
        async def make() -> BatchEvent:
            view = await self._show(look.stored, base_url)
            return BatchEvent(type=kind, seq=look.stored.seq, batch_id=view.batch_id, batch=view)

        return await told_once(page, look.told, (kind, base_url), make)

    def _hear(self, event: Event) -> None:
        if self._pages and not isinstance(event, BackendChanged):
            self._heard += 1
            self._wake.set()
            self._wake = anyio.Event()
