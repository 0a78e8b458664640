"""The Inbox: manifests dropped into a folder become jobs.

The scan is the truth; file events only make it come earlier. Files are touched in threads, one step at a time, so
that a share that hangs keeps nobody else waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskGroup, TaskStatus

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.steps import AtStep, Step, no_step
from orchestrator_mcp.domain.workflow_documents import NO_CATALOGUE
from orchestrator_mcp.errors import CallerError, ManifestError, ShareFullError, UnavailableError
from orchestrator_mcp.files import is_network_filesystem
from orchestrator_mcp.service import JobService
from watcher.claims import Claim, ClaimFolder, new_claim_id
from watcher.reading import refusal_report
from watcher.rules import LOCAL, NETWORK, Patience, pause_until_next_look
from watcher.scanner import Batch, Entry, ScanLimits, Scanner, Taken
from watcher.wakes import wake_on_events

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_LOCAL_INTERVAL: Final = 2.0  # seconds between scans
_NETWORK_INTERVAL: Final = 5.0
_HANGS_AFTER: Final = 30.0  # seconds without an answer of the file system
_FIRST_PUT_OFF: Final = 5.0  # seconds until a claim is tried again whose submission failed; doubled each time
_LONGEST_PUT_OFF: Final = 300.0
_SAME_FILE_WITHIN: Final = 5.0  # seconds


@dataclass(frozen=True, kw_only=True)
class InboxLimits:
    """What the Inbox takes at most.

    Attributes:
        scan: of one step of a scan.
        submissions: at one time.
        patience: how long files are given; by the kind of file system when None.
    """

    scan: ScanLimits = field(default_factory=ScanLimits)
    submissions: int = 64
    patience: Patience | None = None


@dataclass(frozen=True, kw_only=True)
class _Earlier:
    """A file that became a job a moment ago."""

    job_id: str
    at: float


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A claim that is not settled: its file still changes, or its submission failed."""

    claim: Claim
    not_before: float = 0.0
    failures: int = 0
    reason: str | None = None


@dataclass(kw_only=True)
class _Settlement:
    """What became of the claims of one step."""

    accepted: list[Claim] = field(default_factory=list)
    refused: list[tuple[Claim, Exception]] = field(default_factory=list)


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
        self._at_step = at_step
        self._thread = CapacityLimiter(1)
        self._submissions = CapacityLimiter(self._limits.submissions)
        self._wake = anyio.Event()
        self._asked_at: float | None = None
        self._trouble: str | None = None
        self._scanner: Scanner | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._closed_until = 0.0
        self._recent: dict[tuple[str, str], _Earlier] = {}

    @property
    def trouble(self) -> str | None:
        """What keeps the Inbox from working now, in words, or None."""
        if self._asked_at is not None:
            silent = self._clock.monotonic() - self._asked_at
            if silent > _HANGS_AFTER:
                return f"The Inbox {self._claims.inbox} has not answered for {silent:.0f} s."
        if self._trouble is None and self._scanner is not None:
            return self._scanner.trouble(self._clock.monotonic()) or self._unknowing()
        return self._trouble

    @property
    def notice(self) -> str | None:
        """What lies in the Inbox and is not for it, in words, or None."""
        return None if self._scanner is None else self._scanner.notice

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
        return Scanner(self._claims, patience=patience, limits=self._limits.scan, leases=not self._network)

    async def _round(self, scanner: Scanner) -> float:
        """One look at everything. Returns the seconds until the next."""
        self._wake = anyio.Event()
        interval = self._interval or _LOCAL_INTERVAL
        if self._trouble is not None:
            await self._in_thread(self._claims.prepare)
            self._wait_for(await self._in_thread(self._claims.claimed))
        if self._service.closed_because is not None:
            return interval
        await self._look_again_at_claims(scanner)
        left: list[Entry] = await self._in_thread(scanner.entries) if self._pause_left() <= 0 else []
        while left and self._pause_left() <= 0:
            step = partial(scanner.take, left, self._clock.monotonic(), self._new_claim_id)
            batch = await self._in_thread(step)
            left = batch.left
            await self._settle(batch)
        now = self._clock.monotonic()
        pause = pause_until_next_look(scanner.arriving(now), now, interval=interval)
        return max(pause, self._pause_left())

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
        outcome = _Settlement()
        self._wait_for(batch.open)
        async with anyio.create_task_group() as tasks:
            for taken in batch.taken:
                if taken.manifest is None:
                    outcome.refused.append((taken.claim, taken.refusal or CallerError("The file is no manifest.")))
                else:
                    await self._submissions.acquire_on_behalf_of(taken.claim.claim_id)
                    tasks.start_soon(self._submit, taken, outcome)
        both = [*outcome.accepted, *(claim for claim, _ in outcome.refused)]
        self._wait_for(both)  # until each is in its place: a disk may be full
        await self._in_thread(partial(self._put_in_place, outcome))
        for claim in both:
            self._waiting.pop(claim.claim_id, None)

    async def _submit(self, taken: Taken, outcome: _Settlement) -> None:
        """The supervision boundary around one submission."""
        claim = taken.claim
        try:
            await self._accept(taken)
            outcome.accepted.append(claim)
        except CallerError as refusal:
            if _may_be_lifted(refusal):
                logger.warning("%r waits in the Inbox: %s", claim.file_name, refusal)
                self._put_off(claim, refusal.message)
            else:
                outcome.refused.append((claim, refusal))
        except ShareFullError as full:
            logger.warning("%r waits in the Inbox: %s", claim.file_name, full)
            self._put_off(claim, full.message)
        except UnavailableError as failure:
            logger.warning("%r waits in the Inbox: %s", claim.file_name, failure)
            self._closed_until = max(self._closed_until, self._clock.monotonic() + failure.retry_after)
            self._wait_for([claim])
        except Exception:
            self._put_off(claim)
            logger.exception("Submitting %r failed; it is tried again.", claim.file_name)
        finally:
            self._submissions.release_on_behalf_of(claim.claim_id)

    def _put_off(self, claim: Claim, reason: str | None = None) -> None:
        """One claim alone waits, longer each time; the others go on."""
        before = self._waiting.get(claim.claim_id)
        failures = before.failures if before else 0
        pause = min(_FIRST_PUT_OFF * 2**failures, _LONGEST_PUT_OFF)
        not_before = self._clock.monotonic() + pause
        self._waiting[claim.claim_id] = _Waiting(
            claim=claim, not_before=not_before, failures=failures + 1, reason=reason
        )

    async def _accept(self, taken: Taken) -> None:
        claim = taken.claim
        assert taken.manifest is not None
        self._at_step(Step.CLAIMED)
        key = (claim.file_name, taken.sha256)
        self._refuse_the_same_file(key)
        accepted_id = await self._submitted(taken, taken.manifest)
        self._recent.pop(key, None)
        self._recent[key] = _Earlier(job_id=accepted_id, at=self._clock.monotonic())
        what = "a job" if taken.manifest.batch is None else "a batch"
        logger.info("%r became %s.", claim.file_name, what, extra={"job_id": accepted_id})

    async def _submitted(self, taken: Taken, manifest: Manifest) -> str:
        """Hand it in; the id of the job or batch that it became."""
        claim = taken.claim
        given: dict[str, Any] = {
            "door": Door.INBOX,
            "stem": taken.stem or claim.stem,
            "claim": InboxClaim(claim_id=claim.claim_id, file_name=claim.file_name),
            "warnings": taken.warnings,
            "beside": claim.path if claim.folder else None,
        }
        if manifest.batch is not None:
            return (await self._service.batches.submit(manifest, **given)).batch_id
        return (await self._service.submit(manifest, **given)).job_id

    def _refuse_the_same_file(self, key: tuple[str, str]) -> None:
        now = self._clock.monotonic()
        while self._recent and now - next(iter(self._recent.values())).at >= _SAME_FILE_WITHIN:
            self._recent.pop(next(iter(self._recent)))
        earlier = self._recent.get(key)
        if earlier is not None and now - earlier.at < _SAME_FILE_WITHIN:
            raise ManifestError.at(
                message=f"The same file came {now - earlier.at:.1f} s before and became the job {earlier.job_id}.",
                code="duplicate",
                hint=f"To render it again, drop it again: {_SAME_FILE_WITHIN:.0f} s later it counts as a new wish.",
            )

    def _put_in_place(self, outcome: _Settlement) -> None:
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
        self._wake.set()

    async def _sleep_until_woken(self, seconds: float) -> None:
        async with anyio.create_task_group() as tasks:

            async def wait_for(done: Callable[[], Awaitable[object]]) -> None:
                await done()
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait_for, partial(self._clock.sleep, seconds))
            tasks.start_soon(wait_for, self._wake.wait)

    async def _in_thread(self, deed: Callable[[], _Result]) -> _Result:
        """Touch files. On cancellation a thread that hangs is left behind; the next start finds what it claims."""
        self._asked_at = self._clock.monotonic()
        try:
            return await to_thread.run_sync(deed, limiter=self._thread, abandon_on_cancel=True)
        finally:
            self._asked_at = None


def _may_be_lifted(refusal: CallerError) -> bool:
    """Whether only a backend that answers is missing: nobody stands there who could hand the file in once more."""
    return isinstance(refusal, ManifestError) and all(each.code == NO_CATALOGUE for each in refusal.problems)
