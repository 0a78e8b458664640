"""The state table: what may follow what, and why. Nothing else in the house knows."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.jobs import JobState, Outcome

NEXT: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.WAITING: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.WAITING, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

INFRASTRUCTURE: Final = frozenset({Outcome.REFUSED, Outcome.LOST, Outcome.REVOKED})
"""Outcomes that say nothing about the job: they do not use up its retry budget."""


def may_follow(present: JobState, following: JobState) -> bool:
    """Whether a job may go from one state to the other."""
    return following in NEXT[present]
