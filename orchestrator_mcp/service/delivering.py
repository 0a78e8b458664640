"""Finished jobs, as the Outbox gets them: all that a result folder holds, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.deliveries import Delivery, DeliveryFile
from orchestrator_mcp.domain.events import JobDelivered
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.text import without_secrets
from orchestrator_mcp.events import Events
from orchestrator_mcp.service.acceptance import resolved_graph
from orchestrator_mcp.service.deliveries import DeliveryQueue
from orchestrator_mcp.service.showing import Live, job_view, last_report, timings
from orchestrator_mcp.store import JobStore, StoredJob


class JobDeliveries:
    """What is to be delivered, and what became of it.

    Args:
        store: where jobs live.
        artifacts: where their files lie.
        events: is told of each delivery, and tells of ended jobs.
        clock: paces the retries.
        every_job: whether jobs are delivered whichever door they came through.
        base_url: what urls begin with.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        artifacts: ArtifactStore,
        events: Events,
        clock: Clock,
        every_job: Callable[[], bool],
        base_url: str,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._events = events
        self._every_job = every_job
        self._base_url = base_url
        self._queue = DeliveryQueue(clock)
        events.listen(self._queue.hear)

    @property
    def problems(self) -> list[str]:
        """Why deliveries were put off, each reason once."""
        return self._queue.problems

    async def due(self, limit: int) -> list[Delivery]:
        """See `JobService.next_deliveries`."""
        while True:
            job_ids = await self._queue.due(self._store, limit)
            if job_ids:
                return [await self._delivery(await self._store.job(job_id)) for job_id in job_ids]
            await self._queue.wait()

    async def record(self, job_id: str, folder: Path | None) -> None:
        """See `JobService.record_delivery`."""
        await self._store.record_delivery(job_id, str(folder) if folder is not None else None)
        self._queue.done(job_id)
        self._events.publish(JobDelivered(job_id=job_id))

    def put_off(self, job_id: str, reason: str) -> None:
        """See `JobService.put_off_delivery`."""
        self._queue.put_off(job_id, reason)

    async def _delivery(self, stored: StoredJob) -> Delivery:
        job = stored.job
        history = await self._store.history(stored.row)
        document = await self._store.document(stored.row)
        return Delivery(
            job=job_view(job, Live(), self._base_url),
            stem=job.stem,
            to_outbox=self._every_job() or stored.claim is not None or job.door is Door.INBOX,
            files=tuple(
                DeliveryFile(
                    name=artifact.name,
                    source=self._artifacts.path_of(artifact.sha256),
                    size=artifact.size,
                    sha256=artifact.sha256,
                )
                for artifact in job.outputs
            ),
            graph=without_secrets(resolved_graph(document, stored.spec)),
            timings=timings(job, history),
            report=last_report(job),
            claim=stored.claim,
        )
