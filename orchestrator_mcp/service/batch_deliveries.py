"""Finished batches, as the Outbox gets them: a contact sheet, and a line for each job."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.deliveries import BatchDelivery, BatchLine, DeliveredName
from orchestrator_mcp.domain.events import Event, JobDelivered
from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.domain.text import told, without_secrets
from orchestrator_mcp.errors import NoPreviewError
from orchestrator_mcp.events import Events
from orchestrator_mcp.previews.pictures import Picture
from orchestrator_mcp.service.deliveries import Deliveries
from orchestrator_mcp.store import BatchJob, JobStore, StoredBatch

log = logging.getLogger(__name__)

AT_ONCE: Final = 4  # each holds the picture of its sheet


class BatchDeliveries(Deliveries[BatchDelivery]):
    """Ended batches that are not delivered; a batch is due after its jobs.

    Args:
        store: where batches live.
        events: tells of delivered jobs.
        clock: paces the retries.
        every_batch: whether batches are delivered whichever door they came through.
        show: gives the view of a batch.
        draw: draws its contact sheet.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        events: Events,
        clock: Clock,
        every_batch: Callable[[], bool],
        show: Callable[[StoredBatch], Awaitable[BatchView]],
        draw: Callable[[StoredBatch], Awaitable[Picture]],
    ) -> None:
        super().__init__(clock, at_once=AT_ONCE)
        self._batches = store.batches
        self._every_batch = every_batch
        self._show = show
        self._draw = draw
        events.listen(self._hear)

    async def _undelivered(self, limit: int) -> list[str]:
        return await self._batches.undelivered(limit=limit)

    async def _put_on_record(self, name: str, folder: Path | None) -> None:
        await self._batches.record_delivery(name, str(folder) if folder is not None else None)

    async def _load(self, name: str) -> BatchDelivery:
        stored = await self._batches.batch(name)
        to_outbox = self._every_batch() or stored.claim is not None
        jobs = await self._batches.jobs(stored.row) if to_outbox else []
        return BatchDelivery(
            batch=await self._show(stored),
            stem=stored.stem,
            to_outbox=to_outbox,
            sheet=await self._sheet(stored) if to_outbox else None,
            lines=tuple(_line(one, stored.spec.varies) for one in jobs),
            claim=stored.claim,
        )

    async def _sheet(self, stored: StoredBatch) -> bytes | None:
        if not stored.counts.get(JobState.COMPLETED):
            return None
        try:
            return (await self._draw(stored)).data
        except NoPreviewError as error:
            log.warning("no contact sheet of %s: %s", stored.batch_id, error)
            return None

    def _hear(self, event: Event) -> None:
        if isinstance(event, JobDelivered):
            self.wake()


def _line(one: BatchJob, varies: Sequence[str]) -> BatchLine:
    shown = without_secrets({name: one.spec.parameters[name] for name in varies if name in one.spec.parameters})
    return BatchLine(
        job_id=one.job_id,
        parameters=shown,
        seeds=one.spec.seeds,
        status=one.state.status,
        error=told(one.failure.message) if one.failure else None,
        folder=Path(one.delivery_path).name if one.delivery_path else None,
        files=tuple(DeliveredName(name=file.name, size=file.size, sha256=file.sha256) for file in one.outputs),
    )
