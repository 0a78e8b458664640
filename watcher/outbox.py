"""The Outbox: each finished job is delivered once, and the manifest that it came from is put away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskStatus

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.deliveries import Delivery
from orchestrator_mcp.domain.steps import AtStep, Step, no_step
from orchestrator_mcp.errors import UnavailableError
from orchestrator_mcp.service import JobService
from watcher.claims import Claim, ClaimFolder
from watcher.reading import error_report
from watcher.results import ResultFolder

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_THREADS: Final = 4  # deliveries copied at one time
_PAUSE: Final = 2.0  # seconds before the service or the folder is asked again after a failure
_LONGEST_PAUSE: Final = 30.0
_LOOKS: Final = 3  # for a manifest that the Inbox moves meanwhile: it does so once


class Outbox:
    """Delivers finished jobs into one folder.

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
        self._service = service
        self._clock = clock
        self._threads = CapacityLimiter(_THREADS)
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """What keeps the Outbox from working now, in words, or None."""
        return self._trouble

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Deliver what is finished, until cancelled. Started at once; a folder that is missing is waited for."""
        task_status.started()
        ready = False
        pause = _PAUSE
        while True:
            try:
                if not ready:
                    await self._in_thread(self._prepare)
                    ready = True
                settled = await self._deliver_all(await self._service.next_deliveries())
                self._trouble = None
            except (OSError, UnavailableError) as failure:
                settled = False
                self._in_trouble(f"The Outbox {self._results.outbox} is not served now: {failure}")
            except Exception:
                # The supervision boundary around one turn.
                settled = False
                logger.exception("A turn of the Outbox failed; it is tried again.")
            if settled:
                pause = _PAUSE
            else:
                await self._clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _in_trouble(self, words: str) -> None:
        if self._trouble != words:
            logger.warning("%s It is tried again.", words)
        self._trouble = words

    def _prepare(self) -> None:
        self._claims.make()
        self._results.prepare()

    async def _deliver_all(self, deliveries: list[Delivery]) -> bool:
        """Deliver some jobs at one time. Whether the service knows of each what became of it."""
        settled: list[bool] = []

        async def deliver(delivery: Delivery) -> None:
            settled.append(await self._deliver(delivery))

        async with anyio.create_task_group() as tasks:
            for delivery in deliveries:
                tasks.start_soon(deliver, delivery)
        return all(settled)

    async def _deliver(self, delivery: Delivery) -> bool:
        """The supervision boundary around one delivery: the others go on whatever it does."""
        job_id = delivery.job.job_id
        try:
            folder = await self._in_thread(partial(self._place, delivery))
            await self._service.record_delivery(job_id, folder)
            self._at_step(Step.RECORDED)
        except UnavailableError as failure:
            logger.warning("A delivery could not be recorded and is repeated: %s", failure, extra={"job_id": job_id})
            return False
        except OSError as failure:
            return await self._put_off(job_id, f"{failure.strerror or failure}")
        except Exception:
            logger.exception("A delivery failed; it is tried again.", extra={"job_id": job_id})
            return await self._put_off(job_id, "The delivery failed; the log says why.")
        logger.info("The job was delivered to %s.", folder, extra={"job_id": job_id})
        return True

    async def _put_off(self, job_id: str, reason: str) -> bool:
        logger.warning("A delivery was put off: %s", reason, extra={"job_id": job_id})
        try:
            await self._service.put_off_delivery(job_id, reason)
        except UnavailableError:
            return False
        return True

    def _place(self, delivery: Delivery) -> Path | None:
        folder = self._results.publish(delivery) if delivery.to_outbox else None
        self._at_step(Step.DELIVERED)
        self._put_manifest_away(delivery)
        self._at_step(Step.ARCHIVED)
        return folder.absolute() if folder is not None else None

    def _put_manifest_away(self, delivery: Delivery) -> None:
        """Move the manifest; again if the Inbox moved it from claimed to accepted just then."""
        if delivery.claim is None:
            return
        for _ in range(_LOOKS):
            claim = self._claims.find(delivery.claim.claim_id, delivery.claim.file_name)
            if claim is None or self._moved(claim, delivery):
                return

    def _moved(self, claim: Claim, delivery: Delivery) -> bool:
        if delivery.job.status == "completed":
            return self._claims.put_away(claim)
        return self._claims.refuse(claim, _report(claim, delivery, self._clock.now()))

    async def _in_thread(self, deed: Callable[[], _Result]) -> _Result:
        """Touch files. On cancellation a copy that hangs is left behind; the next start removes what it made."""
        return await to_thread.run_sync(deed, limiter=self._threads, abandon_on_cancel=True)


def _report(claim: Claim, delivery: Delivery, now: datetime) -> dict[str, Any]:
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
