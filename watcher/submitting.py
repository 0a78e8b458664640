"""From files that were taken to jobs: plain manifests many at a time, whatever else there is one by one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.access import LOCAL
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.steps import AtStep, Step
from orchestrator_mcp.domain.workflow_documents import NO_CATALOGUE
from orchestrator_mcp.errors import CallerError, ManifestError, ShareFullError, UnavailableError
from orchestrator_mcp.service import JobService, Submission
from watcher.claims import Claim
from watcher.scanner import Taken

logger = logging.getLogger(__name__)

_SAME_FILE_WITHIN: Final = 5.0  # seconds


@dataclass(kw_only=True)
class Settlement:
    """What became of some claims.

    Attributes:
        accepted: they are jobs or batches.
        refused: they are none, and why.
        put_off: they are tried again later, each alone, with the words for people where there are any.
        closed_for: seconds for which the service wants to be left alone; the claims that it did not take are in none
            of the lists.
    """

    accepted: list[Claim] = field(default_factory=list)
    refused: list[tuple[Claim, Exception]] = field(default_factory=list)
    put_off: list[tuple[Claim, str | None]] = field(default_factory=list)
    closed_for: float = 0.0

    @property
    def claims(self) -> list[Claim]:
        """Those whose file can be put where it belongs."""
        return [*self.accepted, *(claim for claim, _ in self.refused)]


@dataclass(frozen=True, kw_only=True)
class _Earlier:
    """A file that became a job a moment ago."""

    job_id: str
    at: float


class Submitter:
    """Hands in what was taken.

    Args:
        service: where jobs go.
        clock: the time.
        most: submissions at one time, and in one transaction.
        at_step: see `domain.steps`.
    """

    def __init__(self, service: JobService, *, clock: Clock, most: int, at_step: AtStep) -> None:
        self._service = service
        self._clock = clock
        self._most = most
        self._at_step = at_step
        self._alone = anyio.CapacityLimiter(most)
        self._recent: dict[tuple[str, str], _Earlier] = {}

    async def submit(self, several: Sequence[Taken]) -> Settlement:
        """Submit what was taken: plain manifests in their order, then job folders and batches side by side."""
        outcome = Settlement()
        plain, others = [], []
        for taken in several:
            if taken.manifest is None:
                outcome.refused.append((taken.claim, taken.refusal or CallerError("The file is no manifest.")))
            elif taken.manifest.batch is not None or taken.claim.folder:
                others.append(taken)
            else:
                plain.append(taken)
        for first in range(0, len(plain), self._most):
            await self._submit_together(plain[first : first + self._most], outcome)
        async with anyio.create_task_group() as tasks:
            for taken in others:
                tasks.start_soon(self._submit_in_turn, taken, outcome)
        return outcome

    async def _submit_together(self, several: Sequence[Taken], outcome: Settlement) -> None:
        """The supervision boundary around some submissions: with a fault among them, each is submitted alone."""
        self._forget_the_old()
        first: dict[tuple[str, str], Taken] = {}
        alone = [one for one in several if first.setdefault(one.key, one) is not one or one.key in self._recent]
        together = [taken for taken in several if taken not in alone] if alone else several
        try:
            for _ in together:
                self._at_step(Step.CLAIMED)
            answers = await self._service.submit_each([_submission(taken) for taken in together])
        except Exception as fault:  # noqa: BLE001 - one by one it shows whose it is, and is told
            logger.debug("Some files are submitted one by one, since together it failed: %r", fault)
            alone = list(several)
        else:
            for taken, answer in zip(together, answers, strict=True):
                self._note(taken, answer if isinstance(answer, Exception) else answer.job_id, outcome)
        for taken in alone:
            await self._submit_alone(taken, outcome)

    async def _submit_in_turn(self, taken: Taken, outcome: Settlement) -> None:
        async with self._alone:
            await self._submit_alone(taken, outcome)

    async def _submit_alone(self, taken: Taken, outcome: Settlement) -> None:
        """The supervision boundary around one submission."""
        try:
            self._at_step(Step.CLAIMED)
            self._refuse_the_same_file(taken)
            answer = await self._handed_in(_submission(taken))
        except Exception as error:  # noqa: BLE001 - noted, and told as it deserves
            answer = error
        self._note(taken, answer, outcome)

    async def _handed_in(self, wanted: Submission) -> str | Exception:
        """Hand one in; the id of the job or batch that it became."""
        if wanted.manifest.batch is None:
            [answer] = await self._service.submit_each([wanted])
            return answer if isinstance(answer, Exception) else answer.job_id
        return (await self._service.batches.submit(wanted)).batch_id

    def _note(self, taken: Taken, answer: str | Exception, outcome: Settlement) -> None:
        """Note what became of a submission: the id of a job or batch, or what was raised."""
        claim = taken.claim
        if isinstance(answer, str):
            self._remember(taken, answer)
            outcome.accepted.append(claim)
        elif isinstance(answer, CallerError) and not _may_be_lifted(answer):
            outcome.refused.append((claim, answer))
        elif isinstance(answer, CallerError | ShareFullError):
            logger.warning("%r waits in the Inbox: %s", claim.file_name, answer)
            outcome.put_off.append((claim, answer.message))
        elif isinstance(answer, UnavailableError):
            logger.warning("%r waits in the Inbox: %s", claim.file_name, answer)
            outcome.closed_for = max(outcome.closed_for, answer.retry_after)
        else:
            logger.error("Submitting %r failed; it is tried again.", claim.file_name, exc_info=answer)
            outcome.put_off.append((claim, None))

    def _remember(self, taken: Taken, accepted_id: str) -> None:
        self._recent.pop(taken.key, None)
        self._recent[taken.key] = _Earlier(job_id=accepted_id, at=self._clock.monotonic())
        what = "a job" if taken.manifest is None or taken.manifest.batch is None else "a batch"
        logger.info("%r became %s.", taken.claim.file_name, what, extra={"job_id": accepted_id})

    def _forget_the_old(self) -> None:
        """Keep in mind only what came a moment ago."""
        now = self._clock.monotonic()
        while self._recent and now - next(iter(self._recent.values())).at >= _SAME_FILE_WITHIN:
            self._recent.pop(next(iter(self._recent)))

    def _refuse_the_same_file(self, taken: Taken) -> None:
        self._forget_the_old()
        earlier = self._recent.get(taken.key)
        if earlier is not None:
            since = self._clock.monotonic() - earlier.at
            raise ManifestError.at(
                message=f"The same file came {since:.1f} s before and became the job {earlier.job_id}.",
                code="duplicate",
                hint=f"To render it again, drop it again: {_SAME_FILE_WITHIN:.0f} s later it counts as a new wish.",
            )


def _submission(taken: Taken) -> Submission:
    claim = taken.claim
    assert taken.manifest is not None
    return Submission(
        manifest=taken.manifest,
        door=Door.INBOX,
        by=LOCAL,
        stem=taken.stem or claim.stem,
        claim=InboxClaim(claim_id=claim.claim_id, file_name=claim.file_name),
        warnings=taken.warnings,
        beside=claim.path if claim.folder else None,
    )


def _may_be_lifted(refusal: CallerError) -> bool:
    """Whether only a backend that answers is missing: nobody stands there who could hand the file in once more."""
    return isinstance(refusal, ManifestError) and all(each.code == NO_CATALOGUE for each in refusal.problems)
