"""What may happen to batches, each as one operation inside a transaction. Runs on the store thread only.

A batch has no state of its own: it stands where its jobs stand. The gate notes its end in the transaction that ends
its last job.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from orchestrator_mcp.clock import from_millis, to_millis
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobState, new_job_id
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.errors import (
    IdempotencyConflict,
    ManifestError,
    NotFoundError,
    NothingFailedError,
    QueueFullError,
)
from orchestrator_mcp.store import chains, operations
from orchestrator_mcp.store.accepting import queued_total
from orchestrator_mcp.store.batch_records import BatchAcceptance, BatchSpec, NewBatch
from orchestrator_mcp.store.chains import Chained
from orchestrator_mcp.store.gate import next_seq, tell_new
from orchestrator_mcp.store.lanes import lane_for
from orchestrator_mcp.store.records import JobSpec
from orchestrator_mcp.store.schema import STATE_CODES
from orchestrator_mcp.store.sqlite import Transaction

FIRST_IDS: Final = 100  # job ids that an answer names


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A job that is about to be stored: what differs within a batch."""

    uid: str
    lane_id: int
    rank: int
    document_id: int
    workflow_id: str
    source: str | None
    door: str
    stem: str
    owner: str
    index: int
    spec: str
    chained: Chained | None
    rerun_of: str | None = None

    @property
    def state(self) -> JobState:
        return self.chained.state if self.chained is not None else JobState.QUEUED


def accept(tx: Transaction, new: NewBatch, *, most_queued: int | None) -> tuple[BatchAcceptance, JobChanged | None]:
    """Store a batch and queue all of its jobs; the same key or claim gives the batch that it gave before.

    Only its first job is told of: nobody can listen yet to any of them, and one hint wakes whoever looks for work.

    Raises:
        IdempotencyConflict: the key came with another manifest.
        ManifestError: an Inbox file wishes for a batch that has ended, or has a file already; or a parent cannot hand
            over what is wanted of it.
        QueueFullError: more jobs would wait than may.
    """
    if (known := _known_before(tx, new)) is not None:
        return known, None
    _require_room(tx, len(new.jobs), most_queued)
    first = new.jobs[0]
    tx.run("add_document", hash=first.graph_hash, body=new.graph)
    document = tx.one("document_by_hash", b_hash=first.graph_hash)
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
        size=len(new.jobs),
        spec=new.spec.to_json(),
        submitted_at=at,
    )
    assert row is not None  # RETURNING gives a row or raises
    lanes: dict[LaneSpec, int] = {}
    jobs = []
    for index, (one, spec) in enumerate(zip(new.jobs, new.specs, strict=True)):
        if one.lane not in lanes:
            lanes[one.lane] = lane_for(tx, one.lane)
        jobs.append(
            _Job(
                uid=one.job_id,
                lane_id=lanes[one.lane],
                rank=-one.priority,
                document_id=document["id"],
                workflow_id=one.workflow_id,
                source=one.source,
                door=one.door.value,
                stem=one.stem,
                owner=one.owner,
                index=index,
                spec=spec,
                chained=_chained(tx, one.spec),
            )
        )
    told = _store(tx, row["id"], jobs, at, reason="accepted")
    answer = BatchAcceptance(
        batch_id=new.batch_id,
        count=len(jobs),
        job_ids=tuple(one.uid for one in jobs[:FIRST_IDS]),
        submitted_at=from_millis(at),
        warnings=tuple(new.spec.warnings),
    )
    return answer, told


def retry(
    tx: Transaction, batch_id: str, now: datetime, *, most_queued: int | None
) -> tuple[BatchAcceptance, JobChanged]:
    """Do the failed and cancelled jobs of a batch again: new jobs that count in their place.

    Raises:
        NotFoundError: no such batch.
        NothingFailedError: none of its jobs failed or was cancelled, or none can be done again.
        QueueFullError: more jobs would wait than may.
    """
    row = tx.one("batch_by_uid", b_uid=batch_id)
    if row is None:
        raise NotFoundError("batch", batch_id)
    unlucky = tx.all("batch_unlucky", b_batch=row["id"])
    lanes = {one["lane_id"]: _afresh(tx, one["lane_spec"]) for one in {one["lane_id"]: one for one in unlucky}.values()}
    jobs: list[tuple[int, _Job]] = []
    reasons: list[str] = []
    for one in unlucky:
        try:
            jobs.append((one["id"], _again(tx, one, lanes[one["lane_id"]], now)))
        except ManifestError as error:
            reasons.append(str(error))
    if not jobs:
        raise NothingFailedError(batch_id, reasons)
    _require_room(tx, len(jobs), most_queued)
    tx.many("replace_jobs", [{"b_id": old} for old, _ in jobs])
    spec = BatchSpec.from_json(row["spec"])
    tx.run("reopen_batch", b_id=row["id"], b_spec=replace(spec, retries=spec.retries + 1).to_json())
    fresh = [job for _, job in jobs]
    told = _store(tx, row["id"], fresh, to_millis(now), reason="accepted again")
    answer = BatchAcceptance(
        batch_id=batch_id,
        count=len(fresh),
        job_ids=tuple(job.uid for job in fresh[:FIRST_IDS]),
        submitted_at=from_millis(to_millis(now)),
        warnings=(f"{len(reasons)} were left out: {reasons[0]}",) if reasons else (),
    )
    return answer, told


def cancel_some(tx: Transaction, row: int, now: datetime, most: int) -> tuple[int, list[JobChanged]]:
    """Cancel some jobs of a batch, or flag those that run; first those that have not started.

    Args:
        tx: the transaction.
        row: the batch's row.
        now: the present moment.
        most: how many.

    Returns:
        How many there were, and what there is to tell.
    """
    found = tx.all("batch_unstarted", b_batch=row, b_count=most)
    if len(found) < most:
        found += tx.all("batch_uncancelled", b_batch=row, b_count=most - len(found))
    told = [event for one in found for event in operations.request_cancel(tx, one["uid"], now)[1]]
    return len(found), told


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
                "idempotency_key",
                message=f"the manifest with this key became the batch {row['uid']} before; no other is made",
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


def _require_room(tx: Transaction, wanted: int, most: int | None) -> None:
    if most is None:
        return
    waiting = queued_total(tx)
    if waiting + wanted > most:
        raise QueueFullError(
            f"The queue has no room for {wanted} more jobs: {waiting} wait, and limits.queued_jobs is {most}.",
            hint="Wait until jobs have finished, or hand in a smaller batch.",
        )


def _chained(tx: Transaction, spec: JobSpec) -> Chained | None:
    """What a job gets from its parents; None when it has none and begins with no file, as most."""
    return chains.look_up(tx, spec) if spec.parents or spec.inputs else None


def _afresh(tx: Transaction, lane_spec: str) -> int:
    """The lane of these needs with every backend allowed again."""
    return lane_for(tx, replace(LaneSpec.from_json(lane_spec), avoid=frozenset()))


def _again(tx: Transaction, old: sqlite3.Row, lane_id: int, now: datetime) -> _Job:
    return _Job(
        uid=new_job_id(now),
        lane_id=lane_id,
        rank=old["rank"],
        document_id=old["document_id"],
        workflow_id=old["workflow_id"],
        source=old["source"],
        door=old["door"],
        stem=old["stem"],
        owner=old["owner"],
        index=old["batch_index"],
        spec=old["spec"],
        chained=_chained(tx, JobSpec.from_json(old["spec"])),
        rerun_of=old["uid"],
    )


def _store(tx: Transaction, batch: int, jobs: Sequence[_Job], at: int, *, reason: str) -> JobChanged:
    """Store jobs in a few statements, however many they are."""
    found = tx.one("last_job_row")
    first_row, first_seq = (int(found[0]) if found else 0) + 1, next_seq(tx)
    tx.many(
        "add_batch_jobs",
        [
            {
                "id": first_row + place,
                "uid": one.uid,
                "owner": one.owner,
                "lane_id": one.lane_id,
                "rank": one.rank,
                "state": STATE_CODES[one.state],
                "document_id": one.document_id,
                "workflow_id": one.workflow_id,
                "source": one.source,
                "door": one.door,
                "stem": one.stem,
                "spec": one.spec if one.chained is None else one.chained.spec.to_json(),
                "submitted_at": at,
                "rerun_of": one.rerun_of,
                "seq": first_seq + place,
                "batch_id": batch,
                "batch_index": one.index,
            }
            for place, one in enumerate(jobs)
        ],
    )
    told = tell_new(
        tx, [(first_row + place, one.uid, one.state) for place, one in enumerate(jobs)], first_seq, at, reason
    )
    for place, one in enumerate(jobs):
        if one.chained is not None:
            chains.hold(tx, first_row + place, one.chained)
        if one.state is JobState.QUEUED:
            tx.count(one.lane_id, 1)
    return told
