"""All that a door may call about batches."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from orchestrator_mcp.domain.access import LOCAL, Caller
from orchestrator_mcp.domain.batch_views import BatchAcceptedView, BatchEvent, BatchListView, BatchView
from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.domain.text import told
from orchestrator_mcp.domain.views import OutputView
from orchestrator_mcp.errors import ForbiddenError, ManifestError, NotFoundError
from orchestrator_mcp.previews.pictures import Picture
from orchestrator_mcp.service.batch_deliveries import BatchDeliveries
from orchestrator_mcp.service.batch_showing import BatchLive, batch_links, batch_view
from orchestrator_mcp.service.batch_watching import BatchWatching
from orchestrator_mcp.service.listing import row_before
from orchestrator_mcp.service.parts import ServiceParts
from orchestrator_mcp.service.previewing import Previewing
from orchestrator_mcp.service.showing import output_views
from orchestrator_mcp.service.submission import Submission
from orchestrator_mcp.service.waiting import Waiting
from orchestrator_mcp.service.way_in import WayIn
from orchestrator_mcp.store import BatchAcceptance, StoredBatch

log = logging.getLogger(__name__)

MOST_CELLS: Final = 400  # of a contact sheet
SHEET_SIDE: Final = 2048  # pixels of its longer side
LONGEST_PAGE: Final = 100  # batches in one answer of a list: each is counted anew


class BatchService:
    """Batches, as doors see them.

    Args:
        parts: what the service works with.
        entry: takes batches in, and knows whether anything may be.
        waiting: knows when jobs will be done.
        previewing: draws contact sheets.
        base_url: what urls begin with where a caller says nothing else.

    Attributes:
        deliveries: finished batches that Outbox has not got yet.
    """

    def __init__(
        self, parts: ServiceParts, *, entry: WayIn, waiting: Waiting, previewing: Previewing, base_url: str
    ) -> None:
        self._store = parts.store
        self._events = parts.events
        self._clock = parts.clock
        self._settings = parts.settings
        self._submissions, self._gate, self._condition = entry.batches, entry.gate, entry.condition
        self._waiting = waiting
        self._previewing = previewing
        self._base_url = base_url
        self._watching = BatchWatching(parts.store, parts.events, parts.clock, self._show)
        self.deliveries = BatchDeliveries(
            store=parts.store,
            events=parts.events,
            clock=parts.clock,
            every_batch=lambda: parts.settings.now.outbox == "all",
            show=self._show,
            draw=self._sheet,
        )

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> BatchAcceptedView:
        """Check a manifest with `batch`, store all of its jobs durably and queue them: all, or none.

        Args and errors are those of `JobService.submit`; the key and the claim are the batch's.
        """
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

    async def _show(self, stored: StoredBatch, base_url: str | None = None) -> BatchView:
        progress = (self._events.progress(job_id) for job_id in stored.running)
        done = sum(one.fraction for one in progress if one is not None)
        seconds = await self._waiting.batch_seconds_left(stored)
        live = BatchLive(done=done, seconds_left=seconds, at=self._clock.now())
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
