"""The pure decision after an attempt: is the job at its end, or is it tried again, and where?

Losses of infrastructure do not use up the retry budget; workflow errors are not repeated blindly; no job may take
down more than two backends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator_mcp.domain.jobs import Artifact, JobFailure, JobState, Outcome

MOST_LOSSES: Final = 2  # backends that may die with a job in flight before it is held back
OUT_OF_MEMORY: Final = frozenset(
    {"torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "torch.cuda.memory.OutOfMemoryError"}
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an attempt ended, as its runner saw it.

    Attributes:
        outcome: how.
        reason: why, in words for people.
        failure: what a failed job would say.
        artifacts: the published files of a success.
        elsewhere: whether it says more of the backend than of the job (a missing model, out of memory).
        died: whether the backend itself went down with the prompt.
    """

    outcome: Outcome
    reason: str
    failure: JobFailure | None = None
    artifacts: tuple[Artifact, ...] = ()
    elsewhere: bool = False
    died: bool = False


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The job ends."""

    state: JobState
    failure: JobFailure | None = None
    attention: bool = False


@dataclass(frozen=True, kw_only=True)
class Again:
    """The job is queued again.

    Attributes:
        delay: seconds to wait first.
        avoid: whether this backend is never asked again.
        charge: whether the attempt uses up the retry budget.
    """

    delay: float = 0.0
    avoid: bool = False
    charge: bool = False


def decide(
    ended: Ended,
    *,
    others: bool,
    charged: int,
    losses: int,
    max_attempts: int,
    retry_delay: float,
    retry_delay_max: float,
) -> Settled | Again:
    """What becomes of a job after an attempt.

    Args:
        ended: how the attempt ended.
        others: whether another backend may be able to run the job.
        charged: attempts that used up the budget before this one.
        losses: backends that went down with this job before this one.
        max_attempts: the budget.
        retry_delay: seconds before the first retry; doubles with each.
        retry_delay_max: the longest pause in seconds.
    """
    match ended.outcome:
        case Outcome.SUCCEEDED:
            return Settled(state=JobState.COMPLETED)
        case Outcome.CANCELLED:
            return Settled(state=JobState.CANCELLED)
        case Outcome.REVOKED:
            return Again()
        case Outcome.REFUSED:
            return Again(delay=retry_delay)
        case Outcome.UNKNOWN:
            return Settled(state=JobState.FAILED, failure=ended.failure, attention=True)
        case Outcome.LOST if ended.died and losses + 1 >= MOST_LOSSES:
            return Settled(state=JobState.FAILED, failure=_poison(ended), attention=True)
        case Outcome.LOST:
            return Again()
    if ended.outcome is Outcome.REJECTED and ended.elsewhere and others:
        return Again(avoid=True)
    budget_left = charged + 1 < max_attempts
    may_help = ended.outcome is Outcome.TIMED_OUT or (ended.elsewhere and others)
    if ended.outcome is not Outcome.REJECTED and may_help and budget_left:
        return Again(delay=min(retry_delay * 2**charged, retry_delay_max), avoid=others, charge=True)
    return Settled(state=JobState.FAILED, failure=ended.failure)


def _poison(ended: Ended) -> JobFailure:
    return JobFailure(
        code="poison_suspected",
        message=f"{MOST_LOSSES} backends went down while they held this job; it is not sent to another. {ended.reason}",
        hint="Look at the backends' own logs. Submit the job again when you know that it is not the cause.",
    )
