"""The one gate that every change of a job passes: the state table, the history row, and the event."""

from __future__ import annotations

from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobState, Stage
from orchestrator_mcp.domain.transitions import may_follow
from orchestrator_mcp.store.schema import STATE_CODES
from orchestrator_mcp.store.sqlite import Transaction


def tell(
    tx: Transaction,
    row: int,
    job_id: str,
    left: JobState | None,
    state: JobState,
    *,
    at: int,
    stage: Stage | None = None,
    attempt: int = 0,
    reason: str | None = None,
) -> JobChanged:
    """Write the history row of a change.

    Args:
        tx: the transaction.
        row: the job's row.
        job_id: the job.
        left: the state that the guard of the change just proved; None for a new job.
        state: the one that it has now.
        at: when, milliseconds since the Unix epoch.
        stage: what a running job does now.
        attempt: the number of its attempt.
        reason: why, in words.

    Returns:
        What is told after the commit.
    """
    if left is not state and not may_follow(left, state):
        raise AssertionError(f"the state table has no way from {left} to {state}")
    added = tx.one(
        "add_history",
        job_id=row,
        at=at,
        state=STATE_CODES[state],
        stage=stage.value if stage else None,
        attempt=attempt,
        reason=reason,
    )
    assert added is not None  # RETURNING gives a row or raises
    tx.run("stamp_job", b_id=row, b_seq=added["seq"])
    return JobChanged(job_id=job_id, seq=added["seq"], state=state, stage=stage)
