"""What the filters of a list mean to the store."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.errors import ManifestError

STATUSES: Final = {
    "queued": (JobState.QUEUED, JobState.WAITING),
    "running": (JobState.RUNNING,),
    "completed": (JobState.COMPLETED,),
    "failed": (JobState.FAILED,),
    "cancelled": (JobState.CANCELLED,),
}


def states_of(name: str) -> tuple[JobState, ...]:
    """The stored states that show as this status. Raises ManifestError."""
    if name not in STATUSES:
        raise ManifestError.at("status", message=f"there is no status {name[:50]!r}", allowed=STATUSES)
    return STATUSES[name]


def row_before(cursor: str | None) -> int | None:
    """The row before which a page begins. Raises ManifestError."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise ManifestError.at("cursor", message="it is not a next_cursor of an earlier answer")
    return int(cursor)
