"""How jobs leave the queue: free slots are given to the heads of lanes. Runs on the store thread only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.domain.jobs import JobState, Stage, prompt_id_for
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Candidate, Choice, Lane, choose
from orchestrator_mcp.store.gate import tell
from orchestrator_mcp.store.lanes import enters, leaves
from orchestrator_mcp.store.records import OpenAttempt, open_attempt
from orchestrator_mcp.store.sqlite import Transaction

Chooser = Callable[[Sequence[Lane], Sequence[Candidate], int], list[Choice]]


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
            held = _take(tx, row, by_id[choice.backend_id], at)
            if held is not None:
                claimed.append(held)
                told.append(_tell_of(tx, held, at))
    return claimed, told


def _take(tx: Transaction, row: sqlite3.Row, candidate: Candidate, at: int) -> OpenAttempt | None:
    """Give one job to a backend, and write down the intent; None if somebody else had it first."""
    number = row["attempt"] + 1
    placed = {"backend_id": candidate.backend_id, "epoch": candidate.epoch}
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
        return None
    prompt_id = prompt_id_for(row["uid"], number)
    tx.run("add_attempt", job_id=row["id"], number=number, prompt_id=prompt_id, started_at=at, **placed)
    leaves(tx, row["lane_id"], JobState.QUEUED)
    return open_attempt(row, number=number, prompt_id=prompt_id, stage=Stage.DISPATCHING, **placed)


def _tell_of(tx: Transaction, held: OpenAttempt, at: int) -> JobChanged:
    queued, running = JobState.QUEUED, JobState.RUNNING
    return tell(tx, held.row, held.job_id, queued, running, at=at, stage=held.stage, attempt=held.number)


def promote_due(tx: Transaction, now: datetime, *, due_by: int | None = None) -> list[JobChanged]:
    """Queue the jobs whose pause is over, or over by `due_by` (milliseconds)."""
    at = to_millis(now)
    told = []
    for row in tx.all("due_jobs", b_now=at if due_by is None else due_by):
        if tx.run("promote_job", b_id=row["id"]):
            waiting, queued = JobState.WAITING, JobState.QUEUED
            leaves(tx, row["lane_id"], waiting)
            enters(tx, row["lane_id"], queued)
            told.append(tell(tx, row["id"], row["uid"], waiting, queued, at=at, attempt=row["attempt"], reason="retry"))
    return told


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
    )
