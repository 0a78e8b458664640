"""Follow one job: events wake the reader, the store says what is true."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

from orchestrator_mcp.domain.events import JobChanged, JobDelivered, JobProgressed
from orchestrator_mcp.domain.views import JobView, StreamEvent
from orchestrator_mcp.events import Events, Subscription
from orchestrator_mcp.store import JobStore, StoredJob

SLOW_LOOK: Final = 10.0  # seconds without an event after which the store is asked anyway


@asynccontextmanager
async def watch_job(
    store: JobStore,
    events: Events,
    show: Callable[[StoredJob], Awaitable[JobView]],
    job_id: str,
    *,
    after: int | None = None,
    delivery_grace: float = 0.0,
) -> AsyncIterator[AsyncIterator[StreamEvent]]:
    """See `JobService.watch`.

    Args:
        store: the truth.
        events: the hints.
        show: makes the view of a job.
        job_id: the job.
        after: history row that the reader has seen; an ended job that it has seen whole gives `end` alone.
        delivery_grace: seconds that `end` waits for the files to stand in Outbox, so that it can name them.
    """
    with events.subscribe(job_id) as subscription:
        first = await store.job(job_id)
        stream = _stream(store, subscription, show, first, after, delivery_grace)
        try:
            yield stream
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()


async def _stream(
    store: JobStore,
    subscription: Subscription,
    show: Callable[[StoredJob], Awaitable[JobView]],
    stored: StoredJob,
    after: int | None,
    delivery_grace: float,
) -> AsyncGenerator[StreamEvent, None]:
    job_id = stored.job.job_id
    if not stored.job.state.final or after is None or after < stored.seq:
        yield StreamEvent(type="job", seq=stored.seq, job_id=job_id, job=await show(stored))
    while not stored.job.state.final:
        event = await _next(subscription)
        if isinstance(event, JobDelivered):
            continue
        if isinstance(event, JobProgressed):
            yield StreamEvent(
                type="progress",
                seq=stored.seq,
                job_id=job_id,
                progress=event.fraction,
                node=event.node,
                value=event.value,
                max=event.maximum,
            )
            continue
        if event is not None and event.seq <= stored.seq:
            continue
        seen, stored = stored.seq, await store.job(job_id)
        if not stored.job.state.final and stored.seq > seen:
            yield StreamEvent(type="job", seq=stored.seq, job_id=job_id, job=await show(stored))
    if not stored.delivered:
        stored = await _delivered(store, subscription, stored, delivery_grace)
    yield StreamEvent(type="end", seq=stored.seq, job_id=job_id, job=await show(stored))


async def _delivered(store: JobStore, subscription: Subscription, stored: StoredJob, grace: float) -> StoredJob:
    """The job with its files in Outbox, or as it is when that takes long."""
    with anyio.move_on_after(grace):
        while not isinstance(await subscription.next(), JobDelivered):
            pass
    return await store.job(stored.job.job_id) if grace else stored


async def _next(subscription: Subscription) -> JobChanged | JobDelivered | JobProgressed | None:
    with anyio.move_on_after(SLOW_LOOK):
        return await subscription.next()
    return None
