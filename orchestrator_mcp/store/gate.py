"""The one gate that every change of a job passes: the state table, the history row, and the event."""

from __future__ import annotations

from collections.abc import Sequence

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
    if state.final:
        tx.run("end_batch", b_id=row)  # its batch ends with the last of its jobs, in the same transaction
    return JobChanged(job_id=job_id, seq=added["seq"], state=state, stage=stage)


def next_seq(tx: Transaction) -> int:
    """The number of the next history row; nobody else takes it before the transaction ends."""
    found = tx.one("last_seq")
    return (int(found[0]) if found else 0) + 1


def tell_new(
    tx: Transaction, first: tuple[int, str], states: Sequence[JobState], seq: int, at: int, reason: str
) -> JobChanged:
    """Write the history rows of many new jobs, stored in a row with the numbers from `seq` on.

    Args:
        tx: the transaction.
        first: row and id of the first job.
        states: where each of them stands; at least one.
        seq: what `next_seq` said.
        at: when, milliseconds since the Unix epoch.
        reason: why, in words.

    Returns:
        What is told after the commit: only of the first, as a hint for whoever looks for work.
    """
    for state in set(states):
        if not may_follow(None, state):
            raise AssertionError(f"the state table has no way to begin as {state}")
    row, job_id = first
    tx.many(
        "add_histories",
        (
            {
                "seq": seq + place,
                "job_id": row + place,
                "at": at,
                "state": STATE_CODES[state],
                "stage": None,
                "attempt": 0,
                "reason": reason,
            }
            for place, state in enumerate(states)
        ),
    )
    return JobChanged(job_id=job_id, seq=seq, state=states[0])
