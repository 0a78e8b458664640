"""How jobs leave the queue: free slots are given to the heads of lanes. Runs on the store thread only."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.jobs import JobState, Stage, prompt_id_for
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Candidate, Choice, Lane, choose
from orchestrator_mcp.store.gate import tell, tell_begun
from orchestrator_mcp.store.lanes import enters, leaves
from orchestrator_mcp.store.records import OpenAttempt, open_attempt
from orchestrator_mcp.store.sqlite import Transaction

Chooser = Callable[[Sequence[Lane], Sequence[Candidate], int], list[Choice]]


def claim(
    tx: Transaction,
    candidates: Sequence[Candidate],
    now: datetime,
    chooser: Chooser = choose,
    lanes: Sequence[Lane] | None = None,
) -> list[OpenAttempt]:
    """Give free slots to queued jobs: the decision and the intent to dispatch are one transaction.

    Args:
        tx: the transaction.
        candidates: every backend as it is now.
        now: the present moment.
        chooser: the pure placement decision.
        lanes: those that a decision which goes on was made from; None to look for those with work.
    """
    at = to_millis(now)
    tx.settle_lanes()
    waiting = lanes if lanes is not None else lanes_with_work(tx) or []
    choices = chooser(waiting, candidates, at) if waiting else []
    if not choices:
        return []
    chosen = {choice.lane_id for choice in choices}
    lane_of = {lane.id: lane for lane in waiting if lane.id in chosen}
    by_id = {candidate.backend_id: candidate for candidate in candidates}
    claimed = [_attempt(*given) for given in _given(tx, lane_of, by_id, choices)]
    if claimed:  # all may have been cancelled since a decision that goes on was made
        _take(tx, claimed, by_id, at)
    return claimed


def _given(
    tx: Transaction, lanes: Mapping[int, Lane], candidates: Mapping[str, Candidate], choices: Sequence[Choice]
) -> Iterator[tuple[sqlite3.Row, Candidate, Lane, str]]:
    """Each job that leaves the queue, with its backend, lane and graph; a lane is looked at once, like a graph."""
    documents: dict[int, str] = {}
    heads = {}
    for choice in choices:
        if choice.lane_id not in heads:
            wanted = sum(one.count for one in choices if one.lane_id == choice.lane_id)
            heads[choice.lane_id] = iter(tx.all("pick_jobs", b_lane=choice.lane_id, b_count=wanted))
        for row in islice(heads[choice.lane_id], choice.count):
            document = documents.get(row["document_id"])
            if document is None:
                document = documents[row["document_id"]] = _document(tx, row["document_id"])
            yield row, candidates[choice.backend_id], lanes[choice.lane_id], document


def _attempt(row: sqlite3.Row, candidate: Candidate, lane: Lane, document: str) -> OpenAttempt:
    number = row["attempt"] + 1
    return open_attempt(
        row,
        document=document,
        lane=lane.spec,
        number=number,
        epoch=candidate.epoch,
        backend_id=candidate.backend_id,
        prompt_id=prompt_id_for(row["uid"], number),
        stage=Stage.DISPATCHING,
    )


def _take(tx: Transaction, claimed: Sequence[OpenAttempt], candidates: Mapping[str, Candidate], at: int) -> None:
    """Give jobs to their backends, and write down the intents."""
    stage, seq = Stage.DISPATCHING, tx.take_seqs(len(claimed))
    taken = tx.many_alike(
        "take_job",
        {"b_stage": stage.value},
        ("b_id", "b_seq", "b_backend", "b_epoch", "b_sandbox"),
        (
            (held.row, seq + place, held.backend_id, held.epoch, candidates[held.backend_id].sandbox)
            for place, held in enumerate(claimed)
        ),
    )
    if taken != len(claimed):
        raise AssertionError("a job left the queue between being picked and being taken, in one transaction")
    tx.later_alike(
        "add_attempt",
        {"started_at": at},
        ("job_id", "number", "prompt_id", "backend_id", "epoch"),
        ((held.row, held.number, held.prompt_id, held.backend_id, held.epoch) for held in claimed),
    )
    tell_begun(tx, [(held.row, held.job_id, held.number) for held in claimed], stage, seq, at)
    for lane_id, count in Counter(held.lane_id for held in claimed).items():
        leaves(tx, lane_id, JobState.QUEUED, count)


def _document(tx: Transaction, row: int) -> str:
    found = tx.one("document_by_id", b_id=row)
    assert found is not None  # the job's row refers to it
    return str(found["body"])


def promote_due(tx: Transaction, now: datetime, *, due_by: int | None = None) -> int:
    """Queue the jobs whose pause is over, or over by `due_by` (milliseconds); how many."""
    at, promoted = to_millis(now), 0
    for row in tx.all("due_jobs", b_now=at if due_by is None else due_by):
        seq, left, state = tx.take_seqs(), JobState.WAITING, JobState.QUEUED
        if tx.run("promote_job", b_id=row["id"], b_seq=seq):
            promoted += 1
            leaves(tx, row["lane_id"], left)
            enters(tx, row["lane_id"], state)
            tell(tx, row["id"], row["uid"], left, state, seq=seq, at=at, attempt=row["attempt"], reason="retry")
    return promoted


def lanes_with_work(tx: Transaction, *, most: int | None = None) -> list[Lane] | None:
    """Every lane with queued jobs, as placement sees it.

    Args:
        tx: the transaction.
        most: how many there may be.

    Returns:
        None when there are more.
    """
    rows = tx.all("lanes_with_work")
    if most is not None and len(rows) > most:
        return None
    return [lane for row in rows if (lane := _lane(tx, row)) is not None]


def _lane(tx: Transaction, row: sqlite3.Row) -> Lane | None:
    head = tx.one("lane_head", b_lane=row["id"])
    if head is None:
        return None
    spec = LaneSpec.from_json(row["spec"])
    return Lane(
        id=row["id"],
        spec=spec,
        priority=-head["rank"],
        since=head["submitted_at"],
        count=row["queued"],
        signature=spec.signature,
        units=spec.units,
        deadline=head["due"] or None,
        last_deadline=_last_deadline(tx, row["id"]) if head["due"] else 0,
    )


def _last_deadline(tx: Transaction, lane_id: int) -> int:
    end = tx.one("lane_end", b_lane=lane_id)
    return int(end["due"]) if end is not None else 0
