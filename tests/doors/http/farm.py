"""An in-memory service for what only the door does: statuses, headers, streams. It renders nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from orchestrator_mcp.domain.access import LOCAL, Caller
from orchestrator_mcp.domain.assets import Asset
from orchestrator_mcp.domain.batch_views import BatchAcceptedView
from orchestrator_mcp.domain.dry_runs import DryRunView
from orchestrator_mcp.domain.views import (
    AcceptedView,
    BackendView,
    HealthView,
    JobListView,
    JobView,
    OutputView,
    StreamEvent,
    WorkflowView,
)
from orchestrator_mcp.errors import JobFinishedError, NotFoundError
from orchestrator_mcp.previews.pictures import Picture
from orchestrator_mcp.service import JobPreview, JobService, KeptAsset, OutputFile, Submission
from orchestrator_mcp.service.batches import BatchService
from orchestrator_mcp.service.showing import asset_view

JOB = "019ab0c4-8e6f-7a31-9c1d-5f0e2b7a6c42"
BATCH = f"batch-{JOB}"
THEN = datetime(2026, 1, 28, 12, 0, tzinfo=UTC)
SHA = "5f2b0a7d6f0e4b5f9d3e7c1a2b4d6f8091a3c5e7092b4d6f81a3c5e7f9b1d3e5"


@dataclass
class Stage:
    """What a job's listeners are told, and what wakes them."""

    told: list[StreamEvent] = field(default_factory=list)
    more: anyio.Event = field(default_factory=anyio.Event)


class BatchDouble(BatchService):
    """Answers from what a test laid into it.

    Attributes:
        submitted: every submission.
    """

    def __init__(self) -> None:
        self.submitted: list[Submission] = []

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> BatchAcceptedView:
        self.submitted.append(wanted)
        return BatchAcceptedView(
            batch_id=BATCH, count=24, job_ids=[JOB], submitted_at=THEN, warnings=list(wanted.warnings), links={}
        )


class ServiceDouble(JobService):
    """Answers from what a test laid into it.

    Attributes:
        raises: name of a method -> what it raises.
        submitted: every submission.
        asked: the arguments of every `jobs` and `preview` call.
        listeners: streams that are open now.
        assets: what was uploaded last, by the one sha256 that there is here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raises: dict[str, Exception] = {}
        self.submitted: list[Submission] = []
        self.asked: list[dict[str, Any]] = []
        self.listeners = 0
        self.batches = BatchDouble()
        self.assets: dict[str, bytes] = {}
        self._jobs: dict[str, JobView] = {}
        self._files: dict[str, OutputFile] = {}
        self._stages: dict[str, Stage] = {}
        self.put(JobView(job_id=JOB, status="running", workflow_id="shot", submitted_at=THEN))

    def put(self, job: JobView) -> None:
        """Let a job be as this view says."""
        self._jobs[job.job_id] = job

    def add_file(self, name: str, content: bytes, media_type: str = "image/png") -> None:
        """Give the job an output."""
        path = self.folder / f"artifact-{len(self._files)}"
        path.write_bytes(content)
        view = OutputView(
            name=name, node="9", kind="image", media_type=media_type, size=len(content), sha256=SHA, url=f"/{name}"
        )
        self._files[name] = OutputFile(view=view, path=path)

    def tell(self, *events: StreamEvent) -> None:
        """Tell the job's listeners, the present and the future ones."""
        stage = self._stages.setdefault(JOB, Stage())
        stage.told.extend(events)
        stage.more.set()
        stage.more = anyio.Event()

    def _check(self, method: str) -> None:
        if method in self.raises:
            raise self.raises[method]

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> AcceptedView:
        self._check("submit")
        self.submitted.append(wanted)
        return AcceptedView(
            job_id=JOB, submitted_at=THEN, warnings=list(wanted.warnings), links={"self": f"{base_url}/x"}
        )

    async def try_out(self, wanted: Submission) -> DryRunView:
        self._check("try_out")
        return DryRunView(
            workflow_id=wanted.manifest.workflow_id or "workflow",
            parameters=dict(wanted.manifest.parameters),
            seeds={},
            graph={},
            warnings=list(wanted.warnings),
            backends=[],
            would_wait=True,
        )

    async def keep_asset(
        self, chunks: AsyncIterator[bytes], *, name_hint: str = "", by: Caller = LOCAL, base_url: str | None = None
    ) -> KeptAsset:
        self._check("keep_asset")
        content = b"".join([chunk async for chunk in chunks])
        asset = Asset(sha256=SHA, extension="png", kind="image", media_type="image/png", size=len(content))
        known, self.assets[SHA] = SHA in self.assets, content
        return KeptAsset(view=asset_view(asset, base_url or ""), known=known)

    async def asset_file(self, sha256: str) -> OutputFile:
        if sha256 not in self.assets:
            raise NotFoundError("asset", sha256)
        path = self.folder / "asset"
        path.write_bytes(self.assets[sha256])
        size = len(self.assets[sha256])
        view = OutputView(
            name="a.png", node="", kind="image", media_type="image/png", size=size, sha256=sha256, url="/a"
        )
        return OutputFile(view=view, path=path)

    async def job(self, job_id: str, *, base_url: str | None = None) -> JobView:
        self._check("job")
        if job_id not in self._jobs:
            raise NotFoundError("job", job_id, known=self._jobs)
        return self._jobs[job_id].model_copy(update={"links": {"self": f"{base_url}/api/job/{job_id}"}})

    async def jobs(self, *, base_url: str | None = None, **asked: Any) -> JobListView:
        self._check("jobs")
        self.asked.append(asked)
        return JobListView(jobs=list(self._jobs.values()), next_cursor="next")

    async def outputs(self, job_id: str, *, base_url: str | None = None) -> list[OutputView]:
        await self.job(job_id)
        return [file.view for file in self._files.values()]

    async def output_file(self, job_id: str, name: str) -> OutputFile:
        self._check("output_file")
        await self.job(job_id)
        if name not in self._files:
            raise NotFoundError("output", name, known=self._files)
        return self._files[name]

    async def preview(
        self, *job_ids: str, name: str | None = None, longest: int | None = None, base_url: str | None = None
    ) -> JobPreview:
        self._check("preview")
        for job_id in job_ids:
            await self.job(job_id)
        self.asked.append({"name": name, "longest": longest})
        picture = Picture(data=b"jpeg bytes", media_type="image/jpeg", width=8, height=8)
        return JobPreview(picture=picture, text="", settled=is_ended(self._jobs[job_ids[0]]))

    async def cancel(self, job_id: str, *, by: Caller = LOCAL, base_url: str | None = None) -> JobView:
        job = await self.job(job_id)
        self._check("cancel")
        if job.status in {"completed", "failed"}:
            raise JobFinishedError(job_id, job.status)
        return job

    @asynccontextmanager
    async def watch(
        self, job_id: str, *, by: Caller = LOCAL, after: int | None = None, base_url: str | None = None
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        job = await self.job(job_id, base_url=base_url)
        self.listeners += 1
        try:
            yield self._tellings(job)
        finally:
            self.listeners -= 1

    async def _tellings(self, job: JobView) -> AsyncIterator[StreamEvent]:
        stage = self._stages.setdefault(JOB, Stage())
        if job.status in {"completed", "failed", "cancelled"}:
            yield StreamEvent(type="end", seq=9, job_id=JOB, job=job)
            return
        yield StreamEvent(type="job", seq=1, job_id=JOB, job=job)
        read = 0
        while True:
            while read < len(stage.told):
                event = stage.told[read]
                read += 1
                yield event
                if event.type == "end":
                    return
            self._check("watch")
            await stage.more.wait()

    def backends(self) -> list[BackendView]:
        self._check("backends")
        return [BackendView(id="node1", name="Beast (5090)", host="192.168.1.100", port=8188)]

    def backend(self, backend_id: str) -> BackendView:
        found = {view.id: view for view in self.backends()}
        if backend_id not in found:
            raise NotFoundError("backend", backend_id, known=found)
        return found[backend_id]

    async def workflows(self) -> list[WorkflowView]:
        return [WorkflowView(id="my_workflow_001")]

    async def workflow(self, workflow_id: str) -> WorkflowView:
        found = {view.id: view for view in await self.workflows()}
        if workflow_id not in found:
            raise NotFoundError("workflow", workflow_id, known=found)
        return found[workflow_id]

    async def health(self) -> HealthView:
        return HealthView(timestamp=THEN, backends_online=1, version="1.2.3")


def is_ended(job: JobView) -> bool:
    return job.status in {"completed", "failed", "cancelled"}


def finished(farm: ServiceDouble) -> JobView:
    """Let the job be completed, and give its view."""
    job = JobView(job_id=JOB, status="completed", workflow_id="shot", submitted_at=THEN, progress=1.0)
    farm.put(job)
    return job
