"""A finished job on its way to Outbox, and the Inbox file that it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator_mcp.domain.batch_views import BatchView
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.domain.views import JobView


@dataclass(frozen=True, kw_only=True)
class InboxClaim:
    """A manifest file that the watcher took, so that the same take never makes two jobs.

    Attributes:
        claim_id: made when the file was claimed; the file lies in `Inbox/.orch/` under it.
        file_name: what the artist called the file.
    """

    claim_id: str
    file_name: str


@dataclass(frozen=True, kw_only=True)
class DeliveryFile:
    """One artifact to copy: its public name, and where its bytes lie."""

    name: str
    source: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What Outbox gets for one finished job.

    Attributes:
        job: the final view.
        stem: readable beginning of the folder's name, not yet made safe.
        to_outbox: False when only the Inbox file is to be put away (`outbox: inbox`).
        files: copies to make.
        graph: the graph as it was sent, with every value bound.
        timings: seconds by what they were spent on.
        claim: the Inbox file to put away afterwards, if the job came by one.
        report: what is known of the render beside its files.
    """

    job: JobView
    stem: str
    to_outbox: bool
    files: tuple[DeliveryFile, ...]
    graph: Graph
    timings: dict[str, float]
    claim: InboxClaim | None = None
    report: RenderReport | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveredName:
    """A file of one job of a batch, which lies in that job's own folder."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class BatchLine:
    """What the result of a batch says of one job.

    Attributes:
        parameters: those that vary.
        seeds: every seed in force, by `node.input`.
        folder: the name of its own folder in Outbox, or None.
    """

    job_id: str
    parameters: dict[str, Any]
    seeds: dict[str, int]
    status: str
    error: str | None
    folder: str | None
    files: tuple[DeliveredName, ...]


@dataclass(frozen=True, kw_only=True)
class BatchDelivery:
    """What Outbox gets for a batch when its last job is delivered.

    Attributes:
        batch: the final view.
        stem: readable beginning of the folder's name, not yet made safe.
        to_outbox: False when only the Inbox file is to be put away (`outbox: inbox`).
        sheet: the contact sheet, a PNG; None when there is nothing to show.
        lines: one for each job, in their order.
        claim: the Inbox file to put away afterwards, if the batch came by one.
    """

    batch: BatchView
    stem: str
    to_outbox: bool
    sheet: bytes | None
    lines: tuple[BatchLine, ...]
    claim: InboxClaim | None = None
