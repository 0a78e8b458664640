"""The state table: what may follow what. Every change of a job passes it before it is committed."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.jobs import JobState

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
BEGINNINGS: Final = frozenset({JobState.QUEUED, JobState.WAITING})
"""Where a new job stands: it waits when another one must be done before it."""


def may_follow(present: JobState | None, following: JobState) -> bool:
    """Whether a job may go from one state to the other; a new job comes from None."""
    return following in BEGINNINGS if present is None else following in NEXT[present]
