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
    seq: int,
    at: int,
    stage: Stage | None = None,
    attempt: int = 0,
    reason: str | None = None,
    batch: int | None = None,
    cancel: bool = False,
) -> None:
    """Put a change on record, and tell of it after the commit.

    Args:
        tx: the transaction.
        row: the job's row.
        job_id: the job.
        left: the state that the guard of the change just proved; None for a new job.
        state: the one that it has now.
        seq: the number of the history row, which the change wrote into the job.
        at: when, milliseconds since the Unix epoch.
        stage: what a running job does now.
        attempt: the number of its attempt.
        reason: why, in words.
        batch: the row of its batch.
        cancel: whether the change is the wish to cancel a job that runs.
    """
    if left is not state and not may_follow(left, state):
        raise AssertionError(f"the state table has no way from {left} to {state}")
    tx.later(
        "add_history",
        seq=seq,
        job_id=row,
        at=at,
        state=STATE_CODES[state],
        stage=stage.value if stage else None,
        attempt=attempt,
        reason=reason,
    )
    if batch is not None and state.final:
        tx.later("end_batch", b_batch=batch)  # it ends with the last of its jobs, in the same transaction
    tx.told.append(JobChanged(job_id=job_id, seq=seq, state=state, stage=stage, cancel=cancel))


def tell_begun(tx: Transaction, jobs: Sequence[tuple[int, str, int]], stage: Stage, seq: int, at: int) -> None:
    """Put on record that queued jobs run now, and tell of each after the commit.

    Args:
        tx: the transaction.
        jobs: row, id and number of the attempt of each.
        stage: what they begin with.
        seq: the number of the first one's history row; the others follow.
        at: when, milliseconds since the Unix epoch.
    """
    state = JobState.RUNNING
    if not may_follow(JobState.QUEUED, state):
        raise AssertionError(f"the state table has no way from {JobState.QUEUED} to {state}")
    shared = {"at": at, "state": STATE_CODES[state], "stage": stage.value, "reason": None}
    rows = ((seq + place, row, number) for place, (row, _, number) in enumerate(jobs))
    tx.later_alike("add_history", shared, ("seq", "job_id", "attempt"), rows)
    tx.told += [
        JobChanged(job_id=job_id, seq=seq + place, state=state, stage=stage)
        for place, (_, job_id, _) in enumerate(jobs)
    ]


def tell_new(
    tx: Transaction, first: tuple[int, str], states: Sequence[JobState], seq: int, at: int, reason: str
) -> None:
    """Put many new jobs on record, stored in a row with the numbers from `seq` on.

    Only of the first is told: nobody can listen yet to any of them, and one hint wakes whoever looks for work.

    Args:
        tx: the transaction.
        first: row and id of the first job.
        states: where each of them stands; at least one.
        seq: what `take_seqs` said.
        at: when, milliseconds since the Unix epoch.
        reason: why, in words.
    """
    for state in set(states):
        if not may_follow(None, state):
            raise AssertionError(f"the state table has no way to begin as {state}")
    row, job_id = first
    shared = {"at": at, "stage": None, "attempt": 0, "reason": reason}
    rows = ((seq + place, row + place, STATE_CODES[state]) for place, state in enumerate(states))
    tx.many_alike("add_history", shared, ("seq", "job_id", "state"), rows)
    tx.told.append(JobChanged(job_id=job_id, seq=seq, state=states[0]))
