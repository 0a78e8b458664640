"""Past facts, told after the commit that made them true; a lost one costs latency, never truth."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_mcp.domain.jobs import JobState, Stage


@dataclass(frozen=True, kw_only=True)
class JobChanged:
    """A job entered a state or a stage.

    Attributes:
        job_id: the job.
        seq: the number of its newest history row.
        state: where it stands now.
        stage: what a running job is doing.
        cancel: whether this change is the wish to cancel a job that runs.
    """

    job_id: str
    seq: int
    state: JobState
    stage: Stage | None = None
    cancel: bool = False


@dataclass(frozen=True, kw_only=True)
class JobProgressed:
    """A render went on; never stored.

    Attributes:
        job_id: the job.
        fraction: 0 to 1 over the whole graph.
        node: the node that works now.
        value: steps done in that node.
        maximum: steps in that node.
    """

    job_id: str
    fraction: float
    node: str | None = None
    value: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobDelivered:
    """The result of an ended job stands in Outbox, or needs no place there."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class BackendChanged:
    """A backend came, went, or changed what it can do."""

    backend_id: str


Event = JobChanged | JobProgressed | JobDelivered | BackendChanged
