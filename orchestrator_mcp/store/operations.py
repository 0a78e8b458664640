"""What may happen to jobs, each as one operation inside a transaction. Runs on the store thread only.

Every change of state is one guarded UPDATE, one history row with a reason, and one event that is told after commit.
Zero rows changed means that somebody else owns the attempt: LeaseLostError.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Final

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.chains import Ending
from orchestrator_mcp.domain.jobs import Artifact, JobFailure, JobState, Outcome, Stage
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.errors import JobFinishedError, LeaseLostError
from orchestrator_mcp.store import chains
from orchestrator_mcp.store.gate import tell
from orchestrator_mcp.store.lanes import enters, lane_for, leaves
from orchestrator_mcp.store.records import JobSpec, OpenAttempt
from orchestrator_mcp.store.schema import STATE_CODES, STATES
from orchestrator_mcp.store.sqlite import Transaction
from orchestrator_mcp.store.whole_jobs import job_row

_BEFORE_RENDER: Final = frozenset({Stage.DISPATCHING, Stage.WAITING})


def advance(
    tx: Transaction,
    held: OpenAttempt,
    stage: Stage,
    now: datetime,
    *,
    accepted_as: str | None = None,
    reason: str | None = None,
) -> None:
    """A running job enters a stage. A job has started when it is first rendered, an attempt when its backend took it.

    Args:
        tx: the transaction.
        held: the attempt, as it was claimed or adopted.
        stage: the new stage.
        now: the present moment.
        accepted_as: the prompt id under which the backend took it, when that is known now.
        reason: why, where that does not follow from the stage.

    Raises:
        LeaseLostError: the attempt is no longer ours.
    """
    at, seq = to_millis(now), tx.take_seqs()
    begun = None if stage in _BEFORE_RENDER else at
    if not tx.run("set_stage", b_stage=stage.value, b_begun=begun, b_seq=seq, **_fence(held)):
        raise _lost(held)
    if accepted_as is not None:
        tx.later("accept_attempt", b_id=held.row, b_attempt=held.number, b_now=at, b_prompt=accepted_as)
    running = JobState.RUNNING
    tell(tx, held.row, held.job_id, running, running, seq=seq, at=at, stage=stage, attempt=held.number, reason=reason)


def warn(tx: Transaction, held: OpenAttempt, words: str, now: datetime) -> None:
    """A running job has something more to say in its warnings, once.

    Raises:
        LeaseLostError: the attempt is no longer ours.
    """
    row = tx.one("running_spec", **_fence(held))
    if row is None:
        raise _lost(held)
    spec = JobSpec.from_json(row["spec"])
    if words not in spec.warnings:
        spec = replace(spec, warnings=[*spec.warnings, words])
    seq = tx.take_seqs()
    tx.run("set_spec", b_spec=spec.to_json(), b_seq=seq, **_fence(held))
    stage = Stage(row["stage"]) if row["stage"] else None
    running, at = JobState.RUNNING, to_millis(now)
    tell(tx, held.row, held.job_id, running, running, seq=seq, at=at, stage=stage, attempt=held.number, reason=words)


def finish(
    tx: Transaction,
    held: OpenAttempt,
    state: JobState,
    outcome: Outcome,
    now: datetime,
    *,
    reason: str,
    failure: JobFailure | None = None,
    artifacts: Sequence[Artifact] = (),
    attention: bool = False,
    report: RenderReport | None = None,
    deliver: bool = True,
) -> None:
    """A running job ends, with its one published result; in the same breath its children go on, or fail with it.

    Args:
        tx: the transaction.
        held: its attempt.
        state: its last.
        outcome: how the attempt ended.
        now: the present moment.
        reason: why, in words.
        failure: what went wrong, of a job that failed.
        artifacts: its files.
        attention: whether somebody should look at it.
        report: what is known of the render.
        deliver: whether its result goes to the Outbox although it did not come through the Inbox.

    Raises:
        LeaseLostError: the attempt is no longer ours.
    """
    at, seq = to_millis(now), tx.take_seqs()
    changed = tx.run(
        "finish_job",
        b_state=STATE_CODES[state],
        b_now=at,
        b_failure=json.dumps(asdict(failure), ensure_ascii=False) if failure else None,
        b_attention=attention,
        b_deliver=deliver,
        b_seq=seq,
        **_fence(held),
    )
    if not changed:
        raise _lost(held)
    _end_attempt(tx, held, at, outcome, reason, report)
    for position, artifact in enumerate(artifacts):
        tx.run("add_artifact", job_id=held.row, position=position, **asdict(artifact))
    _tell_end(tx, held, state, seq, at, reason)
    ending = Ending(job_id=held.job_id, state=state, outputs=artifacts, failure=failure)
    chains.settle(tx, held.row, ending, at)


def requeue(
    tx: Transaction,
    held: OpenAttempt,
    outcome: Outcome,
    now: datetime,
    *,
    reason: str,
    not_before: datetime | None = None,
    avoid: bool = False,
    charge: bool = False,
) -> None:
    """An attempt ended without a result; the job is queued again, at once or later.

    A job whose cancel was asked for meanwhile ends as cancelled instead.

    Args:
        tx: the transaction.
        held: the attempt that ended.
        outcome: how.
        now: the present moment.
        reason: why, in words.
        not_before: wait until then.
        avoid: never offer it to this backend again.
        charge: whether it uses up the retry budget.

    Raises:
        LeaseLostError: the attempt is no longer ours.
    """
    at = to_millis(now)
    flag = tx.one("cancel_flag", b_id=held.row)
    if flag is not None and flag["cancel_requested_at"] is not None:
        finish(tx, held, JobState.CANCELLED, outcome, now, reason=f"cancelled; {reason}")
        return
    seq = tx.take_seqs()
    state = JobState.WAITING if not_before is not None else JobState.QUEUED
    lane_id = lane_for(tx, held.lane.avoiding(held.backend_id)) if avoid else held.lane_id
    changed = tx.run(
        "requeue_job",
        b_state=STATE_CODES[state],
        b_lane=lane_id,
        b_charge=int(charge),
        b_not_before=to_millis(not_before) if not_before else None,
        b_seq=seq,
        **_fence(held),
    )
    if not changed:
        raise _lost(held)
    _end_attempt(tx, held, at, outcome, reason)
    enters(tx, lane_id, state)
    _tell_end(tx, held, state, seq, at, reason)


def request_cancel(tx: Transaction, job_id: str, now: datetime) -> JobState:
    """Cancel a job that has not started, or flag one that runs.

    Returns:
        The state that it had.

    Raises:
        NotFoundError: no such job.
        JobFinishedError: it has completed or failed.
    """
    row = job_row(tx, job_id)
    state, at = STATES[row["state"]], to_millis(now)
    if state in (JobState.COMPLETED, JobState.FAILED):
        raise JobFinishedError(job_id, state.value)
    if state is JobState.CANCELLED or (state is JobState.RUNNING and row["cancel_requested_at"] is not None):
        return state
    if state is JobState.RUNNING:
        _flag(tx, row, at)
    else:
        _end_unstarted(tx, row, state, at)
    return state


def _flag(tx: Transaction, row: sqlite3.Row, at: int) -> None:
    running, stage, seq = JobState.RUNNING, Stage(row["stage"]) if row["stage"] else None, tx.take_seqs()
    tx.run("flag_cancel", b_id=row["id"], b_now=at, b_seq=seq)
    tell(
        tx,
        row["id"],
        row["uid"],
        running,
        running,
        seq=seq,
        at=at,
        stage=stage,
        attempt=row["attempt"],
        reason="cancel requested",
        cancel=True,
    )


def _end_unstarted(tx: Transaction, row: sqlite3.Row, state: JobState, at: int) -> None:
    seq, cancelled = tx.take_seqs(), JobState.CANCELLED
    tx.run(
        "finish_unstarted",
        b_id=row["id"],
        b_state=STATE_CODES[cancelled],
        b_now=at,
        b_cancelled=at,
        b_failure=None,
        b_seq=seq,
    )
    leaves(tx, row["lane_id"], state)
    chains.leave(tx, row["id"])
    tell(
        tx,
        row["id"],
        row["uid"],
        state,
        cancelled,
        seq=seq,
        at=at,
        attempt=row["attempt"],
        reason="cancelled before it started",
        batch=row["batch_id"],
    )
    chains.settle(tx, row["id"], Ending(job_id=row["uid"], state=cancelled), at)


def _tell_end(tx: Transaction, held: OpenAttempt, state: JobState, seq: int, at: int, reason: str) -> None:
    """The attempt is over, and its job stands where it says."""
    left, number = JobState.RUNNING, held.number
    tell(tx, held.row, held.job_id, left, state, seq=seq, at=at, attempt=number, reason=reason, batch=held.batch)


def _fence(held: OpenAttempt) -> dict[str, int]:
    return {"b_id": held.row, "b_attempt": held.number, "b_epoch": held.epoch}


def _lost(held: OpenAttempt) -> LeaseLostError:
    return LeaseLostError(f"Attempt {held.number} of job {held.job_id} is no longer ours.")


def _end_attempt(
    tx: Transaction, held: OpenAttempt, at: int, outcome: Outcome, reason: str, report: RenderReport | None = None
) -> None:
    tx.later(
        "end_attempt",
        b_id=held.row,
        b_attempt=held.number,
        b_now=at,
        b_outcome=outcome.value,
        b_reason=reason,
        b_report=report.to_json() if report is not None else None,
    )
