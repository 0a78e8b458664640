"""Jobs that wait for others: held back, let go, or failed with their parents. Runs on the store thread only.

A row of `dependency` stands only between a parent that has not ended and a child that waits for it. The transaction
that ends a parent takes its rows away, so nothing is left to be done after a crash.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from orchestrator_mcp.domain.chains import (
    Ending,
    Handover,
    JobInput,
    failure_of_child,
    handed_over,
    missing_output,
)
from orchestrator_mcp.domain.jobs import JobFailure, JobState, is_batch_id
from orchestrator_mcp.errors import ManifestError, Problem
from orchestrator_mcp.store.gate import tell
from orchestrator_mcp.store.lanes import enters, leaves
from orchestrator_mcp.store.records import JobSpec, artifact_of
from orchestrator_mcp.store.schema import STATE_CODES, STATES
from orchestrator_mcp.store.sqlite import Transaction


@dataclass(frozen=True, kw_only=True)
class Chained:
    """What a new job gets from its parents as they are now.

    Attributes:
        spec: with the files of those that are done.
        open: the rows of those that have not ended.
    """

    spec: JobSpec
    open: tuple[int, ...] = ()

    @property
    def state(self) -> JobState:
        """Where the new job stands."""
        return JobState.WAITING if self.open else JobState.QUEUED


def look_up(tx: Transaction, spec: JobSpec) -> Chained:
    """See how far the parents of a new job are.

    Args:
        tx: the transaction that stores the job.
        spec: names them.

    Raises:
        ManifestError: one is unknown, has failed or was cancelled, or has not the output that is wanted.
    """
    problems: list[Problem] = []
    still_open: list[int] = []
    for job_id in spec.parents:
        row = tx.one("job_by_uid", b_uid=job_id)
        problem = _problem_with(row, job_id, spec.handovers)
        if problem is not None:
            problems.append(problem)
        elif row is not None and STATES[row["state"]] is JobState.COMPLETED:
            spec, failure = _receive(spec, _ending_of(tx, row))
            if failure is not None:
                path = ("parameters", str(failure.details["parameter"]))
                problems.append(
                    Problem(path=path, message=failure.message, code=failure.code, allowed=failure.details["outputs"])
                )
        elif row is not None:
            still_open.append(row["id"])
    if problems:
        raise ManifestError(problems)
    return Chained(spec=spec, open=tuple(still_open))


def hold(tx: Transaction, row: int, chained: Chained) -> None:
    """Note what a job that was just stored waits for, and the files that it begins with.

    Args:
        tx: the transaction.
        row: the job's row.
        chained: what `look_up` said in the same transaction.
    """
    keep_inputs(tx, row, chained.spec.inputs)
    if not chained.open:
        return
    tx.chained = True
    for parent in chained.open:
        tx.run("add_dependency", child_id=row, parent_id=parent)
    tx.run("set_pending", b_id=row, b_pending=len(chained.open))


def keep_inputs(tx: Transaction, row: int, inputs: Iterable[JobInput]) -> None:
    """Note that a job needs these files for as long as it is kept."""
    for sha256 in {one.sha256 for one in inputs}:
        tx.run("keep_input", job_id=row, sha256=sha256)


def settle(tx: Transaction, row: int, ending: Ending, at: int) -> None:
    """Tell the children of a job that just ended: each gets its files, and those that wait no more are queued.

    Args:
        tx: the transaction that ended the parent.
        row: the parent's row.
        ending: how it ended.
        at: when, milliseconds since the Unix epoch.
    """
    if not _anybody_waits(tx):
        return
    ended = [(row, ending)]
    while ended:
        parent, how = ended.pop()
        children = tx.all("children_of", b_parent=parent)
        if not children:
            continue
        tx.run("unlink_children", b_parent=parent)
        for child in children:
            spec, failure = _receive(JobSpec.from_json(child["spec"]), how)
            if failure is None:
                _let_go(tx, child, spec, how, at)
            else:
                _fail(tx, child, failure, at)
                ended.append((child["id"], Ending(job_id=child["uid"], state=JobState.FAILED, failure=failure)))


def leave(tx: Transaction, row: int) -> None:
    """A job that waited for others has ended without them."""
    tx.run("unlink_parents", b_child=row)


def _anybody_waits(tx: Transaction) -> bool:
    """Whether any job at all waits for another: looked up once for all that end in a transaction."""
    if tx.chained is None:
        tx.chained = tx.one("any_dependency") is not None
    return tx.chained


def _problem_with(row: sqlite3.Row | None, job_id: str, handovers: Iterable[Handover]) -> Problem | None:
    parameter = next((handover.parameter for handover in handovers if handover.job_id == job_id), None)
    path = ("depends_on",) if parameter is None else ("parameters", parameter)
    if row is None:
        return Problem(path=path, message=_unknown(job_id), code="unknown_job")
    state = STATES[row["state"]]
    if state in (JobState.FAILED, JobState.CANCELLED):
        failure = JobFailure(**json.loads(row["failure"])) if row["failure"] else None
        told = failure_of_child(Ending(job_id=job_id, state=state, failure=failure))
        return Problem(path=path, message=told.message, code=told.code)
    return None


def _unknown(job_id: str) -> str:
    if is_batch_id(job_id):
        return (
            f"{job_id} is a batch, and a job waits for jobs: name those of the batch that it needs "
            f"(GET /api/jobs?batch_id={job_id} lists them)"
        )
    return f"there is no job {job_id}"


def _ending_of(tx: Transaction, row: sqlite3.Row) -> Ending:
    outputs = [artifact_of(item) for item in tx.all("artifacts_of", b_id=row["id"])]
    return Ending(job_id=row["uid"], state=STATES[row["state"]], outputs=outputs)


def _receive(spec: JobSpec, ending: Ending) -> tuple[JobSpec, JobFailure | None]:
    """A child's spec with what this parent hands over; or why the child cannot be done."""
    if ending.state is not JobState.COMPLETED:
        return spec, failure_of_child(ending)
    inputs, awaited = list(spec.inputs), []
    for handover in spec.handovers:
        if handover.job_id != ending.job_id:
            awaited.append(handover)
            continue
        filled = handed_over(handover, ending.outputs)
        if filled is None:
            return spec, missing_output(handover, ending.outputs)
        inputs.extend(filled)
    return replace(spec, inputs=inputs, handovers=awaited), None


def _let_go(tx: Transaction, child: sqlite3.Row, spec: JobSpec, ending: Ending, at: int) -> None:
    keep_inputs(tx, child["id"], spec.inputs)
    tx.run("release_job", b_id=child["id"], b_spec=spec.to_json())
    if child["pending"] > 1:
        return
    seq, reason = tx.take_seqs(), f"the job {ending.job_id} is done"
    tx.run("promote_job", b_id=child["id"], b_seq=seq)
    leaves(tx, child["lane_id"], JobState.WAITING)
    enters(tx, child["lane_id"], JobState.QUEUED)
    tell(tx, child["id"], child["uid"], JobState.WAITING, JobState.QUEUED, seq=seq, at=at, reason=reason)


def _fail(tx: Transaction, child: sqlite3.Row, failure: JobFailure, at: int) -> None:
    leave(tx, child["id"])
    leaves(tx, child["lane_id"], JobState.WAITING)
    seq = tx.take_seqs()
    tx.run(
        "finish_unstarted",
        b_id=child["id"],
        b_state=STATE_CODES[JobState.FAILED],
        b_now=at,
        b_cancelled=None,
        b_failure=json.dumps(asdict(failure), ensure_ascii=False),
        b_seq=seq,
    )
    waiting, failed, batch = JobState.WAITING, JobState.FAILED, child["batch_id"]
    tell(tx, child["id"], child["uid"], waiting, failed, seq=seq, at=at, reason=failure.message, batch=batch)
