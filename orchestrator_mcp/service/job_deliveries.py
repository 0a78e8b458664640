"""Finished jobs, as the Outbox gets them: all that a result folder holds, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.deliveries import Delivery, DeliveryFile
from orchestrator_mcp.domain.events import Event, JobChanged, JobDelivered
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.text import without_secrets
from orchestrator_mcp.events import Events
from orchestrator_mcp.service.acceptance import resolved_graph
from orchestrator_mcp.service.deliveries import Deliveries
from orchestrator_mcp.service.showing import Live, job_view, last_report, timings
from orchestrator_mcp.store import JobStore

AT_ONCE: Final = 20


class JobDeliveries(Deliveries[Delivery]):
    """Finished jobs that are not delivered.

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
        super().__init__(clock, at_once=AT_ONCE)
        self._store = store
        self._artifacts = artifacts
        self._events = events
        self._every_job = every_job
        self._base_url = base_url
        events.listen(self._hear)

    async def _undelivered(self, limit: int) -> list[str]:
        return await self._store.undelivered(limit=limit)

    async def _put_on_record(self, name: str, folder: Path | None) -> None:
        await self._store.record_delivery(name, str(folder) if folder is not None else None)
        self._events.publish(JobDelivered(job_id=name))

    async def _load(self, name: str) -> Delivery:
        whole = await self._store.job_with_story(name)
        stored, job = whole.stored, whole.stored.job
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
            graph=without_secrets(resolved_graph(whole.document, stored.spec)),
            timings=timings(job, whole.history),
            report=last_report(job),
            claim=stored.claim,
        )

    def _hear(self, event: Event) -> None:
        if isinstance(event, JobChanged) and event.state.final:
            self.wake()
