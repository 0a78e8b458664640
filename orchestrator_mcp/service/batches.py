"""All that a door may call about batches."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.access import LOCAL, Caller
from orchestrator_mcp.domain.batch_views import BatchAcceptedView, BatchEvent, BatchListView, BatchView
from orchestrator_mcp.domain.deadlines import is_late
from orchestrator_mcp.domain.deliveries import BatchDelivery, BatchLine, DeliveredName, InboxClaim
from orchestrator_mcp.domain.events import JobDelivered
from orchestrator_mcp.domain.jobs import Door, JobState
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.text import told, without_secrets
from orchestrator_mcp.domain.views import OutputView, Status
from orchestrator_mcp.errors import ForbiddenError, ManifestError, NoPreviewError, NotFoundError
from orchestrator_mcp.events import Events
from orchestrator_mcp.previews.pictures import Picture
from orchestrator_mcp.service.batch_submission import BatchSubmissions
from orchestrator_mcp.service.batch_watching import BatchWatching
from orchestrator_mcp.service.condition import Condition
from orchestrator_mcp.service.deliveries import DeliveryQueue
from orchestrator_mcp.service.gate import Gate
from orchestrator_mcp.service.listing import row_before
from orchestrator_mcp.service.previewing import Previewing
from orchestrator_mcp.service.showing import output_views
from orchestrator_mcp.service.submission import Submission
from orchestrator_mcp.service.waiting import Waiting
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import BatchAcceptance, BatchJob, JobStore, StoredBatch

log = logging.getLogger(__name__)

MOST_CELLS: Final = 400  # of a contact sheet
SHEET_SIDE: Final = 2048  # pixels of its longer side
LONGEST_PAGE: Final = 100  # batches in one answer of a list: each is counted anew
_SHOWN: Final = {
    JobState.QUEUED: "queued",
    JobState.WAITING: "queued",
    JobState.RUNNING: "running",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


class BatchService:
    """Batches, as doors see them.

    Args:
        store: where jobs live.
        submissions: takes batches in.
        previewing: draws contact sheets.
        events: hints that something changed.
        clock: the time.
        settings: the configuration.
        waiting: knows when jobs will be done.
        gate: how much one caller may ask for.
        condition: whether anything may be accepted now.
        base_url: what urls begin with where a caller says nothing else.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        submissions: BatchSubmissions,
        previewing: Previewing,
        events: Events,
        clock: Clock,
        settings: CurrentSettings,
        waiting: Waiting,
        gate: Gate,
        condition: Condition,
        base_url: str,
    ) -> None:
        self._store = store
        self._submissions = submissions
        self._previewing = previewing
        self._events = events
        self._clock = clock
        self._settings = settings
        self._waiting = waiting
        self._gate = gate
        self._condition = condition
        self._base_url = base_url
        self._watching = BatchWatching(store, events, clock, self._show)
        self._deliveries = DeliveryQueue(clock)
        events.listen(self._hear)

    async def submit(
        self,
        manifest: Manifest,
        *,
        door: Door,
        by: Caller = LOCAL,
        stem: str | None = None,
        claim: InboxClaim | None = None,
        warnings: Sequence[str] = (),
        beside: Path | None = None,
        base_url: str | None = None,
    ) -> BatchAcceptedView:
        """Check a manifest with `batch`, store all of its jobs durably and queue them: all, or none.

        Args and errors are those of `JobService.submit`; the key and the claim are the batch's.
        """
        wanted = Submission(
            manifest=manifest, door=door, by=by, stem=stem, claim=claim, warnings=warnings, beside=beside
        )
        return self._accepted(await self._submissions.submit(wanted), base_url)

    async def batch(self, batch_id: str, *, base_url: str | None = None) -> BatchView:
        """Where a batch stands. Raises NotFoundError."""
        return await self._show(await self._store.batches.batch(batch_id), base_url)

    async def batches(
        self, *, limit: int = 20, cursor: str | None = None, base_url: str | None = None
    ) -> BatchListView:
        """A page of batches, newest first.

        Args:
            limit: 1 to 100.
            cursor: `next_cursor` of the page before.
            base_url: what urls begin with.

        Raises:
            ManifestError: a limit or cursor that does not exist.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            message = f"found {limit}; a whole number from 1 to {LONGEST_PAGE} is needed"
            raise ManifestError.at("limit", message=message)
        stored = await self._store.batches.page(before=row_before(cursor), limit=limit + 1)
        page = stored[:limit]
        return BatchListView(
            batches=[await self._show(one, base_url) for one in page],
            next_cursor=str(page[-1].row) if len(stored) > limit else None,
        )

    async def cancel(self, batch_id: str, *, by: Caller = LOCAL, base_url: str | None = None) -> BatchView:
        """Ask for the end of every job that has not ended; of a batch that has, nothing changes.

        Raises:
            NotFoundError: no such batch.
            ForbiddenError: it is somebody else's.
        """
        stored = await self._owned(batch_id, by, "cancel")
        count = await self._store.batches.cancel(stored.row, self._clock.now())
        log.info("cancel of %s requested by %s: %d jobs", batch_id, by.name, count)
        return await self.batch(batch_id, base_url=base_url)

    async def retry(self, batch_id: str, *, by: Caller = LOCAL, base_url: str | None = None) -> BatchAcceptedView:
        """Do the failed and cancelled jobs of a batch again, with the same values; the new ones count in their place.

        Raises:
            NotFoundError: no such batch.
            ForbiddenError: it is somebody else's.
            NothingFailedError: there is nothing to do again.
            TooLargeError: more jobs are to be done again than may ever wait.
            TooManyError: this caller is too fast, or more jobs would wait than may.
            StorageError: it cannot be stored now.
        """
        self._gate.pass_submission(by)
        await self._owned(batch_id, by, "retry")
        self._condition.require_open()
        limits = self._settings.queue_limits
        accepted = await self._store.batches.retry(batch_id, self._clock.now(), limits=limits)
        log.info("%d jobs of %s are done again for %s", accepted.count, batch_id, by.name)
        return self._accepted(accepted, base_url)

    @asynccontextmanager
    async def watch(
        self, batch_id: str, *, by: Caller = LOCAL, after: int | None = None, base_url: str | None = None
    ) -> AsyncIterator[AsyncIterator[BatchEvent]]:
        """Follow a batch: where it stands first, then its changes, at most five in a second, `end` last.

        Args:
            batch_id: the batch.
            by: who reads.
            after: the number of the last history row that the reader has seen.
            base_url: what urls begin with.

        Raises:
            NotFoundError: on entering, when there is no such batch.
            TooManyError: on entering, when this caller reads as many streams as it may.
        """
        with self._gate.stream(by):
            async with self._watching.watch(batch_id, after=after, base_url=base_url) as events:
                yield events

    async def contact_sheet(self, batch_id: str) -> Picture:
        """The pictures of a batch side by side, as a PNG, however far it is.

        Raises:
            NotFoundError: no such batch, or none of its jobs has a picture yet.
            TooManyError: many previews are being made already.
        """
        stored = await self._store.batches.batch(batch_id)
        if not stored.counts.get(JobState.COMPLETED):
            error = NotFoundError("contact sheet", batch_id)
            error.hint = "None of its jobs is completed yet." if not stored.over else "None of its jobs completed."
            raise error
        return await self._sheet(stored)

    async def outputs(self, batch_id: str, *, most: int = 60, base_url: str | None = None) -> list[OutputView]:
        """The verified files of the first jobs of a batch.

        Args:
            batch_id: the batch.
            most: how many jobs are looked at.
            base_url: what urls begin with.

        Raises:
            NotFoundError: no such batch.
        """
        stored = await self._store.batches.batch(batch_id)
        jobs = await self._store.batches.first_jobs(stored.row, most)
        return [view for one in jobs for view in output_views(one.job, base_url or self._base_url)]

    async def failures(self, batch_id: str, *, most: int = 5) -> list[tuple[str, str]]:
        """The first jobs of a batch that failed, and why.

        Args:
            batch_id: the batch.
            most: how many are told.

        Raises:
            NotFoundError: no such batch.
        """
        stored = await self._store.batches.batch(batch_id)
        failed = await self._store.batches.failures(stored.row, most)
        return [(job_id, told(failure.message)) for job_id, failure in failed]

    async def next_deliveries(self, *, limit: int = 4) -> list[BatchDelivery]:
        """Ended batches that are not delivered yet; waits until there is at least one that is due."""
        while True:
            batch_ids = await self._deliveries.due(self._store.batches, limit)
            if batch_ids:
                return [await self._delivery(await self._store.batches.batch(batch_id)) for batch_id in batch_ids]
            await self._deliveries.wait()

    async def record_delivery(self, batch_id: str, folder: Path | None) -> None:
        """A batch's result stands in Outbox (or needs none) and its Inbox file is put away."""
        await self._store.batches.record_delivery(batch_id, str(folder) if folder is not None else None)
        self._deliveries.done(batch_id)

    async def put_off_delivery(self, batch_id: str, reason: str) -> None:
        """A delivery failed; it is due again after a growing pause, and health tells the reason."""
        self._deliveries.put_off(batch_id, reason)

    @property
    def problems(self) -> list[str]:
        """Why deliveries were put off."""
        return self._deliveries.problems

    async def _owned(self, batch_id: str, by: Caller, deed: str) -> StoredBatch:
        stored = await self._store.batches.batch(batch_id)
        if not by.may_end(stored.owner):
            raise ForbiddenError(
                f"The batch {batch_id} belongs to {stored.owner!r}: only its owner or an admin may {deed} it.",
                hint="Use the token that it was submitted with, or one with the scope admin.",
            )
        return stored

    def _accepted(self, accepted: BatchAcceptance, base_url: str | None) -> BatchAcceptedView:
        return BatchAcceptedView(
            batch_id=accepted.batch_id,
            count=accepted.count,
            job_ids=list(accepted.job_ids),
            submitted_at=accepted.submitted_at,
            warnings=[told(warning) for warning in accepted.warnings],
            links=batch_links(accepted.batch_id, base_url or self._base_url),
        )

    async def _show(self, stored: StoredBatch, base_url: str | None) -> BatchView:
        progress = (self._events.progress(job_id) for job_id in stored.running)
        done = sum(one.fraction for one in progress if one is not None)
        live = BatchLive(done=done, seconds_left=self._waiting.batch_seconds_left(stored), at=self._clock.now())
        return batch_view(stored, live, base_url or self._base_url)

    async def _sheet(self, stored: StoredBatch) -> Picture:
        jobs = await self._store.batches.first_jobs(stored.row, MOST_CELLS)
        seen = await self._previewing.sheet_of_jobs(
            jobs,
            longest=SHEET_SIDE,
            title=f"{told(stored.workflow_id, limit=80)}: {stored.total} jobs",
            most=MOST_CELLS,
            most_bytes=None,
            total=stored.total,
        )
        return seen.picture

    async def _delivery(self, stored: StoredBatch) -> BatchDelivery:
        to_outbox = self._settings.now.outbox == "all" or stored.claim is not None
        jobs = await self._store.batches.jobs(stored.row) if to_outbox else []
        sheet = None
        if to_outbox and stored.counts.get(JobState.COMPLETED):
            try:
                sheet = (await self._sheet(stored)).data
            except NoPreviewError as error:
                log.warning("no contact sheet of %s: %s", stored.batch_id, error)
        return BatchDelivery(
            batch=await self._show(stored, None),
            stem=stored.stem,
            to_outbox=to_outbox,
            sheet=sheet,
            lines=tuple(_line(one, stored.spec.varies) for one in jobs),
            claim=stored.claim,
        )

    def _hear(self, event: Any) -> None:
        if isinstance(event, JobDelivered):
            self._deliveries.wake()


@dataclass(frozen=True, kw_only=True)
class BatchLive:
    """What is known of a batch beside the store.

    Attributes:
        done: the fractions that are done of the jobs that run, added up.
        seconds_left: until its last job is done; None while that is not known.
        at: the moment of which this is true.
    """

    done: float
    seconds_left: float | None
    at: datetime


def batch_view(stored: StoredBatch, live: BatchLive, base_url: str) -> BatchView:
    """The one shape of a batch on every wire.

    Args:
        stored: as it is stored.
        live: what is known beside the store.
        base_url: what urls begin with, without a slash at the end.
    """
    counts = dict.fromkeys(_SHOWN.values(), 0)
    for state, count in stored.counts.items():
        counts[_SHOWN[state]] += count
    gone = stored.size - stored.total
    forgotten = [f"{gone} of its jobs are no longer kept."] if gone > 0 else []
    return BatchView(
        batch_id=stored.batch_id,
        status=_status(stored, counts),
        count=stored.size,
        counts=counts,
        progress=round(min(1.0, (stored.ended + live.done) / stored.total), 4) if stored.total else 1.0,
        workflow_id=stored.workflow_id,
        varies=stored.spec.varies,
        mode=cast(Any, stored.spec.mode),
        parameters=without_secrets(stored.spec.parameters),
        submitted_at=stored.submitted_at,
        started_at=stored.started_at,
        finished_at=stored.finished_at,
        eta_seconds=round(live.seconds_left, 1) if live.seconds_left is not None else None,
        deadline=stored.deadline,
        late=is_late(stored.deadline, stored.finished_at, live.at, live.seconds_left),
        retries=stored.spec.retries,
        path=stored.delivery_path if stored.delivered else None,
        warnings=[told(warning) for warning in [*stored.spec.warnings, *forgotten]],
        attention=stored.attention,
        links=batch_links(stored.batch_id, base_url),
    )


def batch_links(batch_id: str, base_url: str) -> dict[str, str]:
    """Where to go on from a batch."""
    here = f"{base_url}/api/batch/{batch_id}"
    return {
        "self": here,
        "jobs": f"{base_url}/api/jobs?batch_id={batch_id}",
        "events": f"{here}/events",
        "stream": f"{here}/stream".replace("http", "ws", 1),
        "contact_sheet": f"{here}/contact-sheet",
    }


def _status(stored: StoredBatch, counts: Mapping[str, int]) -> Status:
    if not stored.over:
        return "running" if counts["running"] or stored.ended else "queued"
    return "failed" if counts["failed"] else "cancelled" if counts["cancelled"] else "completed"


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
