"""What may happen to jobs, each as one operation inside a transaction. Runs on the store thread only.

Every change of state is one guarded UPDATE, one history row with a reason, and one event that is told after commit.
Zero rows changed means that somebody else owns the attempt: LeaseLostError.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Final

from orchestrator_mcp.clock import from_millis, to_millis
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import Artifact, JobFailure, JobState, Outcome, Stage, prompt_id_for
from orchestrator_mcp.domain.lanes import LaneSpec, lane_key
from orchestrator_mcp.domain.placement import Candidate, Choice, Lane, choose
from orchestrator_mcp.errors import (
    IdempotencyConflict,
    JobFinishedError,
    LeaseLostError,
    ManifestError,
    NotFoundError,
    QueueFullError,
)
from orchestrator_mcp.store.gate import tell
from orchestrator_mcp.store.records import Acceptance, JobSpec, NewJob, OpenAttempt, open_attempt
from orchestrator_mcp.store.schema import STATE_CODES, STATES
from orchestrator_mcp.store.sqlite import Transaction

Chooser = Callable[[Sequence[Lane], Sequence[Candidate], int], list[Choice]]
MOST_LANES: Final = 4_096  # callers choose their source freely, and every claim looks at each lane with work


def accept(tx: Transaction, new: NewJob, *, most_queued: int | None) -> tuple[Acceptance, JobChanged | None]:
    """Store a job and queue it; the same key or claim gives the job that it gave before.

    Raises:
        IdempotencyConflict: the key came with another manifest.
        ManifestError: an Inbox file wishes for a job that has ended, or has a file already.
        QueueFullError: as many jobs wait as may.
    """
    if (known := _known_before(tx, new)) is not None:
        return known, None
    if most_queued is not None and _queued_total(tx) >= most_queued:
        raise QueueFullError(
            f"The queue is full: limits.queued_jobs is {most_queued}.", hint="Wait until jobs have finished."
        )
    tx.run("add_document", hash=new.graph_hash, body=json.dumps(new.graph, ensure_ascii=False, separators=(",", ":")))
    document = tx.one("document_by_hash", b_hash=new.graph_hash)
    assert document is not None  # added a line above
    lane_id = _lane_for(tx, new.lane)
    row = tx.one(
        "add_job",
        uid=new.job_id,
        owner=new.owner,
        idempotency_key=new.idempotency_key,
        body_hash=new.body_hash,
        claim_id=new.claim.claim_id if new.claim else None,
        claim_name=new.claim.file_name if new.claim else None,
        lane_id=lane_id,
        rank=-new.priority,
        state=STATE_CODES[JobState.QUEUED],
        document_id=document["id"],
        workflow_id=new.workflow_id,
        source=new.source,
        door=new.door.value,
        stem=new.stem,
        spec=new.spec.to_json(),
        submitted_at=to_millis(new.submitted_at),
        rerun_of=new.rerun_of,
    )
    assert row is not None  # RETURNING gives a row or raises
    tx.count(lane_id, 1)
    told = tell(tx, row["id"], new.job_id, None, JobState.QUEUED, at=to_millis(new.submitted_at), reason="accepted")
    answer = Acceptance(
        job_id=new.job_id,
        submitted_at=from_millis(to_millis(new.submitted_at)),
        warnings=tuple(new.spec.warnings),
    )
    return answer, told


def _known_before(tx: Transaction, new: NewJob) -> Acceptance | None:
    if new.claim is not None and (row := tx.one("job_by_claim", b_claim=new.claim.claim_id)) is not None:
        return _answer_again(row)
    if new.idempotency_key is None:
        return None
    row = tx.one("job_by_idempotency_key", b_owner=new.owner, b_key=new.idempotency_key)
    if row is None:
        return None
    if row["body_hash"] != new.body_hash:
        raise IdempotencyConflict(new.idempotency_key, row["uid"])
    if new.claim is not None:
        _join(tx, row, new.claim, new.idempotency_key)
    return _answer_again(row)


def _join(tx: Transaction, row: sqlite3.Row, taken: InboxClaim, key: str) -> None:
    """A file that wishes for a job that is there already shares its end, if nothing else does."""
    if not tx.run("join_claim", b_id=row["id"], b_claim=taken.claim_id, b_name=taken.file_name):
        raise ManifestError.at(
            "idempotency_key",
            message=f"the manifest with the key {key!a} became the job {row['uid']} before; no other is made",
            code="duplicate",
            hint="Take a new key, or none, to have it rendered again.",
        )


def _answer_again(row: sqlite3.Row) -> Acceptance:
    return Acceptance(
        job_id=row["uid"],
        submitted_at=from_millis(row["submitted_at"]),
        warnings=tuple(JobSpec.from_json(row["spec"]).warnings),
        replayed=True,
    )


def claim(
    tx: Transaction, candidates: Sequence[Candidate], now: datetime, chooser: Chooser = choose
) -> tuple[list[OpenAttempt], list[JobChanged]]:
    """Give free slots to queued jobs: the decision and the intent to dispatch are one transaction.

    Args:
        tx: the transaction.
        candidates: every backend as it is now.
        now: the present moment.
        chooser: the pure placement decision.
    """
    at = to_millis(now)
    tx.settle()
    lanes = [lane for row in tx.all("lanes_with_work") if (lane := _lane(tx, row)) is not None]
    if not lanes:
        return [], []
    by_id = {candidate.backend_id: candidate for candidate in candidates}
    claimed: list[OpenAttempt] = []
    told: list[JobChanged] = []
    for choice in chooser(lanes, candidates, at):
        for row in tx.all("pick_jobs", b_lane=choice.lane_id, b_count=choice.count):
            candidate = by_id[choice.backend_id]
            number = row["attempt"] + 1
            taken = tx.run(
                "take_job",
                b_id=row["id"],
                b_stage=Stage.DISPATCHING.value,
                b_backend=candidate.backend_id,
                b_epoch=candidate.epoch,
                b_now=at,
                b_sandbox=candidate.sandbox,
            )
            if not taken:
                continue
            prompt_id = prompt_id_for(row["uid"], number)
            tx.run(
                "add_attempt",
                job_id=row["id"],
                number=number,
                prompt_id=prompt_id,
                backend_id=candidate.backend_id,
                epoch=candidate.epoch,
                started_at=at,
            )
            tx.count(row["lane_id"], -1)
            told.append(
                tell(
                    tx,
                    row["id"],
                    row["uid"],
                    JobState.QUEUED,
                    JobState.RUNNING,
                    at=at,
                    stage=Stage.DISPATCHING,
                    attempt=number,
                )
            )
            claimed.append(
                open_attempt(
                    row,
                    number=number,
                    epoch=candidate.epoch,
                    backend_id=candidate.backend_id,
                    prompt_id=prompt_id,
                    stage=Stage.DISPATCHING,
                )
            )
    return claimed, told


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
) -> JobChanged:
    """A running job ends, with its one published result.

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
    _end_attempt(tx, held, at, outcome, reason)
    for position, artifact in enumerate(artifacts):
        tx.run("add_artifact", job_id=held.row, position=position, **asdict(artifact))
    return tell(tx, held.row, held.job_id, JobState.RUNNING, state, at=at, attempt=held.number, reason=reason)


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
) -> JobChanged:
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
    lane_id = _lane_for(tx, held.lane.avoiding(held.backend_id)) if avoid else held.lane_id
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
    if state is JobState.QUEUED:
        tx.count(lane_id, 1)
    return tell(tx, held.row, held.job_id, JobState.RUNNING, state, at=at, attempt=held.number, reason=reason)


def promote_due(tx: Transaction, now: datetime, *, due_by: int | None = None) -> list[JobChanged]:
    """Queue the jobs whose pause is over, or over by `due_by` (milliseconds)."""
    at = to_millis(now)
    told = []
    for row in tx.all("due_jobs", b_now=at if due_by is None else due_by):
        if tx.run("promote_job", b_id=row["id"]):
            tx.count(row["lane_id"], 1)
            waiting, queued = JobState.WAITING, JobState.QUEUED
            told.append(tell(tx, row["id"], row["uid"], waiting, queued, at=at, attempt=row["attempt"], reason="retry"))
    return told


def request_cancel(tx: Transaction, job_id: str, now: datetime) -> tuple[JobState, JobChanged | None]:
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
        return state, None
    if state is JobState.RUNNING:
        tx.run("flag_cancel", b_id=row["id"], b_now=at)
        stage = Stage(row["stage"]) if row["stage"] else None
        told = tell(
            tx, row["id"], job_id, state, state, at=at, stage=stage, attempt=row["attempt"], reason="cancel requested"
        )
        return state, replace(told, cancel=True)
    return state, _end_unstarted(tx, row["id"], job_id, row["lane_id"], state, at, row["attempt"])


def _end_unstarted(
    tx: Transaction, row: int, job_id: str, lane_id: int, state: JobState, at: int, attempt: int
) -> JobChanged:
    tx.run(
        "finish_unstarted",
        b_id=row,
        b_state=STATE_CODES[JobState.CANCELLED],
        b_now=at,
        b_cancelled=at,
        b_failure=None,
    )
    if state is JobState.QUEUED:
        tx.count(lane_id, -1)
    reason = "cancelled before it started"
    return tell(tx, row, job_id, state, JobState.CANCELLED, at=at, attempt=attempt, reason=reason)


def _lane(tx: Transaction, row: sqlite3.Row) -> Lane | None:
    head = tx.one("lane_head", b_lane=row["id"])
    if head is None:
        return None
    return Lane(
        id=row["id"],
        spec=LaneSpec.from_json(row["spec"]),
        priority=-head["rank"],
        since=head["submitted_at"],
        count=row["queued"],
    )


def _lane_for(tx: Transaction, spec: LaneSpec) -> int:
    """The lane of these needs; beyond `MOST_LANES`, sources that nobody has met share buckets."""
    row = _known_lane(tx, spec)
    if row is None and (counted := tx.one("lane_count")) is not None and counted[0] >= MOST_LANES:
        spec = spec.bucketed()
        row = _known_lane(tx, spec)
    if row is None:
        tx.run("add_lane", key=lane_key(spec.to_json()), spec=spec.to_json())
        row = _known_lane(tx, spec)
    assert row is not None  # added a line above
    return int(row["id"])


def _known_lane(tx: Transaction, spec: LaneSpec) -> sqlite3.Row | None:
    return tx.one("lane_by_key", b_key=lane_key(spec.to_json()))


def _queued_total(tx: Transaction) -> int:
    tx.settle()
    row = tx.one("queued_total")
    return int(row[0]) if row else 0


def _fence(held: OpenAttempt) -> dict[str, int]:
    return {"b_id": held.row, "b_attempt": held.number, "b_epoch": held.epoch}


def _lost(held: OpenAttempt) -> LeaseLostError:
    return LeaseLostError(f"Attempt {held.number} of job {held.job_id} is no longer ours.")


def _end_attempt(tx: Transaction, held: OpenAttempt, at: int, outcome: Outcome, reason: str) -> None:
    tx.run("end_attempt", b_id=held.row, b_attempt=held.number, b_now=at, b_outcome=outcome.value, b_reason=reason)
