"""How jobs come in: stored, queued, or known already. Runs on the store thread only."""

from __future__ import annotations

import json
import sqlite3

from orchestrator_mcp.clock import from_millis, to_millis
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.limits import NO_LIMITS, QueueLimits
from orchestrator_mcp.errors import IdempotencyConflict, ManifestError
from orchestrator_mcp.store import chains
from orchestrator_mcp.store.gate import tell
from orchestrator_mcp.store.lanes import enters, lane_for
from orchestrator_mcp.store.records import Acceptance, JobSpec, NewJob
from orchestrator_mcp.store.room import require_room
from orchestrator_mcp.store.schema import STATE_CODES
from orchestrator_mcp.store.sqlite import Transaction


def accept(tx: Transaction, new: NewJob, *, limits: QueueLimits = NO_LIMITS) -> Acceptance:
    """Store a job and queue it; the same key or claim gives the job that it gave before.

    Raises:
        IdempotencyConflict: the key came with another manifest.
        ManifestError: an Inbox file wishes for a job that has ended, or has a file already; or a parent cannot hand
            over what is wanted of it.
        QueueFullError: as many jobs wait as may, of all or of its source.
    """
    if (known := _known_before(tx, new)) is not None:
        return known
    require_room(tx, {new.lane.source: 1}, limits)
    chained = chains.look_up(tx, new.spec)
    lane_id, seq, at = lane_for(tx, new.lane), tx.take_seqs(), to_millis(new.submitted_at)
    row = tx.add_job(
        uid=new.job_id,
        owner=new.owner,
        idempotency_key=new.idempotency_key,
        body_hash=new.body_hash,
        claim_id=new.claim.claim_id if new.claim else None,
        claim_name=new.claim.file_name if new.claim else None,
        lane_id=lane_id,
        rank=-new.priority,
        state=STATE_CODES[chained.state],
        document_id=_document_for(tx, new),
        workflow_id=new.workflow_id,
        source=new.source,
        door=new.door.value,
        stem=new.stem,
        spec=chained.spec.to_json(),
        submitted_at=at,
        rerun_of=new.rerun_of,
        due=new.due,
        seq=seq,
    )
    chains.hold(tx, row, chained)
    enters(tx, lane_id, chained.state)
    tell(tx, row, new.job_id, None, chained.state, seq=seq, at=at, reason="accepted")
    return Acceptance(job_id=new.job_id, submitted_at=from_millis(at), warnings=tuple(new.spec.warnings))


def _document_for(tx: Transaction, new: NewJob) -> int:
    """The row of the job's graph; written out only where it is not known yet."""
    if (known := tx.known.row(new.graph_hash)) is not None:
        return known
    row = tx.one("document_by_hash", b_hash=new.graph_hash)
    if row is None:
        body = json.dumps(new.graph, ensure_ascii=False, separators=(",", ":"))
        tx.run("add_document", hash=new.graph_hash, body=body)
        row = tx.one("document_by_hash", b_hash=new.graph_hash)
    assert row is not None  # added a line above
    return tx.known.keep(new.graph_hash, int(row["id"]))


def _known_before(tx: Transaction, new: NewJob) -> Acceptance | None:
    if new.claim is not None and (row := tx.one("job_by_claim", b_claim=new.claim.claim_id)) is not None:
        return _answer_again(row)
    if new.idempotency_key is None:
        return None
    batch = tx.one("batch_by_idempotency_key", b_owner=new.owner, b_key=new.idempotency_key)
    if batch is not None:
        raise IdempotencyConflict(new.idempotency_key, batch["uid"])
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
            message=f"The manifest with the key {key!a} became the job {row['uid']} before; no other is made.",
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
