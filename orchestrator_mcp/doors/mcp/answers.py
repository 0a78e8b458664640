"""What the tools answer: small, complete in itself, and always with the next step in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from orchestrator_mcp.domain.dry_runs import DryRunView, ProspectView
from orchestrator_mcp.domain.reasons import reasons_in_words
from orchestrator_mcp.domain.text import plain, plain_or_none
from orchestrator_mcp.domain.views import (
    AcceptedView,
    AttemptView,
    BackendView,
    BlockView,
    JobView,
    OutputView,
    Status,
)
from orchestrator_mcp.doors.mcp.text import fitting

FINAL: Final = frozenset({"completed", "failed", "cancelled"})
_NAME_BYTES: Final = 300
_DRY_RUN_BYTES: Final = 9_000  # told twice, as text and as structure
_REASON_BYTES: Final = 1_000


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Submitted(Answer):
    """The answer of `submit_job`."""

    job_id: str | None = None
    status: str
    poll_after_ms: int | None = None
    warnings: list[str] = []
    dry_run: dict[str, Any] | None = None
    next_step: str


class OutputFile(Answer):
    """One picture, video or other file of a completed job."""

    name: str
    url: str
    path: str | None = None
    media_type: str
    size: int
    kind: str


class Failure(Answer):
    """Why a job failed."""

    code: str
    message: str
    hint: str | None = None


class JobAnswer(Answer):
    """The answer of `job_status`: about one job or batch, or in `jobs` about several."""

    job_id: str | None = None
    status: Status | None = None
    stage: str | None = None
    progress: float | None = None
    counts: dict[str, int] = {}
    node: str | None = None
    backend_id: str | None = None
    queue_position: int | None = None
    eta_seconds: float | None = None
    waiting_because: list[str] = []
    outputs: list[OutputFile] = []
    error: Failure | None = None
    warnings: list[str] = []
    seeds: dict[str, int] = {}
    attempts: list[str] = []
    attention: bool = False
    sandbox: bool = False
    poll_after_ms: int | None = None
    jobs: list[dict[str, Any]] = []
    next_step: str


class Cancelled(Answer):
    """The answer of `cancel_job`: about one job or batch, or in `jobs` about several."""

    job_id: str | None = None
    status: str | None = None
    jobs: list[dict[str, str]] = []
    next_step: str


class BackendLine(Answer):
    """One machine of the farm."""

    id: str
    name: str
    status: str
    reason: str | None = None
    capabilities: list[str] = []
    running: int
    slots: int
    foreign: int = 0
    warm: str | None = None
    wish: str | None = None
    blocked: list[str] = []
    device: str | None = None


class Backends(Answer):
    """The answer of `list_backends`."""

    backends: list[BackendLine]
    online: int
    total: int
    next_step: str


def submitted(view: AcceptedView) -> Submitted:
    """Say that a job is queued, and how to follow it."""
    return Submitted(
        job_id=view.job_id,
        status=view.status,
        poll_after_ms=2000,
        warnings=lines(view.warnings),
        next_step=f"Call job_status with job_id {view.job_id} and wait_seconds 30 until its status is final.",
    )


def tried(view: DryRunView) -> Submitted:
    """Say what a job would be, as much of it as fits, and who could render it."""
    document = view.model_dump(mode="json", exclude={"dry_run", "warnings", "backends"})
    document["backends"] = lines([_prospect(one) for one in view.backends])
    for name in ("graph", "parameters", "seeds"):
        if len(json.dumps(document, ensure_ascii=False).encode()) > _DRY_RUN_BYTES:
            document[name] = "left out: it is too long"
    able = sum(one.can_run is True for one in view.backends)
    advice = "It could run now." if able and not view.would_wait else "It would wait in the queue."
    return Submitted(
        status="not queued",
        warnings=lines(view.warnings),
        dry_run=document,
        next_step=f"{advice} Call submit_job without dry_run to queue it.",
    )


def _prospect(view: ProspectView) -> str:
    verdict = {True: "can run it", False: "cannot run it", None: "unknown"}[view.can_run]
    return f"{view.backend_id}: {verdict}" + (f": {'; '.join(view.reasons)}" if view.reasons else "")


def job_answer(view: JobView) -> JobAnswer:
    """Tell the state of a job, without what the caller handed in."""
    outputs = fitting([output_file(output) for output in view.outputs])
    final = view.status in FINAL
    return JobAnswer(
        job_id=view.job_id,
        status=view.status,
        stage=view.stage,
        progress=round(view.progress, 4),
        node=plain_or_none(view.node, limit=_NAME_BYTES),
        backend_id=view.backend_id,
        queue_position=view.queue_position,
        eta_seconds=view.eta_seconds,
        waiting_because=waiting_lines(view),
        outputs=outputs,
        error=_failure(view),
        warnings=lines(view.warnings),
        seeds=dict(list(view.seeds.items())[:50]),
        attempts=lines([_attempt(attempt) for attempt in view.attempts[-10:]]),
        attention=view.attention,
        sandbox=view.sandbox,
        poll_after_ms=None if final else _poll_after(view),
        next_step=plain(_next_step(view, told=len(outputs))),
    )


def cancelled(view: JobView) -> Cancelled:
    """Say how far a cancellation has come."""
    done = view.status in FINAL
    return Cancelled(
        job_id=view.job_id,
        status=view.status,
        next_step="It has ended; nothing more to do."
        if done
        else "The cancellation is on its way to the backend. Call job_status to see it end.",
    )


def backend_lines(views: Sequence[BackendView]) -> Backends:
    """Tell what each machine does now, as many as fit."""
    lines = fitting([backend_line(view) for view in views])
    online = sum(view.online for view in views)
    told = "" if len(lines) == len(views) else f" {len(views) - len(lines)} more are left out."
    advice = (
        "Submit with submit_job; the farm picks the machine."
        if online
        else "No backend is online: jobs are accepted and wait. Ask a person to start ComfyUI or check the hosts."
    )
    return Backends(backends=lines, online=online, total=len(views), next_step=advice + told)


def progress_message(view: JobView) -> str:
    """One line for a progress notification."""
    where = f" on {view.backend_id}" if view.backend_id else ""
    return plain(f"{view.stage or view.status}{where}", limit=_NAME_BYTES)


def lines(texts: Sequence[str], *, most: int = 20) -> list[str]:
    """Sentences for a model, not too many."""
    told = [plain(text, limit=500) for text in texts[:most]]
    return [*told, f"… and {len(texts) - most} more"] if len(texts) > most else told


def waiting_lines(view: JobView) -> list[str]:
    """Why a job waits, for each backend."""
    return lines([_waiting(reason.backend_id, reason.reason) for reason in view.waiting_because])


def _waiting(backend_id: str | None, reason: str) -> str:
    return f"{backend_id}: {reason}" if backend_id else reason


def _attempt(view: AttemptView) -> str:
    reason = f" ({view.reason})" if view.reason and view.outcome != "succeeded" else ""
    return f"{view.number} on {view.backend_id}: {view.outcome or 'open'}{reason}"


def output_file(view: OutputView) -> OutputFile:
    """A file as a model is told of it."""
    return OutputFile(
        name=plain(view.name, limit=_NAME_BYTES),
        url=view.url,
        path=view.path,
        media_type=view.media_type,
        size=view.size,
        kind=view.kind,
    )


def _failure(view: JobView) -> Failure | None:
    if view.error is None:
        return None
    return Failure(code=view.error.code, message=plain(view.error.message), hint=plain_or_none(view.error.hint))


def unknown_job(job_id: str, words: str) -> JobAnswer:
    """Say in a list of several that one of them does not exist."""
    return JobAnswer(job_id=job_id, error=Failure(code="not_found", message=words), next_step="")


def is_under_way(answer: JobAnswer) -> bool:
    """Whether this job or batch exists and has not ended."""
    return answer.status is not None and answer.status not in FINAL


def _poll_after(view: JobView) -> int:
    expected = view.eta_seconds if view.eta_seconds is not None else (4.0 if view.status == "running" else 8.0)
    return round(min(max(expected * 500, 1000), 15_000))


def _next_step(view: JobView, *, told: int) -> str:
    match view.status:
        case "completed":
            return _after_completion(view, left_out=len(view.outputs) - told)
        case "failed" if view.attention:
            return "Nobody can say whether it rendered; a person should look before it is submitted again."
        case "failed":
            hint = view.error.hint if view.error else None
            return f"{hint or 'Read error.message and mend the cause.'} Then submit a new job."
        case "cancelled":
            return "It was cancelled; submit a new job to render it."
        case "queued" if view.waiting_because:
            return f"{why_it_waits(view)} Call job_status again with wait_seconds 30."
        case _:
            return "Call job_status again with wait_seconds 30."


def why_it_waits(view: JobView) -> str:
    """In one sentence: the reasons, each with the backends that give it."""
    return plain(f"It waits: {reasons_in_words(view.waiting_because)}.", limit=_REASON_BYTES)


def _after_completion(view: JobView, *, left_out: int) -> str:
    if not view.outputs:
        return "It completed without a file; check that the workflow saves something."
    parts = [
        "Open each output by its path on this machine, or fetch its url."
        if all(output.path for output in view.outputs)
        else "Fetch each output by its url; a path is told once its copy lies in Outbox.",
        "get_preview shows them small.",
        f"{left_out} more lie beside them in Outbox." if left_out else "",
        "These are test slates of the built-in sandbox, not diffusion renders." if view.sandbox else "",
    ]
    return " ".join(part for part in parts if part)


def backend_line(view: BackendView) -> BackendLine:
    """What one machine is and does now."""
    return BackendLine(
        id=view.id,
        name=plain(view.name, limit=_NAME_BYTES),
        status=view.status,
        reason=plain_or_none(view.reason, limit=500),
        capabilities=lines(view.capabilities),
        running=view.running,
        slots=view.slots,
        foreign=view.foreign,
        warm=plain_or_none(view.warm, limit=_NAME_BYTES),
        wish=plain_or_none(_wish(view), limit=500),
        blocked=lines([_block(block) for block in view.blocked], most=5),
        device=_device(view),
    )


def _wish(view: BackendView) -> str | None:
    """What an operator wants of a machine."""
    wish = view.wish
    if wish is None:
        return None
    return f"{wish.kind} by {wish.by} since {wish.at:%Y-%m-%d %H:%M} UTC" + (f": {wish.note}" if wish.note else "")


def _block(block: BlockView) -> str:
    """A kind of work that avoids a machine."""
    times = "once" if block.failures == 1 else f"{block.failures} times in a row"
    until = f"{block.until:%Y-%m-%d %H:%M} UTC"
    return f"jobs like {block.workflow_id} go elsewhere until {until}: they failed here {times}: {block.reason}"


def _device(view: BackendView) -> str | None:
    """Its first device and the memory of it, where it has told of one."""
    if not view.devices:
        return None
    device = view.devices[0]
    free, total = device.get("vram_free"), device.get("vram_total")
    memory = (
        f", {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        if isinstance(free, int | float) and isinstance(total, int | float)
        else ""
    )
    more = f", and {len(view.devices) - 1} more" if len(view.devices) > 1 else ""
    return f"{plain(str(device.get('name')), limit=_NAME_BYTES)}{memory}{more}"
