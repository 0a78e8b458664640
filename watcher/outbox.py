"""The Outbox: each finished job and batch is delivered once, and the manifest that it came from is put away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskStatus

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.deliveries import BatchDelivery, Delivery, InboxClaim
from orchestrator_mcp.domain.steps import AtStep, Step, no_step
from orchestrator_mcp.service import JobService
from watcher.batch_results import BatchContent
from watcher.claims import Claim, ClaimFolder
from watcher.delivering import Line
from watcher.reading import error_report
from watcher.results import ResultFolder

logger = logging.getLogger(__name__)

_THREADS: Final = 4  # deliveries copied at one time
_PAUSE: Final = 2.0  # seconds before a folder that is missing is looked for again
_LONGEST_PAUSE: Final = 30.0
_LOOKS: Final = 3  # for a manifest that the Inbox moves meanwhile: it does so once


class _NoInboxError(Exception):
    """The folder in which manifests are put away cannot be made; the cause says why."""


class Outbox:
    """Delivers finished jobs and batches into one folder.

    Args:
        folder: the Outbox; made when it is missing.
        inbox_folder: where manifests are put away.
        service: what is to be delivered.
        clock: the time.
        at_step: see `domain.steps`.
    """

    def __init__(
        self, folder: Path, inbox_folder: Path, service: JobService, *, clock: Clock, at_step: AtStep = no_step
    ) -> None:
        self._results = ResultFolder(folder, at_step=at_step)
        self._at_step = at_step
        self._claims = ClaimFolder(inbox_folder)
        self._clock = clock
        self._threads = CapacityLimiter(_THREADS)
        self._trouble: str | None = None
        shared: dict[str, Any] = {"threads": self._threads, "clock": clock, "at_step": at_step, "outbox": folder}
        self._jobs = Line[Delivery](
            source=service.deliveries, name_of=lambda delivery: delivery.job.job_id, place=self._place, **shared
        )
        self._batches = Line[BatchDelivery](
            source=service.batches.deliveries,
            name_of=lambda delivery: delivery.batch.batch_id,
            place=self._place_batch,
            **shared,
        )

    @property
    def trouble(self) -> str | None:
        """What keeps the Outbox from working now, in words, or None."""
        return self._trouble or self._jobs.trouble or self._batches.trouble

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Deliver what is finished, until cancelled. Started at once; a folder that is missing is waited for."""
        task_status.started()
        pause = _PAUSE
        while not await self._is_prepared():
            await self._clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._jobs.run, name="outbox: jobs")
            tasks.start_soon(self._batches.run, name="outbox: batches")

    async def _is_prepared(self) -> bool:
        """The supervision boundary around the start: whatever is wrong with the folders, it is tried again."""
        try:
            await to_thread.run_sync(self._prepare, limiter=self._threads, abandon_on_cancel=True)
        except OSError as failure:
            self._in_trouble(f"The Outbox {self._results.outbox} is not served now: {failure}")
        except _NoInboxError as failure:
            self._in_trouble(f"Deliveries wait, for the Inbox {self._claims.inbox} cannot be used: {failure.__cause__}")
        except Exception:
            logger.exception("The Outbox cannot be prepared; it is tried again.")
            self._trouble = "The Outbox cannot be prepared; the log says why."
        else:
            self._trouble = None
        return self._trouble is None

    def _in_trouble(self, words: str) -> None:
        if self._trouble != words:
            logger.warning("%s It is tried again.", words)
        self._trouble = words

    def _prepare(self) -> None:
        try:
            self._claims.make()
        except OSError as failure:
            raise _NoInboxError from failure
        self._results.prepare()

    def _place(self, delivery: Delivery) -> Path | None:
        folder = self._results.publish(delivery) if delivery.to_outbox else None
        self._at_step(Step.DELIVERED)
        report = None if delivery.job.status == "completed" else partial(_report, delivery)
        self._put_manifest_away(delivery.claim, report)
        self._at_step(Step.ARCHIVED)
        return folder.absolute() if folder is not None else None

    def _place_batch(self, delivery: BatchDelivery) -> Path | None:
        """A batch of which something came counts as done: what failed in it stands in its result."""
        content = BatchContent(delivery)
        folder = self._results.put(content.name, content) if delivery.to_outbox else None
        self._at_step(Step.DELIVERED)
        some = delivery.batch.counts["completed"] > 0
        self._put_manifest_away(delivery.claim, None if some else partial(_batch_report, delivery))
        self._at_step(Step.ARCHIVED)
        return folder.absolute() if folder is not None else None

    def _put_manifest_away(
        self, taken: InboxClaim | None, report: Callable[[Claim, datetime], dict[str, Any]] | None
    ) -> None:
        """Move the manifest; again if the Inbox moved it from claimed to accepted just then."""
        if taken is None:
            return
        for _ in range(_LOOKS):
            claim = self._claims.find(taken.claim_id, taken.file_name)
            if claim is None or self._moved(claim, report):
                return

    def _moved(self, claim: Claim, report: Callable[[Claim, datetime], dict[str, Any]] | None) -> bool:
        if report is None:
            return self._claims.put_away(claim)
        return self._claims.refuse(claim, report(claim, self._clock.now()))


def _report(delivery: Delivery, claim: Claim, now: datetime) -> dict[str, Any]:
    job = delivery.job
    words = f"The job {job.job_id} was cancelled." if job.status == "cancelled" else f"The job {job.job_id} failed."
    return error_report(
        code=job.error.code if job.error else job.status,
        message=job.error.message if job.error else words,
        hint=job.error.hint if job.error else None,
        file_name=claim.file_name,
        claim_id=claim.claim_id,
        at=now,
        job={"job_id": job.job_id, "status": job.status},
    )


def _batch_report(delivery: BatchDelivery, claim: Claim, now: datetime) -> dict[str, Any]:
    batch = delivery.batch
    first = next((line.error for line in delivery.lines if line.error), None)
    told = "was cancelled" if batch.status == "cancelled" else f"failed: {first or 'see its jobs'}"
    return error_report(
        code=batch.status,
        message=f"No job of the batch {batch.batch_id} completed; it {told}",
        hint=f"POST /api/batch/{batch.batch_id}/retry does them again.",
        file_name=claim.file_name,
        claim_id=claim.claim_id,
        at=now,
        job={"batch_id": batch.batch_id, "status": batch.status, "counts": batch.counts},
    )
