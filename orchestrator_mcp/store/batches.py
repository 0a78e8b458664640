"""What may happen to batches, each as one operation inside a transaction. Runs on the store thread only.

A batch has no state of its own: it stands where its jobs stand. The gate notes its end in the transaction that ends
its last job.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from orchestrator_mcp.clock import from_millis, to_millis
from orchestrator_mcp.domain.jobs import JobState, new_job_ids
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import NO_LIMITS, QueueLimits
from orchestrator_mcp.errors import (
    IdempotencyConflict,
    ManifestError,
    NotFoundError,
    NothingFailedError,
)
from orchestrator_mcp.store import chains, operations
from orchestrator_mcp.store.batch_records import BatchAcceptance, BatchSpec, NewBatch
from orchestrator_mcp.store.chains import Chained
from orchestrator_mcp.store.gate import tell_new
from orchestrator_mcp.store.lanes import enters, lane_for
from orchestrator_mcp.store.records import JobSpec
from orchestrator_mcp.store.room import require_room
from orchestrator_mcp.store.schema import STATE_CODES
from orchestrator_mcp.store.sqlite import Transaction

FIRST_IDS: Final = 100  # job ids that an answer names
_KEPT: Final = ("owner", "rank", "document_id", "workflow_id", "source", "door", "stem", "due", "batch_index")
"""The columns that a job which is done again has like the first."""


@dataclass(frozen=True, kw_only=True)
class _Jobs:
    """Jobs that are about to be stored together.

    Attributes:
        shared: the columns that all have in common.
        differing: the names of those that differ.
        rows: what stands in these, in order.
        states: where each stands.
        lane_ids: the lane of each.
        linked: what some get from their parents, by place.
    """

    shared: Mapping[str, Any]
    differing: Sequence[str]
    rows: Sequence[tuple[Any, ...]]
    states: Sequence[JobState]
    lane_ids: Sequence[int]
    linked: Mapping[int, Chained]


def accept(tx: Transaction, new: NewBatch, *, limits: QueueLimits = NO_LIMITS) -> BatchAcceptance:
    """Store a batch and queue all of its jobs; the same key or claim gives the batch that it gave before.

    Raises:
        IdempotencyConflict: the key came with another manifest.
        ManifestError: an Inbox file wishes for a batch that has ended, or has a file already; or a parent cannot hand
            over what is wanted of it.
        TooLargeError: it has more jobs than may ever wait.
        QueueFullError: more jobs would wait than may, of all or of one source.
    """
    if (known := _known_before(tx, new)) is not None:
        return known
    require_room(tx, Counter(new.lanes[number].source for number in new.lane_of), limits)
    tx.run("add_document", hash=new.graph_hash, body=new.graph)
    document = tx.one("document_by_hash", b_hash=new.graph_hash)
    assert document is not None  # added a line above
    at = to_millis(new.submitted_at)
    row = tx.one(
        "add_batch",
        uid=new.batch_id,
        owner=new.owner,
        idempotency_key=new.idempotency_key,
        body_hash=new.body_hash,
        claim_id=new.claim.claim_id if new.claim else None,
        claim_name=new.claim.file_name if new.claim else None,
        workflow_id=new.workflow_id,
        door=new.door.value,
        stem=new.stem,
        size=len(new.job_ids),
        spec=new.spec.to_json(),
        submitted_at=at,
    )
    assert row is not None  # RETURNING gives a row or raises
    _store(tx, row["id"], _jobs_of(tx, new, document["id"]), at, reason="accepted")
    return BatchAcceptance(
        batch_id=new.batch_id,
        count=len(new.job_ids),
        job_ids=tuple(new.job_ids[:FIRST_IDS]),
        submitted_at=from_millis(at),
        warnings=tuple(new.spec.warnings),
    )


def retry(tx: Transaction, batch_id: str, now: datetime, *, limits: QueueLimits = NO_LIMITS) -> BatchAcceptance:
    """Do the failed and cancelled jobs of a batch again: new jobs that count in their place.

    Raises:
        NotFoundError: no such batch.
        NothingFailedError: none of its jobs failed or was cancelled, or none can be done again.
        TooLargeError: it has more jobs than may ever wait.
        QueueFullError: more jobs would wait than may, of all or of one source.
    """
    row = tx.one("batch_by_uid", b_uid=batch_id)
    if row is None:
        raise NotFoundError("batch", batch_id)
    unlucky = tx.all("batch_unlucky", b_batch=row["id"])
    lanes = {one["lane_id"]: _afresh(tx, one["lane_spec"]) for one in {one["lane_id"]: one for one in unlucky}.values()}
    again: list[sqlite3.Row] = []
    linked: dict[int, Chained] = {}
    reasons: list[str] = []
    for one in unlucky:
        try:
            chained = _chained(tx, JobSpec.from_json(one["spec"]))
        except ManifestError as error:
            reasons.append(str(error))
            continue
        if chained is not None:
            linked[len(again)] = chained
        again.append(one)
    if not again:
        raise NothingFailedError(batch_id, reasons)
    require_room(tx, Counter(LaneSpec.from_json(one["lane_spec"]).source for one in again), limits)
    tx.many("replace_jobs", ({"b_id": one["id"]} for one in again))
    spec = BatchSpec.from_json(row["spec"])
    tx.run("reopen_batch", b_id=row["id"], b_spec=replace(spec, retries=spec.retries + 1).to_json())
    job_ids = new_job_ids(now, len(again))
    fresh = _Jobs(
        shared={},
        differing=("uid", "rerun_of", "spec", *_KEPT),
        rows=[
            (job_id, one["uid"], _spec(one["spec"], linked.get(place)), *(one[name] for name in _KEPT))
            for place, (one, job_id) in enumerate(zip(again, job_ids, strict=True))
        ],
        states=_states(len(again), linked),
        lane_ids=[lanes[one["lane_id"]] for one in again],
        linked=linked,
    )
    _store(tx, row["id"], fresh, to_millis(now), reason="accepted again")
    return BatchAcceptance(
        batch_id=batch_id,
        count=len(job_ids),
        job_ids=tuple(job_ids[:FIRST_IDS]),
        submitted_at=from_millis(to_millis(now)),
        warnings=(f"{len(reasons)} were left out: {reasons[0]}",) if reasons else (),
    )


def cancel_some(tx: Transaction, row: int, now: datetime, most: int) -> int:
    """Cancel some jobs of a batch, or flag those that run; first those that have not started.

    Args:
        tx: the transaction.
        row: the batch's row.
        now: the present moment.
        most: how many.

    Returns:
        How many there were.
    """
    found = tx.all("batch_unstarted", b_batch=row, b_count=most)
    if len(found) < most:
        found += tx.all("batch_uncancelled", b_batch=row, b_count=most - len(found))
    for one in found:
        operations.request_cancel(tx, one["uid"], now)
    return len(found)


def _known_before(tx: Transaction, new: NewBatch) -> BatchAcceptance | None:
    if new.claim is not None and (row := tx.one("batch_by_claim", b_claim=new.claim.claim_id)) is not None:
        return _answer_again(tx, row)
    if new.idempotency_key is None:
        return None
    single = tx.one("job_by_idempotency_key", b_owner=new.owner, b_key=new.idempotency_key)
    if single is not None:
        raise IdempotencyConflict(new.idempotency_key, single["uid"])
    row = tx.one("batch_by_idempotency_key", b_owner=new.owner, b_key=new.idempotency_key)
    if row is None:
        return None
    if row["body_hash"] != new.body_hash:
        raise IdempotencyConflict(new.idempotency_key, row["uid"])
    if new.claim is not None:
        joined = tx.run("join_batch_claim", b_id=row["id"], b_claim=new.claim.claim_id, b_name=new.claim.file_name)
        if not joined:
            raise ManifestError.at(
                message=f"The manifest with this key became the batch {row['uid']} before; no other is made.",
                code="duplicate",
                hint="Take a new key, or none, to have it rendered again.",
            )
    return _answer_again(tx, row)


def _answer_again(tx: Transaction, row: sqlite3.Row) -> BatchAcceptance:
    ids = tx.all("batch_job_ids", b_batch=row["id"], b_count=FIRST_IDS)
    return BatchAcceptance(
        batch_id=row["uid"],
        count=row["size"],
        job_ids=tuple(one["uid"] for one in ids),
        submitted_at=from_millis(row["submitted_at"]),
        warnings=tuple(BatchSpec.from_json(row["spec"]).warnings),
        replayed=True,
    )


def _chained(tx: Transaction, spec: JobSpec) -> Chained | None:
    """What a job gets from its parents; None when it has none and begins with no file, as most."""
    return chains.look_up(tx, spec) if spec.parents or spec.inputs else None


def _afresh(tx: Transaction, lane_spec: str) -> int:
    """The lane of these needs with every backend allowed again."""
    return lane_for(tx, replace(LaneSpec.from_json(lane_spec), avoid=frozenset()))


def _jobs_of(tx: Transaction, new: NewBatch, document: int) -> _Jobs:
    """What is stored of each job of a new batch."""
    lanes = [lane_for(tx, spec) for spec in new.lanes]
    linked = {index: chains.look_up(tx, spec) for index, spec in new.linked.items()}
    shared = {
        "owner": new.owner,
        "rank": -new.priority,
        "document_id": document,
        "workflow_id": new.workflow_id,
        "source": new.source,
        "door": new.door.value,
        "stem": new.stem,
        "rerun_of": new.rerun_of,
        "due": new.spec.due,
    }
    rows = [
        (job_id, _spec(spec, linked.get(index)), index)
        for index, (job_id, spec) in enumerate(zip(new.job_ids, new.specs, strict=True))
    ]
    return _Jobs(
        shared=shared,
        differing=("uid", "spec", "batch_index"),
        rows=rows,
        states=_states(len(rows), linked),
        lane_ids=[lanes[number] for number in new.lane_of],
        linked=linked,
    )


def _states(count: int, linked: Mapping[int, Chained]) -> list[JobState]:
    return [linked[place].state if place in linked else JobState.QUEUED for place in range(count)]


def _spec(told: str, chained: Chained | None) -> str:
    """A job's spec as it is stored: with what its parents gave it."""
    return told if chained is None else chained.spec.to_json()


def _store(tx: Transaction, batch: int, jobs: _Jobs, at: int, *, reason: str) -> None:
    """Store jobs in a few statements, however many they are."""
    first, seq = tx.take_job_rows(len(jobs.rows)), tx.take_seqs(len(jobs.rows))
    shared = {**jobs.shared, "batch_id": batch, "submitted_at": at}
    rows = (
        (first + place, seq + place, STATE_CODES[state], lane_id, *row)
        for place, (state, lane_id, row) in enumerate(zip(jobs.states, jobs.lane_ids, jobs.rows, strict=True))
    )
    tx.many_alike("add_batch_jobs", shared, ("id", "seq", "state", "lane_id", *jobs.differing), rows)
    tell_new(tx, (first, jobs.rows[0][0]), jobs.states, seq, at, reason)
    for place, chained in jobs.linked.items():
        chains.hold(tx, first + place, chained)
    for (lane_id, state), count in Counter(zip(jobs.lane_ids, jobs.states, strict=True)).items():
        enters(tx, lane_id, state, count)
