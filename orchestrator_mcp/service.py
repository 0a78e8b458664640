"""All that a door may call. A door parses, calls one of these once, and renders the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from orchestrator_mcp.domain.deliveries import Delivery, InboxClaim
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.manifests import Manifest
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

ANONYMOUS = "anonymous"


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """An artifact to serve: what it is, and where its bytes lie."""

    view: OutputView
    path: Path


class JobService:
    """The one object behind every door.

    `base_url` is what output urls begin with (`http://host:port`, no slash at the end); without it the configured
    public url is taken.
    """

    async def submit(
        self,
        manifest: Manifest,
        *,
        door: Door,
        owner: str = ANONYMOUS,
        stem: str | None = None,
        claim: InboxClaim | None = None,
        warnings: Sequence[str] = (),
        base_url: str | None = None,
    ) -> AcceptedView:
        """Check a manifest, store it durably and queue it.

        The same idempotency key and manifest, or the same claim, give the same job again.

        Args:
            manifest: what the caller wants.
            door: the way it came.
            owner: whose it is: the token's name, or `anonymous`; the scope of idempotency keys.
            stem: readable name for the result folder; the workflow id when None.
            claim: the Inbox file that it came by.
            warnings: what the door already has to say about it.
            base_url: see the class.

        Raises:
            ManifestError: a field, parameter or the graph is wrong.
            NotFoundError: no such workflow.
            IdempotencyConflict: the key came before with another manifest.
            TooLargeError: the graph or queue is over its limit.
            StorageError: it cannot be stored now.
        """
        raise NotImplementedError

    async def job(self, job_id: str, *, base_url: str | None = None) -> JobView:
        """The present state of a job. Raises NotFoundError."""
        raise NotImplementedError

    async def jobs(
        self,
        *,
        status: Sequence[str] = (),
        workflow_id: str | None = None,
        backend_id: str | None = None,
        source: str | None = None,
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
            limit: 1 to 500.
            cursor: `next_cursor` of the page before.

        Raises:
            ManifestError: a status, limit or cursor that does not exist (422).
        """
        raise NotImplementedError

    async def outputs(self, job_id: str, *, base_url: str | None = None) -> list[OutputView]:
        """The verified files of a job; empty until it is completed. Raises NotFoundError."""
        raise NotImplementedError

    async def output_file(self, job_id: str, name: str) -> OutputFile:
        """One file to serve. Raises NotFoundError."""
        raise NotImplementedError

    async def cancel(self, job_id: str, *, base_url: str | None = None) -> JobView:
        """Ask for the end of a job; the answer shows how far that has come.

        Raises:
            NotFoundError: no such job.
            JobFinishedError: it has completed or failed.
        """
        raise NotImplementedError

    def watch(
        self, job_id: str, *, after: int | None = None, base_url: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        """Follow a job: the present state first, then each change and progress, then `end`, then nothing.

        A reader that is slow sees fewer progress events, never fewer states.

        Args:
            job_id: the job.
            after: the number of the last history row that the reader has seen.

        Raises:
            NotFoundError: on entering, when there is no such job.
        """
        raise NotImplementedError

    def backends(self) -> list[BackendView]:
        """Every configured backend as it is now."""
        raise NotImplementedError

    def backend(self, backend_id: str) -> BackendView:
        """One backend. Raises NotFoundError."""
        raise NotImplementedError

    async def workflows(self) -> list[WorkflowView]:
        """The library, read live from its folders."""
        raise NotImplementedError

    async def workflow(self, workflow_id: str) -> WorkflowView:
        """One workflow of the library. Raises NotFoundError."""
        raise NotImplementedError

    async def health(self) -> HealthView:
        """Whether the orchestrator does its work."""
        raise NotImplementedError

    async def claimed_job(self, claim_id: str) -> str | None:
        """The job that an Inbox claim became, or None: asked after a crash."""
        raise NotImplementedError

    async def next_deliveries(self, *, limit: int = 20) -> list[Delivery]:
        """Finished jobs that are not delivered yet; waits until there is at least one that is due."""
        raise NotImplementedError

    async def record_delivery(self, job_id: str, folder: Path | None) -> None:
        """A job's result stands in Outbox (or needs none) and its Inbox file is put away."""
        raise NotImplementedError

    async def put_off_delivery(self, job_id: str, reason: str) -> None:
        """A delivery failed; it is due again after a growing pause, and health tells the reason."""
        raise NotImplementedError
