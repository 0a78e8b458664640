"""What may happen to jobs, each as one operation inside a transaction. Runs on the store thread only.

Every change of state is one guarded UPDATE, one history row with a reason, and one event that is told after commit.
Zero rows changed means that somebody else owns the attempt: LeaseLostError.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.chains import Ending
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import Artifact, JobFailure, JobState, Outcome, Stage
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.errors import (
    JobFinishedError,
    LeaseLostError,
    NotFoundError,
)
from orchestrator_mcp.store import chains
from orchestrator_mcp.store.gate import tell
from orchestrator_mcp.store.lanes import enters, lane_for, leaves
from orchestrator_mcp.store.records import JobSpec, OpenAttempt
from orchestrator_mcp.store.schema import STATE_CODES, STATES
from orchestrator_mcp.store.sqlite import Transaction


def advance(
    tx: Transaction, held: OpenAttempt, stage: Stage, now: datetime, *, accepted_as: str | None = None
) -> JobChanged:
    """A running job enters a stage.

    Args:
        tx: the transaction.
        held: the attempt, as it was claimed or adopted.
        stage: the new stage.
        now: the present moment.
        accepted_as: the prompt id under which the backend took it, when that is known now.

    Raises:
        LeaseLostError: the attempt is no longer ours.
    """
    at = to_millis(now)
    if not tx.run("set_stage", b_stage=stage.value, **_fence(held)):
        raise _lost(held)
    if accepted_as is not None:
        tx.run("accept_attempt", b_id=held.row, b_attempt=held.number, b_now=at, b_prompt=accepted_as)
    running = JobState.RUNNING
    return tell(tx, held.row, held.job_id, running, running, at=at, stage=stage, attempt=held.number)


def warn(tx: Transaction, held: OpenAttempt, words: str, now: datetime) -> JobChanged:
    """A running job has something more to say in its warnings, once.

    Raises:
        LeaseLostError: the attempt is no longer ours.
    """
    row = tx.one("running_spec", **_fence(held))
    if row is None:
        raise _lost(held)
    spec = JobSpec.from_json(row["spec"])
    if words not in spec.warnings:
        changed = replace(spec, warnings=[*spec.warnings, words])
        tx.run("set_spec", b_spec=changed.to_json(), **_fence(held))
    stage = Stage(row["stage"]) if row["stage"] else None
    running, at = JobState.RUNNING, to_millis(now)
    return tell(tx, held.row, held.job_id, running, running, at=at, stage=stage, attempt=held.number, reason=words)


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
) -> list[JobChanged]:
    """A running job ends, with its one published result; in the same breath its children go on, or fail with it.

    Raises:
        LeaseLostError: the attempt is no longer ours.
    """
    at = to_millis(now)
    changed = tx.run(
        "finish_job",
        b_state=STATE_CODES[state],
        b_now=at,
        b_failure=json.dumps(asdict(failure), ensure_ascii=False) if failure else None,
        b_attention=attention,
        **_fence(held),
    )
    if not changed:
        raise _lost(held)
    _end_attempt(tx, held, at, outcome, reason, report)
    for position, artifact in enumerate(artifacts):
        tx.run("add_artifact", job_id=held.row, position=position, **asdict(artifact))
    told = tell(tx, held.row, held.job_id, JobState.RUNNING, state, at=at, attempt=held.number, reason=reason)
    ending = Ending(job_id=held.job_id, state=state, outputs=artifacts, failure=failure)
    return [told, *chains.settle(tx, held.row, ending, at)]


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
) -> list[JobChanged]:
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
        return finish(tx, held, JobState.CANCELLED, outcome, now, reason=f"cancelled; {reason}")
    state = JobState.WAITING if not_before is not None else JobState.QUEUED
    lane_id = lane_for(tx, held.lane.avoiding(held.backend_id)) if avoid else held.lane_id
    changed = tx.run(
        "requeue_job",
        b_state=STATE_CODES[state],
        b_lane=lane_id,
        b_charge=int(charge),
        b_not_before=to_millis(not_before) if not_before else None,
        **_fence(held),
    )
    if not changed:
        raise _lost(held)
    _end_attempt(tx, held, at, outcome, reason)
    enters(tx, lane_id, state)
    return [tell(tx, held.row, held.job_id, JobState.RUNNING, state, at=at, attempt=held.number, reason=reason)]


def request_cancel(tx: Transaction, job_id: str, now: datetime) -> tuple[JobState, list[JobChanged]]:
    """Cancel a job that has not started, or flag one that runs.

    Returns:
        The state that it had, and what there is to tell.

    Raises:
        NotFoundError: no such job.
        JobFinishedError: it has completed or failed.
    """
    row = tx.one("job_by_uid", b_uid=job_id)
    if row is None:
        raise NotFoundError("job", job_id)
    state, at = STATES[row["state"]], to_millis(now)
    if state in (JobState.COMPLETED, JobState.FAILED):
        raise JobFinishedError(job_id, state.value)
    if state is JobState.CANCELLED or (state is JobState.RUNNING and row["cancel_requested_at"] is not None):
        return state, []
    if state is JobState.RUNNING:
        tx.run("flag_cancel", b_id=row["id"], b_now=at)
        stage = Stage(row["stage"]) if row["stage"] else None
        told = tell(
            tx, row["id"], job_id, state, state, at=at, stage=stage, attempt=row["attempt"], reason="cancel requested"
        )
        return state, [replace(told, cancel=True)]
    return state, _end_unstarted(tx, row["id"], job_id, row["lane_id"], state, at, row["attempt"])


def _end_unstarted(
    tx: Transaction, row: int, job_id: str, lane_id: int, state: JobState, at: int, attempt: int
) -> list[JobChanged]:
    tx.run(
        "finish_unstarted",
        b_id=row,
        b_state=STATE_CODES[JobState.CANCELLED],
        b_now=at,
        b_cancelled=at,
        b_failure=None,
    )
    leaves(tx, lane_id, state)
    chains.leave(tx, row)
    reason = "cancelled before it started"
    told = tell(tx, row, job_id, state, JobState.CANCELLED, at=at, attempt=attempt, reason=reason)
    return [told, *chains.settle(tx, row, Ending(job_id=job_id, state=JobState.CANCELLED), at)]


def _fence(held: OpenAttempt) -> dict[str, int]:
    return {"b_id": held.row, "b_attempt": held.number, "b_epoch": held.epoch}


def _lost(held: OpenAttempt) -> LeaseLostError:
    return LeaseLostError(f"Attempt {held.number} of job {held.job_id} is no longer ours.")


def _end_attempt(
    tx: Transaction, held: OpenAttempt, at: int, outcome: Outcome, reason: str, report: RenderReport | None = None
) -> None:
    tx.run(
        "end_attempt",
        b_id=held.row,
        b_attempt=held.number,
        b_now=at,
        b_outcome=outcome.value,
        b_reason=reason,
        b_report=report.to_json() if report is not None else None,
    )
