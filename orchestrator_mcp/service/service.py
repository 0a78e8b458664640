"""All that a door may call. A door parses, calls one of these once, and renders the answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final

from orchestrator_mcp.domain.access import LOCAL, Caller
from orchestrator_mcp.domain.dry_runs import DryRunView
from orchestrator_mcp.domain.events import Event
from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.domain.parameter_schema import object_schema
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
from orchestrator_mcp.errors import ForbiddenError, ManifestError, NotFoundError, OrchestratorError, StorageError
from orchestrator_mcp.service.batches import BatchService
from orchestrator_mcp.service.files import Files, KeptAsset, OutputFile
from orchestrator_mcp.service.job_deliveries import JobDeliveries
from orchestrator_mcp.service.listing import row_before, states_of
from orchestrator_mcp.service.node_classes import NodeClasses, node_classes
from orchestrator_mcp.service.operators import Operators
from orchestrator_mcp.service.parts import ServiceParts
from orchestrator_mcp.service.previewing import JobPreview, Previewing
from orchestrator_mcp.service.showing import (
    accepted_view,
    backend_view,
    health_view,
    job_view,
    workflow_view,
)
from orchestrator_mcp.service.submission import Submission
from orchestrator_mcp.service.waiting import Waiting
from orchestrator_mcp.service.watching import Watching
from orchestrator_mcp.service.way_in import way_in
from orchestrator_mcp.store import JobFilter, StoredJob

log = logging.getLogger(__name__)

DELIVERY_GRACE: Final = 2.0  # seconds that a stream's last word waits for the files in Outbox


class JobService:
    """The one object behind every door.

    `base_url` is what output urls begin with (`http://host:port`, no slash at the end); without it the configured
    public url is taken.

    Args:
        parts: what it works with.

    Attributes:
        batches: the same, for batches.
        operators: what operators do with backends.
        deliveries: finished jobs that Outbox has not got yet.
        condition: what is wrong with the house now.
    """

    def __init__(self, parts: ServiceParts) -> None:
        store, pool, events, clock, settings = parts.store, parts.pool, parts.events, parts.clock, parts.settings
        self._parts = parts
        self._store = store
        self._began = clock.monotonic()
        self._delivery_grace = 0.0
        server = settings.now.server
        self.base_url = server.public_url or f"http://{server.host}:{server.port}"
        entry = way_in(parts)
        self._gate, self.condition = entry.gate, entry.condition
        self._submissions, self._dry_runs = entry.jobs, entry.dry_runs
        self._served = Files(
            store=store, artifacts=parts.artifacts, inputs=entry.inputs, gate=entry.gate, condition=entry.condition
        )
        self._watching = Watching(store, events, clock, self._show)
        self._previewing = Previewing(store=store, pool=pool, artifacts=parts.artifacts)
        self._waiting = Waiting(lanes=store.lanes, pool=pool, running=parts.running, events=events, clock=clock)
        self.operators = Operators(store=store, pool=pool, running=parts.running, clock=clock)
        self.batches = BatchService(
            parts, entry=entry, waiting=self._waiting, previewing=self._previewing, base_url=self.base_url
        )
        self.deliveries = JobDeliveries(
            store=store,
            artifacts=parts.artifacts,
            events=events,
            clock=clock,
            every_job=lambda: settings.now.outbox == "all",
            base_url=self.base_url,
        )

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> AcceptedView:
        """Check a manifest, store it durably and queue it.

        The same idempotency key and manifest, or the same claim, give the same job again.

        Args:
            wanted: a manifest, and how it came.
            base_url: see the class.

        Raises:
            ManifestError: a field, parameter or the graph is wrong, or no backend can run it (`NoBackendCanError`).
            NotFoundError: no such workflow.
            IdempotencyConflict: the key came before with another manifest.
            TooLargeError: the graph is over its limit.
            TooManyError: this caller is too fast, or as many jobs wait as may.
            StorageError: it cannot be stored now.
        """
        return accepted_view(await self._submissions.submit(wanted), base_url or self.base_url)

    async def submit_each(self, several: Sequence[Submission]) -> list[AcceptedView | OrchestratorError]:
        """Do with each manifest what `submit` does, and store all that pass in one transaction.

        Args:
            several: manifests, and how each came.

        Returns:
            For each its answer, or what `submit` would have raised.

        Raises:
            StorageError: nothing is stored any more.
        """
        answers = await self._submissions.submit_each(several)
        return [one if isinstance(one, OrchestratorError) else accepted_view(one, self.base_url) for one in answers]

    async def try_out(self, wanted: Submission) -> DryRunView:
        """Say what a manifest would become and who could render it; queue nothing. See `submit` and `DryRuns`."""
        return await self._dry_runs.try_out(wanted)

    async def job(self, job_id: str, *, base_url: str | None = None) -> JobView:
        """The present state of a job. Raises NotFoundError."""
        stored, position = await self._store.standing_job(job_id)
        return await self._view(stored, {stored.row: position}, base_url)

    async def jobs(
        self,
        *,
        status: Sequence[str] = (),
        workflow_id: str | None = None,
        backend_id: str | None = None,
        source: str | None = None,
        batch_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        base_url: str | None = None,
    ) -> JobListView:
        """A page of jobs, newest first.

        Args:
            status: only these wire states (`queued`, `running`, …); all when empty.
            workflow_id: only jobs of this workflow.
            backend_id: only jobs whose present or last backend it is.
            source: only jobs whose `metadata.source` is this.
            batch_id: only jobs of this batch, those that a retry replaced too.
            limit: 1 to 500.
            cursor: `next_cursor` of the page before.

        Raises:
            ManifestError: a status, limit or cursor that does not exist (422).
        """
        states = tuple(state for name in status for state in states_of(name))
        most = self._parts.settings.now.limits.page
        if not 1 <= limit <= most:
            raise ManifestError.at("limit", message=f"found {limit}; a whole number from 1 to {most} is needed")
        wanted = JobFilter(
            states=states, workflow_id=workflow_id, backend_id=backend_id, source=source, batch_id=batch_id
        )
        stored = await self._store.jobs(wanted, before=row_before(cursor), limit=limit + 1)
        page = stored[:limit]
        queued = [one.place for one in page if one.job.state is JobState.QUEUED]
        known = await self._waiting.live(page, await self._store.positions(queued))
        return JobListView(
            jobs=[job_view(one.job, live, base_url or self.base_url) for one, live in zip(page, known, strict=True)],
            next_cursor=str(page[-1].row) if len(stored) > limit else None,
        )

    async def outputs(self, job_id: str, *, base_url: str | None = None) -> list[OutputView]:
        """The verified files of a job; empty until it is completed. Raises NotFoundError."""
        return await self._served.outputs(job_id, base_url or self.base_url)

    async def output_file(self, job_id: str, name: str) -> OutputFile:
        """One file to serve. Raises NotFoundError."""
        return await self._served.output(job_id, name, self.base_url)

    async def keep_asset(
        self, chunks: AsyncIterator[bytes], *, name_hint: str = "", by: Caller = LOCAL, base_url: str | None = None
    ) -> KeptAsset:
        """Take in a file that renders may begin with.

        Args:
            chunks: its bytes.
            name_hint: what its sender calls it; only tells kinds of text apart.
            by: who sends it.
            base_url: see the class.

        Raises:
            ManifestError: it is no whole picture, video or sound, or too large.
            TooManyError: this caller is too fast.
            StorageError: it cannot be kept now.
        """
        return await self._served.keep(chunks, name_hint=name_hint, by=by, base_url=base_url or self.base_url)

    async def asset_file(self, sha256: str) -> OutputFile:
        """One input file to serve. Raises NotFoundError."""
        return await self._served.asset(sha256, self.base_url)

    async def preview(
        self, *job_ids: str, name: str | None = None, longest: int | None = None, base_url: str | None = None
    ) -> JobPreview:
        """Look at a job, at one of its outputs, or at several jobs side by side; see `Previewing.preview`."""
        base_url = base_url or self.base_url
        return await self._previewing.preview(job_ids, name=name, longest=longest, base_url=base_url)

    async def cancel(self, job_id: str, *, by: Caller = LOCAL, base_url: str | None = None) -> JobView:
        """Ask for the end of a job; the answer shows how far that has come.

        Args:
            job_id: the job.
            by: who asks.
            base_url: see the class.

        Raises:
            NotFoundError: no such job.
            ForbiddenError: it is somebody else's.
            JobFinishedError: it has completed or failed.
        """
        owner = (await self._store.job(job_id)).job.owner
        if not by.may_end(owner):
            raise ForbiddenError(
                f"The job {job_id} belongs to {owner!r}: only its owner or an admin may cancel it.",
                hint="Use the token that it was submitted with, or one with the scope admin.",
            )
        await self._store.request_cancel(job_id, self._parts.clock.now())
        log.info("cancel requested by %s", by.name, extra={"job_id": job_id})
        return await self.job(job_id, base_url=base_url)

    @asynccontextmanager
    async def watch(
        self, job_id: str, *, by: Caller = LOCAL, after: int | None = None, base_url: str | None = None
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """Follow a job: the present state first, then each change and progress, then `end`, then nothing.

        A reader that is slow sees fewer progress events, never fewer states.

        Args:
            job_id: the job.
            by: who reads.
            after: the number of the last history row that the reader has seen.
            base_url: see the class.

        Raises:
            NotFoundError: on entering, when there is no such job.
            TooManyError: on entering, when this caller reads as many streams as it may.
        """
        following = self._watching.watch(job_id, after=after, base_url=base_url, delivery_grace=self._delivery_grace)
        with self._gate.stream(by):
            async with following as events:
                yield events

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call a function with every event of jobs and backends from now on. It must not block or raise."""
        self._parts.events.listen(listener)

    def counted_stream(self, by: Caller) -> AbstractContextManager[None]:
        """Count another kind of stream for as long as the block runs. Raises TooManyError on entering."""
        return self._gate.stream(by)

    def backends(self) -> list[BackendView]:
        """Every configured backend as it is now."""
        pool, running = self._parts.pool, self._parts.running()
        return [backend_view(pool.view(backend, running.get(backend.id, 0))) for backend in pool]

    def backend(self, backend_id: str) -> BackendView:
        """One backend. Raises NotFoundError."""
        pool, running = self._parts.pool, self._parts.running()
        return backend_view(pool.view(pool[backend_id], running.get(backend_id, 0)))

    async def node_classes(self, backend_id: str) -> NodeClasses:
        """What one backend told of its nodes. Raises NotFoundError, and UnavailableError while it has told nothing."""
        return await node_classes(self._parts.pool, backend_id)

    async def workflows(self) -> list[WorkflowView]:
        """The library, read live from its folders."""
        return [workflow_view(view) for view in await self._parts.library.list()]

    async def workflow(self, workflow_id: str) -> WorkflowView:
        """One workflow of the library, with the schema of its parameters. Raises NotFoundError."""
        listed = {view.id: view for view in await self.workflows()}
        if workflow_id not in listed:
            raise NotFoundError("workflow", workflow_id, known=listed)
        found = listed[workflow_id]
        schema = None if found.problem else object_schema(found.parameters)
        return found.model_copy(update={"parameters_schema": schema})

    async def health(self) -> HealthView:
        """Whether the orchestrator does its work."""
        problems = [*self.deliveries.problems, *self.batches.deliveries.problems, *self.condition.problems]
        try:
            queued, running = await self._store.counts()
        except StorageError as error:
            queued, running = 0, 0
            problems.append(str(error))
        return health_view(
            self.backends(),
            version=self._parts.version,
            now=self._parts.clock.now(),
            uptime=self._parts.clock.monotonic() - self._began,
            jobs=(queued, running),
            accepting=self.condition.accepting,
            problems=problems,
            notices=[*self.condition.notices, *self.operators.notices],
        )

    async def claimed_job(self, claim_id: str) -> str | None:
        """The job that an Inbox claim became, or None: asked after a crash."""
        return await self._store.claimed_job(claim_id)

    async def look_after_watchers(self) -> None:
        """See that no reader of a stream misses a change for long; runs for ever."""
        await self._watching.run()

    def expect_deliveries(self) -> None:
        """Somebody delivers ended jobs: streams hold their last word back for a moment, until the files stand there."""
        self._delivery_grace = DELIVERY_GRACE

    @property
    def upload_bytes(self) -> int:
        """The largest file that is taken now."""
        return self._parts.settings.now.limits.upload_bytes

    @property
    def confirm_jobs(self) -> int:
        """How many jobs a batch of an agent may have before a person is asked; 0 never asks."""
        return self._parts.settings.now.limits.confirm_jobs

    @property
    def closed_because(self) -> str | None:
        """Why nothing is accepted now, in words; None when something may be."""
        return self.condition.closed_because

    async def _show(self, stored: StoredJob, base_url: str | None) -> JobView:
        queued = stored.job.state is JobState.QUEUED
        return await self._view(stored, await self._store.positions([stored.place]) if queued else {}, base_url)

    async def _view(self, stored: StoredJob, positions: Mapping[int, int | None], base_url: str | None) -> JobView:
        [live] = await self._waiting.live([stored], positions)
        return job_view(stored.job, live, base_url or self.base_url)
