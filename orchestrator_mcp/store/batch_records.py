"""What goes into the store about batches, and what comes out."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from orchestrator_mcp.clock import from_millis
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.jobs import Artifact, Door, JobFailure, JobState, attempt_name
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.store.records import JobSpec, Place, artifact_of
from orchestrator_mcp.store.schema import DELIVERY_DONE, STATES


@dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """The part of a batch that is fixed when it is accepted, but for the number of its retries.

    Attributes:
        varies: the parameters that differ from job to job.
        mode: how their values were combined.
        parameters: those that are the same for all jobs.
        warnings: what acceptance had to say.
        retries: how often the failed ones were done again.
        due: the deadline, milliseconds; 0 for none.
    """

    varies: list[str]
    mode: str
    parameters: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    retries: int = 0
    due: int = 0

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> BatchSpec:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class NewBatch:
    """A checked manifest that makes many jobs: what they share once, and lists of plain values of what differs.

    Ten thousand jobs as objects would keep the garbage collector busy for as long as the rest takes.

    Attributes:
        graph: of all of them, as JSON.
        lanes: the different needs among them.
        job_ids: in the order of their indices.
        lane_of: for each job the index of its needs.
        specs: of each job, as JSON.
        linked: the specs of those that wait for others or begin with files, by index.
    """

    batch_id: str
    owner: str
    door: Door
    workflow_id: str
    stem: str
    spec: BatchSpec
    submitted_at: datetime
    graph: str
    graph_hash: str
    lanes: Sequence[LaneSpec]
    job_ids: Sequence[str]
    lane_of: Sequence[int]
    specs: Sequence[str]
    linked: Mapping[int, JobSpec] = field(default_factory=dict)
    priority: int = 0
    source: str | None = None
    idempotency_key: str | None = None
    body_hash: str | None = None
    rerun_of: str | None = None
    claim: InboxClaim | None = None


@dataclass(frozen=True, kw_only=True)
class BatchAcceptance:
    """The answer to an accepted batch, or to its retry.

    Attributes:
        count: how many jobs were made.
        job_ids: the first of them.
        replayed: the same batch had come before.
    """

    batch_id: str
    count: int
    job_ids: tuple[str, ...]
    submitted_at: datetime
    warnings: tuple[str, ...]
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchEnd:
    """The last job that a batch has in a lane.

    Attributes:
        place: what orders it there.
        lane: what it needs.
        position: its place there, from 1; None where that cannot be told.
    """

    place: Place
    lane: LaneSpec
    position: int | None


@dataclass(frozen=True, kw_only=True)
class StoredBatch:
    """A batch, with where its jobs stand; those that a retry replaced do not count.

    Attributes:
        size: how many jobs it was accepted with.
        counts: jobs by state; states without any are absent.
        running: the jobs that run now.
        attempts: what they are called while they run, and where that is.
        ends: the last of its queued jobs in each lane, of the lanes that it came to last.
        seq: the number of the newest history row of its jobs.
        delivered: whether its result stands in Outbox, or needs no place there.
    """

    row: int
    batch_id: str
    owner: str
    workflow_id: str
    door: Door
    stem: str
    size: int
    spec: BatchSpec
    submitted_at: datetime
    counts: Mapping[JobState, int]
    running: tuple[str, ...] = ()
    attempts: tuple[tuple[str, str], ...] = ()
    ends: tuple[BatchEnd, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attention: bool = False
    seq: int = 0
    delivered: bool = False
    delivery_path: str | None = None
    claim: InboxClaim | None = None

    @property
    def deadline(self) -> datetime | None:
        """When its jobs are to be done."""
        return from_millis(self.spec.due) if self.spec.due else None

    @property
    def total(self) -> int:
        """How many jobs are on record."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many of them have ended."""
        return sum(count for state, count in self.counts.items() if state.final)

    @property
    def over(self) -> bool:
        """Whether every job has ended."""
        return self.ended == self.total


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """One job of a batch, as its result tells of it."""

    job_id: str
    index: int
    state: JobState
    spec: JobSpec
    failure: JobFailure | None
    delivery_path: str | None
    outputs: tuple[Artifact, ...]


def stored_batch(
    row: sqlite3.Row, tallies: Sequence[sqlite3.Row], running: Sequence[sqlite3.Row], ends: Sequence[BatchEnd]
) -> StoredBatch:
    """Put a batch together from its rows: a tally for each state and lane."""
    counts: Counter[JobState] = Counter()
    for tally in tallies:
        counts[STATES[tally["state"]]] += int(tally["jobs"])
    started = [tally["started_at"] for tally in tallies if tally["started_at"] is not None]
    finished = [tally["finished_at"] for tally in tallies if tally["finished_at"] is not None]
    over = all(state.final for state in counts)
    claim = InboxClaim(claim_id=row["claim_id"], file_name=row["claim_name"]) if row["claim_id"] else None
    return StoredBatch(
        row=row["id"],
        batch_id=row["uid"],
        owner=row["owner"],
        workflow_id=row["workflow_id"],
        door=Door(row["door"]),
        stem=row["stem"],
        size=row["size"],
        spec=BatchSpec.from_json(row["spec"]),
        submitted_at=from_millis(row["submitted_at"]),
        counts=dict(counts),
        running=tuple(str(one["uid"]) for one in running),
        attempts=tuple((attempt_name(one["uid"], one["attempt"]), one["backend_id"]) for one in running),
        ends=tuple(ends),
        started_at=from_millis(min(started)) if started else None,
        finished_at=from_millis(max(finished)) if finished and over else None,
        attention=any(tally["attention"] for tally in tallies),
        seq=max((int(tally["seq"]) for tally in tallies), default=0),
        delivered=row["delivery"] == DELIVERY_DONE,
        delivery_path=row["delivery_path"],
        claim=claim,
    )


def batch_job(row: sqlite3.Row, artifacts: Iterable[sqlite3.Row]) -> BatchJob:
    """One job of a batch from its rows."""
    return BatchJob(
        job_id=row["uid"],
        index=row["batch_index"],
        state=STATES[row["state"]],
        spec=JobSpec.from_json(row["spec"]),
        failure=JobFailure(**json.loads(row["failure"])) if row["failure"] else None,
        delivery_path=row["delivery_path"],
        outputs=tuple(artifact_of(item) for item in artifacts),
    )
