"""A service that keeps what it is given in memory, so that tests can go for the file system alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.domain.batch_views import BatchAcceptedView
from orchestrator_mcp.domain.deliveries import BatchDelivery, Delivery, DeliveryFile, InboxClaim
from orchestrator_mcp.domain.jobs import Door, new_batch_id, new_job_id
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.views import AcceptedView, ErrorView, JobView, OutputView
from orchestrator_mcp.errors import OrchestratorError
from orchestrator_mcp.service import JobService, Submission
from orchestrator_mcp.service.batch_deliveries import BatchDeliveries
from orchestrator_mcp.service.batches import BatchService
from orchestrator_mcp.service.job_deliveries import JobDeliveries
from watcher.inbox import Inbox, InboxLimits
from watcher.outbox import Outbox
from watcher.rules import Patience

D = TypeVar("D")
MOST: Final = 20  # deliveries handed out together
QUICK = Patience(second_look=0.2, settle=0.3, empty=0.3, stranger=0.1)
GOOD = b'{"workflow_id": "my_workflow_001", "parameters": {"prompt": "a"}}'


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """One accepted manifest."""

    job_id: str
    manifest: Manifest
    stem: str
    claim: InboxClaim
    warnings: tuple[str, ...]


def accepted(wanted: Submission, job_id: str) -> Accepted:
    """What is kept of a manifest that became this job."""
    assert wanted.claim is not None and wanted.stem is not None
    return Accepted(
        job_id=job_id,
        manifest=wanted.manifest,
        stem=wanted.stem,
        claim=wanted.claim,
        warnings=tuple(wanted.warnings),
    )


class GivenDeliveries(Generic[D]):
    """Hands out the deliveries that a test gives it, each once.

    Attributes:
        given: what is to be delivered.
        recorded: where each was put.
        failed: what was put off, and why.
    """

    def __init__(self) -> None:
        self.given: list[D] = []
        self.recorded: dict[str, Path | None] = {}
        self.failed: list[tuple[str, str]] = []

    async def due(self) -> list[D]:
        await until(lambda: bool(self.given), seconds=1e9)
        given, self.given = self.given[:MOST], self.given[MOST:]
        return given

    async def record(self, name: str, folder: Path | None) -> None:
        self.recorded[name] = folder

    def put_off(self, name: str, reason: str) -> None:
        self.failed.append((name, reason))


class JobsGiven(GivenDeliveries[Delivery], JobDeliveries):
    """Finished jobs."""


class BatchesGiven(GivenDeliveries[BatchDelivery], BatchDeliveries):
    """Finished batches."""


class QuietBatches(BatchService):
    """Accepts every batch, and has none to deliver unless a test gives one.

    Attributes:
        submissions: what was accepted, in order.
    """

    deliveries: BatchesGiven

    def __init__(self) -> None:
        self.submissions: list[Accepted] = []
        self.deliveries = BatchesGiven()

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> BatchAcceptedView:
        await checkpoint()
        now = datetime.now(UTC)
        batch_id = new_batch_id(now)
        self.submissions.append(accepted(wanted, batch_id))
        return BatchAcceptedView(batch_id=batch_id, count=2, job_ids=[], submitted_at=now)


@dataclass
class RecordingService(JobService):
    """Accepts everything unless told otherwise; hands out the deliveries that a test gives it.

    Attributes:
        submissions: what was accepted, in order.
        refusals: errors to raise, one for each submission that comes.
        closed_because: why nothing is accepted.
    """

    submissions: list[Accepted] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    deliveries: JobsGiven = field(default_factory=JobsGiven)
    closed_because: str | None = None
    refuse: Callable[[Manifest], Exception | None] = lambda _manifest: None
    batches: QuietBatches = field(default_factory=QuietBatches)

    async def submit(self, wanted: Submission, *, base_url: str | None = None) -> AcceptedView:
        assert wanted.door is Door.INBOX and wanted.claim is not None
        await checkpoint()
        if self.refusals:
            raise self.refusals.pop(0)
        refusal = self.refuse(wanted.manifest)
        if refusal is not None:
            raise refusal
        job_id = await self.claimed_job(wanted.claim.claim_id)
        if job_id is None:
            job_id = new_job_id(datetime.now(UTC))
            self.submissions.append(accepted(wanted, job_id))
        return AcceptedView(job_id=job_id, submitted_at=datetime.now(UTC))

    async def submit_each(self, several: Sequence[Submission]) -> list[AcceptedView | OrchestratorError]:
        answers: list[AcceptedView | OrchestratorError] = []
        for wanted in several:
            try:
                answers.append(await self.submit(wanted))
            except OrchestratorError as error:
                answers.append(error)
        return answers

    async def claimed_job(self, claim_id: str) -> str | None:
        return next((each.job_id for each in self.submissions if each.claim.claim_id == claim_id), None)


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something that only the file system tells."""
    with anyio.fail_after(seconds):
        while True:
            if condition():
                return
            await anyio.sleep(0.005)


@asynccontextmanager
async def watching(
    folder: Path,
    service: RecordingService,
    *,
    patience: Patience | None = QUICK,
    events: bool = True,
    network: bool = False,
    interval: float = 0.2,
    limits: InboxLimits | None = None,
) -> AsyncIterator[Inbox]:
    """An Inbox at work."""
    inbox = Inbox(
        folder,
        service,
        clock=SystemClock(),
        limits=limits or InboxLimits(patience=patience),
        interval=interval,
        force_no_events=not events,
        network=network,
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(inbox.run)
        yield inbox
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def delivering(outbox: Path, inbox: Path, service: RecordingService) -> AsyncIterator[Outbox]:
    """An Outbox at work."""
    worker = Outbox(outbox, inbox, service, clock=SystemClock())
    async with anyio.create_task_group() as tasks:
        await tasks.start(worker.run)
        yield worker
        tasks.cancel_scope.cancel()


def drop(folder: Path, name: str, content: bytes = GOOD) -> Path:
    """Put a file there as careful clients do: written beside, renamed in."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f".{len(name)}.tmp").write_bytes(content)
    return (folder / f".{len(name)}.tmp").rename(folder / name)


def manifest_with(**parameters: Any) -> bytes:
    return json.dumps({"workflow_id": "my_workflow_001", "parameters": parameters}).encode()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def left_in_inbox(inbox: Path) -> list[str]:
    """What lies in an Inbox, but for its own folders."""
    return [name for name in names_in(inbox) if name not in (".orch", "processed", "failed", "rerender")]


def write(path: Path, content: bytes) -> None:
    """Write a file from a test that must not wait for files itself."""
    path.write_bytes(content)


def reason_for(inbox: Path, name: str) -> dict[str, Any]:
    found = json.loads((inbox / "failed" / f"{name}.error.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def delivery(
    tmp_path: Path,
    *,
    stem: str = "shot_010",
    status: str = "completed",
    contents: Sequence[bytes] = (b"one", b"two"),
    claim: InboxClaim | None = None,
    to_outbox: bool = True,
    job_id: str | None = None,
) -> Delivery:
    """A finished job whose artifacts lie under `tmp_path`."""
    job_id = job_id or new_job_id(datetime.now(UTC))
    given, views = [], []
    for number, content in enumerate(contents, 1):
        digest = hashlib.sha256(content).hexdigest()
        source = tmp_path / f"artifact-{digest}"
        source.write_bytes(content)
        name = f"shot_010_9_{number:02d}.png"
        given.append(DeliveryFile(name=name, source=source, size=len(content), sha256=digest))
        views.append(
            OutputView(
                name=name,
                node="9",
                kind="image",
                media_type="image/png",
                size=len(content),
                sha256=digest,
                url=f"http://127.0.0.1:9800/api/job/{job_id}/outputs/{name}",
            )
        )
    error = ErrorView(code="node_error", message="KSampler ran out of memory.", hint="Make it smaller.")
    view = JobView(
        job_id=job_id,
        status=status,  # type: ignore[arg-type]
        workflow_id="my_workflow_001",
        submitted_at=datetime.now(UTC),
        outputs=views if status == "completed" else [],
        error=error if status == "failed" else None,
    )
    return Delivery(
        job=view,
        stem=stem,
        to_outbox=to_outbox,
        files=tuple(given),
        graph={"9": {"class_type": "SaveImage", "inputs": {}}},
        timings={"rendering": 1.5},
        claim=claim,
    )
