"""A farm of one job in memory, for tests that are about translation and transport only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio

from orchestrator_mcp.domain.access import LOCAL, Caller
from orchestrator_mcp.domain.batch_views import BatchAcceptedView
from orchestrator_mcp.domain.batches import extent
from orchestrator_mcp.domain.events import Event, JobDelivered
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import (
    AcceptedView,
    BackendView,
    JobListView,
    JobView,
    OutputView,
    ParameterView,
    StreamEvent,
    WorkflowView,
)
from orchestrator_mcp.errors import JobFinishedError, NotFoundError
from orchestrator_mcp.service import JobService, OutputFile, Submission
from orchestrator_mcp.service.batches import BatchService

JOB = "01997b1e-0000-7000-8000-00000000abcd"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def picture(base_url: str | None, name: str = "shot_00001_.png") -> OutputView:
    return OutputView(
        name=name,
        node="9",
        kind="image",
        media_type="image/png",
        size=1234,
        sha256="ab" * 32,
        url=f"{base_url or 'http://configured'}/api/job/{JOB}/outputs/{name}",
        path=f"/farm/Outbox/shot__0000abcd/{name}",
    )


class BatchesDouble(BatchService):
    """Takes batches in."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self._manifests = manifests

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> BatchAcceptedView:
        self._manifests.append(wanted.manifest)
        count = extent(wanted.manifest.batch or {})
        return BatchAcceptedView(batch_id="batch-1", count=count, job_ids=[JOB], submitted_at=AT)


class ServiceDouble(JobService):
    """Knows one job; `change` moves it on, and every watcher hears of it."""

    def __init__(self) -> None:
        self.view = JobView(job_id=JOB, status="queued", workflow_id="shot", submitted_at=AT, queue_position=1)
        self.submitted: list[Submission] = []
        self.any_job = False
        self.batch_manifests: list[Manifest] = []
        self.batches = BatchesDouble(self.batch_manifests)
        self.files: dict[str, OutputFile] = {}
        self.listeners: list[Callable[[Event], None]] = []
        self.failure: Exception | None = None
        self.gate: anyio.Event | None = None  # what a submission waits for
        self.entered = anyio.Event()
        self.library = [
            WorkflowView(
                id="my_workflow_001",
                title="Text to image",
                node_classes=["KSampler"],
                parameters=[ParameterView(name="prompt", type="string", default="a cat", targets=["6.text"])],
            ),
            WorkflowView(id="upscale", node_classes=["ImageScaleBy"]),
        ]
        self.farm = [BackendView(id="gpu0", name="Beast", host="127.0.0.1", port=8188, online=True, status="idle")]
        self.listed: list[JobView] = []
        self.listings: list[dict[str, Any]] = []
        self._changed = anyio.Event()
        self.watched = anyio.Event()

    @property
    def confirm_jobs(self) -> int:
        return 10

    def listen(self, listener: Callable[[Event], None]) -> None:
        self.listeners.append(listener)

    def change(self, **fields: Any) -> None:
        self.view = self.view.model_copy(update=fields)
        for listener in self.listeners:
            listener(JobDelivered(job_id=JOB))
        self._changed.set()
        self._changed = anyio.Event()

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> AcceptedView:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.submitted.append(wanted)
        return AcceptedView(job_id=JOB, submitted_at=AT)

    async def job(self, job_id: str, *, base_url: str | None = None) -> JobView:
        if self.any_job:
            return self.view.model_copy(update={"job_id": job_id})
        if job_id != JOB:
            raise NotFoundError("job", job_id)
        done = self.view.status == "completed" and not self.view.outputs
        return self.view.model_copy(update={"outputs": [picture(base_url)]}) if done else self.view

    async def cancel(self, job_id: str, *, by: Caller = LOCAL, base_url: str | None = None) -> JobView:
        view = await self.job(job_id, base_url=base_url)
        if view.status == "completed":
            raise JobFinishedError(job_id, view.status)
        self.change(status="cancelled")
        return self.view

    @asynccontextmanager
    async def watch(
        self, job_id: str, *, by: Caller = LOCAL, after: int | None = None, base_url: str | None = None
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        await self.job(job_id)
        yield self._told(base_url)

    async def _told(self, base_url: str | None) -> AsyncIterator[StreamEvent]:
        while True:
            changed = self._changed
            view = await self.job(JOB, base_url=base_url)
            final = view.status in ("completed", "failed", "cancelled")
            yield StreamEvent(type="end" if final else "job", seq=1, job=view, job_id=JOB)
            if final:
                return
            self.watched.set()
            await changed.wait()

    async def jobs(self, **wanted: Any) -> JobListView:
        self.listings.append(wanted)
        begin, end = int(wanted.get("cursor") or 0), len(self.listed)
        upto = min(begin + wanted["limit"], end)
        return JobListView(jobs=self.listed[begin:upto], next_cursor=str(upto) if upto < end else None)

    def backends(self) -> list[BackendView]:
        return self.farm

    def backend(self, backend_id: str) -> BackendView:
        for view in self.farm:
            if view.id == backend_id:
                return view
        raise NotFoundError("backend", backend_id)

    async def outputs(self, job_id: str, *, base_url: str | None = None) -> list[OutputView]:
        return (await self.job(job_id, base_url=base_url)).outputs

    async def output_file(self, job_id: str, name: str) -> OutputFile:
        await self.job(job_id)
        if name not in self.files:
            raise NotFoundError("output", name)
        return self.files[name]

    async def workflows(self) -> list[WorkflowView]:
        return self.library
