"""The Inbox: manifests dropped into a folder become jobs.

The scan is the truth; file events only make it come earlier. Files are touched in threads, one step at a time, so
that a share that hangs keeps nobody else waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskGroup, TaskStatus

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.steps import AtStep, no_step
from orchestrator_mcp.errors import UnavailableError
from orchestrator_mcp.files import is_network_filesystem
from orchestrator_mcp.service import JobService
from watcher.claims import Claim, ClaimFolder, new_claim_id
from watcher.reading import refusal_report
from watcher.rules import LOCAL, NETWORK, Patience, pause_until_next_look
from watcher.scanner import Batch, Entry, ScanLimits, Scanner
from watcher.submitting import Settlement, Submitter
from watcher.unusual import Unusual
from watcher.wakes import wake_on_events

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_LOCAL_INTERVAL: Final = 2.0  # seconds between scans
_NETWORK_INTERVAL: Final = 5.0
_HANGS_AFTER: Final = 30.0  # seconds without an answer of the file system
_FIRST_PUT_OFF: Final = 5.0  # seconds until a claim is tried again whose submission failed; doubled each time
_LONGEST_PUT_OFF: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class InboxLimits:
    """What the Inbox takes at most.

    Attributes:
        scan: of one step of a scan.
        submissions: at one time, and in one transaction.
        patience: how long files are given; by the kind of file system when None.
    """

    scan: ScanLimits = field(default_factory=ScanLimits)
    submissions: int = 128
    patience: Patience | None = None


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A claim that is not settled: its file still changes, or its submission failed."""

    claim: Claim
    not_before: float = 0.0
    failures: int = 0
    reason: str | None = None


class Inbox:
    """Watches one folder and submits what is dropped there.

    Args:
        folder: the Inbox; made when it is missing.
        service: where jobs go.
        clock: the time.
        limits: see `InboxLimits`.
        interval: seconds between scans; by the kind of file system when None.
        force_no_events: leave it all to the scans.
        network: whether the folder is a share; looked up when None.
        at_step: see `domain.steps`.
    """

    def __init__(
        self,
        folder: Path,
        service: JobService,
        *,
        clock: Clock,
        limits: InboxLimits | None = None,
        interval: float | None = None,
        force_no_events: bool = False,
        network: bool | None = None,
        at_step: AtStep = no_step,
    ) -> None:
        self._claims = ClaimFolder(folder)
        self._service = service
        self._clock = clock
        self._limits = limits or InboxLimits()
        self._interval = interval
        self._events = not force_no_events
        self._network = network
        self._thread = CapacityLimiter(1)
        self._submitter = Submitter(service, clock=clock, most=self._limits.submissions, at_step=at_step)
        self._woken = False
        self._asleep = anyio.CancelScope()
        self._asked_at: float | None = None
        self._trouble: str | None = None
        self._unusual = Unusual()
        self._scanner: Scanner | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._closed_until = 0.0

    @property
    def trouble(self) -> str | None:
        """What keeps the Inbox from working now, in words, or None."""
        if self._asked_at is not None:
            silent = self._clock.monotonic() - self._asked_at
            if silent > _HANGS_AFTER:
                return f"The Inbox {self._claims.inbox} has not answered for {silent:.0f} s."
        return self._trouble or self._unusual.trouble(self._clock.monotonic()) or self._unknowing()

    @property
    def notice(self) -> str | None:
        """What lies in the Inbox and is not for it, in words, or None."""
        return self._unusual.notice

    def _unknowing(self) -> str | None:
        """Which files wait until a backend has told of its nodes."""
        waiting = [each for each in self._waiting.values() if each.reason is not None]
        if not waiting:
            return None
        others = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        return f"{waiting[0].claim.file_name!r}{others} in the Inbox cannot be taken yet: {waiting[0].reason}"

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Take what is dropped, until cancelled. Started once the first scan is about to begin."""
        async with anyio.create_task_group() as tasks:
            task_status.started()
            while True:
                pause = await self._supervised_round(tasks)
                await self._sleep_until_woken(pause)

    async def _supervised_round(self, tasks: TaskGroup) -> float:
        """The supervision boundary around one round: a share that is gone, or a fault, is tried again."""
        try:
            if self._scanner is None:
                self._scanner = await self._prepare()
                tasks.start_soon(self._recheck_accepted, name="inbox: recheck")
                if self._events:
                    folders = self._claims.places
                    tasks.start_soon(wake_on_events, folders, self._wake_up, self._clock, name="inbox: events")
            pause = await self._round(self._scanner)
        except OSError as failure:
            return self._in_trouble(f"The Inbox {self._claims.inbox} cannot be used: {failure.strerror or failure}.")
        except Exception:
            logger.exception("A scan of the Inbox failed; it is tried again.")
            return self._in_trouble("The last scan of the Inbox failed; the log says why.")
        if self._trouble is not None:
            logger.info("The Inbox works again.")
            self._trouble = None
        return pause

    def _in_trouble(self, words: str) -> float:
        if self._trouble != words:
            logger.warning("%s It is tried again.", words)
            self._trouble = words
        return self._interval or _NETWORK_INTERVAL

    async def _prepare(self) -> Scanner:
        await self._in_thread(self._claims.make)
        if self._network is None:
            self._network = await self._in_thread(partial(is_network_filesystem, self._claims.inbox))
        self._interval = self._interval or (_NETWORK_INTERVAL if self._network else _LOCAL_INTERVAL)
        patience = self._limits.patience or (NETWORK if self._network else LOCAL)
        self._wait_for(await self._in_thread(self._claims.claimed))
        return Scanner(
            self._claims,
            patience=patience,
            limits=self._limits.scan,
            leases=not self._network,
            unusual=self._unusual,
        )

    async def _round(self, scanner: Scanner) -> float:
        """One look at everything. Returns the seconds until the next."""
        self._woken = False
        interval = self._interval or _LOCAL_INTERVAL
        if self._trouble is not None:
            await self._in_thread(self._claims.prepare)
            self._wait_for(await self._in_thread(self._claims.claimed))
        if self._service.closed_because is not None:
            return interval
        await self._look_again_at_claims(scanner)
        if self._pause_left() <= 0:
            await self._take_all(scanner)
        now = self._clock.monotonic()
        pause = pause_until_next_look(scanner.arriving(now), now, interval=interval)
        return max(pause, self._pause_left())

    async def _take_all(self, scanner: Scanner) -> None:
        """Take what lies there, step by step. Reading ahead while a step is submitted gains nothing: both compute."""
        now = self._clock.monotonic()
        batch = await self._in_thread(lambda: scanner.take(scanner.entries(), now, self._new_claim_id))
        while batch.taken or batch.open or batch.left:
            batch = await self._next_step(scanner, batch.left, await self._submitted(batch))

    async def _next_step(self, scanner: Scanner, left: list[Entry], settled: Settlement) -> Batch:
        """Put away what is settled, and take more unless the service wants to be left alone; one trip to a thread."""
        now, wanted = self._clock.monotonic(), left if self._pause_left() <= 0 else []

        def work() -> Batch:
            self._put_in_place(settled)
            return scanner.take(wanted, now, self._new_claim_id)

        batch = await self._in_thread(work) if wanted or settled.claims else Batch()
        self._forget(settled)
        return batch

    def _pause_left(self) -> float:
        """Seconds for which the service asked to be left alone."""
        return self._closed_until - self._clock.monotonic()

    def _wait_for(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._waiting.setdefault(claim.claim_id, _Waiting(claim=claim))

    async def _look_again_at_claims(self, scanner: Scanner) -> None:
        """Look at claims that are not settled; those of a run before may be jobs already."""
        now = self._clock.monotonic()
        due = [waiting.claim for waiting in self._waiting.values() if waiting.not_before <= now]
        while due and self._pause_left() <= 0:
            some, due = due[: self._limits.submissions], due[self._limits.submissions :]
            fresh = []
            for claim in some:
                if await self._service.claimed_job(claim.claim_id) is None:
                    fresh.append(claim)
                else:
                    await self._in_thread(partial(self._claims.accept, claim))
            batch = await self._in_thread(partial(scanner.retake, fresh, self._clock.monotonic()))
            unsettled = {claim.claim_id for claim in batch.open} | {taken.claim.claim_id for taken in batch.taken}
            for claim in some:
                if claim.claim_id not in unsettled:
                    self._waiting.pop(claim.claim_id, None)
            await self._settle(batch)

    async def _recheck_accepted(self) -> None:
        """Submit again what is noted as accepted and is no job: the store was lost, or replaced."""
        try:
            claims = await self._in_thread(self._claims.accepted)
            lost = [claim for claim in claims if await self._service.claimed_job(claim.claim_id) is None]
        except (OSError, UnavailableError) as failure:
            logger.warning("Accepted manifests could not be checked against the store: %s", failure)
            return
        if lost:
            logger.warning("%d accepted manifests are unknown to the store; they are submitted again.", len(lost))
            self._wait_for(lost)
            self._wake_up()

    async def _settle(self, batch: Batch) -> None:
        """Submit what was taken, and put each file where it belongs."""
        await self._put_away(await self._submitted(batch))

    async def _put_away(self, outcome: Settlement) -> None:
        if outcome.claims:
            await self._in_thread(partial(self._put_in_place, outcome))
            self._forget(outcome)

    async def _submitted(self, batch: Batch) -> Settlement:
        """Submit what was taken; each claim counts as waiting until it is in its place."""
        self._wait_for([*batch.open, *(taken.claim for taken in batch.taken)])
        outcome = await self._submitter.submit(batch.taken)
        for claim, reason in outcome.put_off:
            self._put_off(claim, reason)
        if outcome.closed_for:
            self._closed_until = max(self._closed_until, self._clock.monotonic() + outcome.closed_for)
        return outcome

    def _forget(self, outcome: Settlement) -> None:
        for claim in outcome.claims:
            self._waiting.pop(claim.claim_id, None)

    def _put_off(self, claim: Claim, reason: str | None = None) -> None:
        """One claim alone waits, longer each time; the others go on."""
        before = self._waiting.get(claim.claim_id)
        failures = before.failures if before else 0
        pause = min(_FIRST_PUT_OFF * 2**failures, _LONGEST_PUT_OFF)
        not_before = self._clock.monotonic() + pause
        self._waiting[claim.claim_id] = _Waiting(
            claim=claim, not_before=not_before, failures=failures + 1, reason=reason
        )

    def _put_in_place(self, outcome: Settlement) -> None:
        for claim in outcome.accepted:
            self._claims.accept(claim)
        for claim, refusal in outcome.refused:
            at = self._clock.now()
            report = refusal_report(refusal, file_name=claim.file_name, claim_id=claim.claim_id, at=at)
            self._claims.refuse(claim, report)
            logger.warning("%r was refused: %s", claim.file_name, report["message"])

    def _new_claim_id(self) -> str:
        return new_claim_id(self._clock.now())

    def _wake_up(self) -> None:
        self._woken = True
        self._asleep.cancel()

    async def _sleep_until_woken(self, seconds: float) -> None:
        with anyio.CancelScope() as self._asleep:
            if not self._woken:
                await self._clock.sleep(seconds)

    async def _in_thread(self, deed: Callable[[], _Result]) -> _Result:
        """Touch files. On cancellation a thread that hangs is left behind; the next start finds what it claims."""
        self._asked_at = self._clock.monotonic()
        try:
            return await to_thread.run_sync(deed, limiter=self._thread, abandon_on_cancel=True)
        finally:
            self._asked_at = None
