"""What goes into the store and what comes out: rows as values, JSON columns parsed."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from pydantic_core import to_json

from orchestrator_mcp.clock import from_millis, to_millis
from orchestrator_mcp.domain.chains import Handover, JobInput
from orchestrator_mcp.domain.deliveries import InboxClaim
from orchestrator_mcp.domain.jobs import Artifact, Attempt, Door, Graph, Job, JobFailure, JobState, Outcome, Stage
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.store.schema import DELIVERY_DONE, STATES

Targets = Mapping[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """The part of a job that is fixed when it is accepted.

    Attributes:
        parameters: as the caller gave them, and the declared defaults that hold where the caller gave none.
        targets: the inputs that each parameter sets, as `node.input`.
        values: parameters whose final value is not the one given (a drawn seed).
        seeds: every seed in force, by `node.input`.
        metadata: kept for the caller.
        warnings: what acceptance had to say.
        inputs: files that the render begins with.
        parents: jobs that had to be done before it.
        handovers: outputs of parents that are still awaited; each becomes one of `inputs`.
    """

    parameters: dict[str, Any]
    targets: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    inputs: list[JobInput] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    handovers: list[Handover] = field(default_factory=list)

    def to_json(self) -> str:
        """As it is stored; what is empty is left out, and targets that follow from the names, see `short_targets`."""
        said: dict[str, Any] = {name: value for name, value in vars(self).items() if value}
        for name in ("inputs", "handovers"):  # the others are plain values: copying them all takes longer than writing
            if name in said:
                said[name] = [asdict(one) for one in said[name]]
        if targets := said.pop("targets", None):
            said["node"], told = short_targets(targets, self.parameters)
            said |= {"targets": told} if told else {}
        return to_json(said).decode()  # a tenth of what `json` takes

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """Read what `to_json` wrote, in this version or one before."""
        said = json.loads(text)
        parameters = said.setdefault("parameters", {})
        if "node" in said:  # jobs of before it was left out have every target
            said["targets"] = long_targets(said.pop("node"), said.get("targets", {}), parameters)
        if "inputs" in said:
            said["inputs"] = [JobInput(**one) for one in said["inputs"]]
        if "handovers" in said:
            said["handovers"] = [Handover(**one) for one in said["handovers"]]
        return cls(**said)


class SpecForm:
    """The spec of a job as it is stored, with gaps where other jobs have other values.

    Filling gaps takes a tenth of what binding and writing each job takes.

    Args:
        spec: of one job; what its parameters `names` set is not set by others.
        names: the parameters that the gaps are for.
    """

    def __init__(self, spec: JobSpec, names: Sequence[str]) -> None:
        marks: dict[str, Any] = {name: f"\0{place}" for place, name in enumerate(names)}
        seeds = {target: marks[name] for name in names for target in spec.targets[name] if target in spec.seeds}
        gaping = replace(spec, parameters={**spec.parameters, **marks}, seeds={**spec.seeds, **seeds})
        pieces = _GAP.split(gaping.to_json())
        self._gaps = [int(place) for place in pieces[1::2]]
        self._form = "%s".join(piece.replace("%", "%%") for piece in pieces[::2])

    def filled(self, columns: Sequence[Iterable[Any]]) -> list[str]:
        """The specs of other jobs, as they are stored.

        Args:
            columns: for each of the names the values of all jobs, in the order of the jobs.
        """
        texts = [[to_json(value).decode() for value in column] for column in columns]
        return [self._form % row for row in zip(*(texts[place] for place in self._gaps), strict=True)]


_GAP: Final = re.compile(r'"\\u0000(\d+)"')
"""How a mark is written; no text that may be stored holds a NUL."""


def short_targets(targets: Targets, parameters: Mapping[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """Leave out the targets that follow from the names: they would be a fifth of a usual job on the disk.

    Args:
        targets: the inputs that each parameter sets.
        parameters: those of the job.

    Returns:
        The node whose inputs most parameters are named after, and the targets that do not follow from that; none for
        a parameter that is only a label.
    """
    nodes: dict[str, int] = {}
    for name, one in targets.items():
        if len(one) == 1 and one[0].endswith(f".{name}"):
            named = one[0].removesuffix(f".{name}")
            nodes[named] = nodes.get(named, 0) + 1
    node = max(nodes, key=nodes.__getitem__, default="")
    labels: dict[str, list[str]] = {name: [] for name in parameters if name not in targets}
    told = {name: one for name, one in targets.items() if name not in parameters or one != _named_after(name, node)}
    return node, labels | told


def long_targets(node: str, told: Targets, parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every target again, from what `short_targets` gave."""
    found = {name: told[name] if name in told else _named_after(name, node) for name in {**parameters, **told}}
    return {name: one for name, one in found.items() if one}


def _named_after(name: str, node: str) -> list[str]:
    """The input that a parameter names: `id.input`, or an input of the one node."""
    return [name if "." in name else f"{node}.{name}"]


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A checked manifest, ready to be accepted."""

    job_id: str
    owner: str
    door: Door
    workflow_id: str
    stem: str
    graph: Graph
    graph_hash: str
    lane: LaneSpec
    priority: int
    spec: JobSpec
    submitted_at: datetime
    source: str | None = None
    idempotency_key: str | None = None
    body_hash: str | None = None
    claim: InboxClaim | None = None
    rerun_of: str | None = None
    deadline: datetime | None = None

    @property
    def due(self) -> int:
        """Its deadline as it is stored: milliseconds, 0 for none."""
        return to_millis(self.deadline) if self.deadline is not None else 0


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The answer to an accepted manifest; `replayed` when the same one had come before."""

    job_id: str
    submitted_at: datetime
    warnings: tuple[str, ...]
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class OpenAttempt:
    """An attempt that is to be made, or was being made when the last process ended.

    Attributes:
        row: the job's row.
        document: the graph as it is stored.
        order: what is fixed since the job was accepted, as it is stored: it is read by whoever sends the job, not in
            the transaction that claims it.
        accepted: whether the backend is known to have taken the prompt.
        charged: attempts that used up the retry budget so far, without this one.
        batch: the row of the job's batch.
    """

    row: int
    job_id: str
    number: int
    epoch: int
    backend_id: str
    prompt_id: str
    workflow_id: str
    stem: str
    document: str
    order: str
    charged: int
    lane_id: int
    lane: LaneSpec
    stage: Stage
    batch: int | None = None
    accepted: bool = False
    cancel_requested: bool = False

    @property
    def graph(self) -> Graph:
        """The graph before its values are bound."""
        graph: Graph = json.loads(self.document)
        return graph

    @cached_property
    def spec(self) -> JobSpec:
        """What is fixed since the job was accepted."""
        return JobSpec.from_json(self.order)


@dataclass(frozen=True, kw_only=True)
class LeftBehind:
    """An attempt that has ended here, and whose prompt its backend may still hold."""

    job_id: str
    number: int
    backend_id: str
    prompt_id: str


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What went off the record in one step.

    Attributes:
        count: how many jobs, or input files.
        files: the files that nothing names any more, by hash, with what `stored_bytes` counted for each: 0 for one that
            jobs only began with.
    """

    count: int
    files: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Place:
    """What orders a queued job among others.

    Attributes:
        row: its number; a job that came later has a greater one.
        lane_id: where it waits.
        rank: minus its priority.
        due: its deadline, milliseconds; 0 for none.
    """

    row: int
    lane_id: int
    rank: int
    due: int = 0


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """A job with what only the service needs beside it.

    Attributes:
        delivered: whether its result stands in Outbox, or needs no place there.
        waits_for: the parents that have not ended, and where they stand.
    """

    row: int
    job: Job
    spec: JobSpec
    lane: LaneSpec
    lane_id: int
    rank: int
    due: int
    seq: int
    claim: InboxClaim | None
    delivered: bool
    waits_for: tuple[tuple[str, JobState], ...] = ()

    @property
    def place(self) -> Place:
        """What orders it among others while it is queued."""
        return Place(row=self.row, lane_id=self.lane_id, rank=self.rank, due=self.due)


def open_attempt(
    row: sqlite3.Row,
    *,
    document: str,
    lane: LaneSpec,
    number: int,
    epoch: int,
    backend_id: str,
    prompt_id: str,
    stage: Stage,
    accepted: bool = False,
) -> OpenAttempt:
    """The attempt at a job; of its row, what `pick_jobs` asks for is enough."""
    return OpenAttempt(
        row=row["id"],
        job_id=row["uid"],
        number=number,
        epoch=epoch,
        backend_id=backend_id,
        prompt_id=prompt_id,
        workflow_id=row["workflow_id"],
        stem=row["stem"],
        document=document,
        order=row["spec"],
        charged=row["charged"],
        lane_id=row["lane_id"],
        lane=lane,
        stage=stage,
        batch=row["batch_id"],
        accepted=accepted,
        cancel_requested=row["cancel_requested_at"] is not None,
    )


def stored_job(
    row: sqlite3.Row,
    attempts: list[sqlite3.Row],
    artifacts: list[sqlite3.Row],
    parents: list[sqlite3.Row],
) -> StoredJob:
    """Put a job together from its rows."""
    spec = JobSpec.from_json(row["spec"])
    lane = LaneSpec.from_json(row["lane_spec"])
    failure = JobFailure(**json.loads(row["failure"])) if row["failure"] else None
    job = Job(
        job_id=row["uid"],
        state=STATES[row["state"]],
        stage=Stage(row["stage"]) if row["stage"] else None,
        workflow_id=row["workflow_id"],
        parameters=spec.parameters,
        metadata=spec.metadata,
        seeds=spec.seeds,
        priority=-row["rank"],
        door=Door(row["door"]),
        owner=row["owner"],
        backend_affinity=lane.pin,
        required_capabilities=tuple(sorted(lane.capabilities)),
        submitted_at=from_millis(row["submitted_at"]),
        started_at=_moment(row["started_at"]),
        finished_at=_moment(row["finished_at"]),
        not_before=_moment(row["not_before"]),
        cancel_requested_at=_moment(row["cancel_requested_at"]),
        backend_id=row["backend_id"] if row["state"] not in _UNPLACED else None,
        attempts=tuple(_attempt(item) for item in attempts),
        outputs=tuple(artifact_of(item) for item in artifacts),
        failure=failure,
        warnings=tuple(spec.warnings),
        attention=bool(row["attention"]),
        sandbox=bool(row["sandbox"]),
        stem=row["stem"],
        delivery_path=row["delivery_path"],
        rerun_of=row["rerun_of"],
        deadline=from_millis(row["due"]) if row["due"] else None,
        batch_id=row["batch_uid"],
        batch_index=_place(row["batch_index"]),
        parents=tuple(spec.parents),
        inputs=tuple(spec.inputs),
    )
    claim = InboxClaim(claim_id=row["claim_id"], file_name=row["claim_name"]) if row["claim_id"] else None
    return StoredJob(
        row=row["id"],
        job=job,
        spec=spec,
        lane=lane,
        lane_id=row["lane_id"],
        rank=row["rank"],
        due=row["due"],
        seq=row["seq"],
        claim=claim,
        delivered=row["delivery"] == DELIVERY_DONE,
        waits_for=tuple((parent["uid"], STATES[parent["state"]]) for parent in parents),
    )


_UNPLACED = {code for code, state in STATES.items() if state in (JobState.QUEUED, JobState.WAITING)}


def _place(index: int | None) -> int | None:
    """The place of a job in its batch; of one that a retry has replaced, too."""
    return -1 - index if index is not None and index < 0 else index


def _moment(millis: int | None) -> datetime | None:
    return None if millis is None else from_millis(millis)


def _attempt(row: sqlite3.Row) -> Attempt:
    return Attempt(
        number=row["number"],
        backend_id=row["backend_id"],
        prompt_id=row["prompt_id"],
        started_at=from_millis(row["started_at"]),
        ended_at=_moment(row["ended_at"]),
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        reason=row["reason"],
        report=RenderReport.from_json(row["report"]) if row["report"] else None,
    )


def artifact_of(row: sqlite3.Row) -> Artifact:
    """An output as its row says."""
    return Artifact(
        name=row["name"],
        node=row["node"],
        kind=row["kind"],
        media_type=row["media_type"],
        size=row["size"],
        sha256=row["sha256"],
    )
