"""From what is stored to what callers see: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from orchestrator_mcp.domain.assets import Asset, input_name
from orchestrator_mcp.domain.chains import JobInput
from orchestrator_mcp.domain.deadlines import is_late
from orchestrator_mcp.domain.events import JobProgressed
from orchestrator_mcp.domain.jobs import Artifact, Attempt, Job, JobFailure, JobState
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.domain.text import told, told_or_none, told_values, without_secrets
from orchestrator_mcp.domain.views import (
    AcceptedView,
    AssetView,
    AttemptView,
    BackendView,
    ErrorView,
    HealthView,
    InputView,
    JobView,
    OutputView,
    ParameterView,
    Status,
    WaitingView,
    WorkflowView,
)
from orchestrator_mcp.store import Acceptance, HistoryRow

NODE_BYTES: Final = 300  # of a node's id or another name


@dataclass(frozen=True, kw_only=True)
class Live:
    """What is known of a job beside the store.

    Attributes:
        progress: how far its render is.
        position: its place in the queue, from 1.
        seconds_left: until its render is done, as far as that can be known.
        reasons: why it waits, for each backend.
        at: the moment of which all this is true.
    """

    progress: JobProgressed | None = None
    position: int | None = None
    seconds_left: float | None = None
    reasons: Sequence[tuple[str | None, str]] = ()
    at: datetime | None = None


def job_view(job: Job, live: Live, base_url: str) -> JobView:
    """The one shape of a job on every wire.

    Args:
        job: as it is stored.
        live: what is known beside the store.
        base_url: what urls begin with, without a slash at the end.
    """
    progress = live.progress
    return JobView(
        job_id=job.job_id,
        status=cast(Status, job.state.status),
        stage=job.stage.value if job.stage else None,
        workflow_id=job.workflow_id,
        progress=1.0 if job.state is JobState.COMPLETED else progress.fraction if progress else 0.0,
        node=told_or_none(progress.node, limit=NODE_BYTES) if progress and job.state is JobState.RUNNING else None,
        priority=job.priority,
        parameters=without_secrets(job.parameters),
        metadata=without_secrets(job.metadata),
        seeds=job.seeds,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        backend_id=job.backend_id,
        attempts=[_attempt(attempt) for attempt in job.attempts],
        waiting_because=[
            WaitingView(backend_id=backend_id, reason=told(reason)) for backend_id, reason in live.reasons
        ],
        queue_position=live.position,
        eta_seconds=round(live.seconds_left, 1) if live.seconds_left is not None else None,
        deadline=job.deadline,
        late=is_late(job.deadline, job.finished_at, live.at or job.submitted_at, live.seconds_left),
        inputs=[_input(one) for one in job.inputs],
        outputs=output_views(job, base_url),
        error=_error(job.failure) if job.failure else None,
        warnings=[told(warning) for warning in job.warnings],
        attention=job.attention,
        sandbox=job.sandbox,
        rerun_of=job.rerun_of,
        depends_on=list(job.parents),
        batch_id=job.batch_id,
        batch_index=job.batch_index,
        links=links(job.job_id, base_url),
    )


def parent_reasons(waits_for: Iterable[tuple[str, JobState]]) -> list[tuple[str | None, str]]:
    """Why a job waits whose parents have not ended.

    Args:
        waits_for: those parents, and where they stand.
    """
    return [(None, f"it waits for the job {job_id}, which is {state.status}") for job_id, state in waits_for]


def output_views(job: Job, base_url: str) -> list[OutputView]:
    """The verified files of a job."""
    return [_output(job, artifact, base_url) for artifact in job.outputs]


def asset_view(asset: Asset, base_url: str) -> AssetView:
    """An input file that is on record."""
    return AssetView(
        asset=asset.reference,
        sha256=asset.sha256,
        kind=asset.kind,
        media_type=asset.media_type,
        size=asset.size,
        extension=asset.extension,
        url=f"{base_url}/api/assets/{asset.sha256}",
    )


def asset_output(asset: Asset, base_url: str) -> OutputView:
    """An input file as it is served: by the same rules as an output."""
    return OutputView(
        name=asset.name,
        node="",
        kind=asset.kind,
        media_type=asset.media_type,
        size=asset.size,
        sha256=asset.sha256,
        url=f"{base_url}/api/assets/{asset.sha256}",
    )


def accepted_view(answer: Acceptance, base_url: str) -> AcceptedView:
    """What a caller is told whose manifest became a job.

    Args:
        answer: what the store says.
        base_url: what the links begin with.
    """
    return AcceptedView(
        job_id=answer.job_id,
        submitted_at=answer.submitted_at,
        warnings=list(answer.warnings),
        links=links(answer.job_id, base_url),
    )


def links(job_id: str, base_url: str) -> dict[str, str]:
    """Where to go on from a job."""
    here = f"{base_url}/api/job/{job_id}"
    return {
        "self": here,
        "outputs": f"{here}/outputs",
        "events": f"{here}/events",
        "stream": f"{here}/stream".replace("http", "ws", 1),
    }


def timings(job: Job, history: Iterable[HistoryRow]) -> dict[str, float]:
    """Seconds by what they were spent on: one entry for each stage, and the total.

    Args:
        job: an ended one.
        history: its changes, oldest first.
    """
    spent: dict[str, float] = {}
    rows = list(history)
    for row, following in zip(rows, rows[1:], strict=False):
        name = row.stage or "queued"
        spent[name] = round(spent.get(name, 0.0) + (following.at - row.at) / 1000, 3)
    if job.finished_at is not None:
        spent["total"] = round((job.finished_at - job.submitted_at).total_seconds(), 3)
    return spent


def _input(begun_with: JobInput) -> InputView:
    name = input_name(begun_with.sha256, begun_with.extension)
    return InputView(target=begun_with.target, name=name, sha256=begun_with.sha256)


def last_report(job: Job) -> RenderReport | None:
    """What is known of the render of a job's last attempt, made fit to show."""
    report = job.attempts[-1].report if job.attempts else None
    if report is None:
        return None
    return replace(
        report,
        comfyui_version=told_or_none(report.comfyui_version, limit=NODE_BYTES),
        device=told_or_none(report.device, limit=NODE_BYTES),
    )


def _output(job: Job, artifact: Artifact, base_url: str) -> OutputView:
    return OutputView(
        name=artifact.name,
        node=artifact.node,
        kind=artifact.kind,
        media_type=artifact.media_type,
        size=artifact.size,
        sha256=artifact.sha256,
        url=f"{base_url}/api/job/{job.job_id}/outputs/{quote(artifact.name)}",
        path=str(Path(job.delivery_path) / artifact.name) if job.delivery_path else None,
    )


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        backend_id=attempt.backend_id,
        prompt_id=attempt.prompt_id,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome.value if attempt.outcome else None,
        reason=told_or_none(attempt.reason),
    )


def _error(failure: JobFailure) -> ErrorView:
    return ErrorView(
        code=failure.code,
        message=told(failure.message),
        hint=told_or_none(failure.hint),
        details=told_values(failure.details),
    )


def backend_view(view: BackendView) -> BackendView:
    """A backend with everything that it says about itself made fit to show."""
    return view.model_copy(
        update={
            "reason": told_or_none(view.reason),
            "warm": told_or_none(view.warm, limit=NODE_BYTES),
            "comfyui_version": told_or_none(view.comfyui_version, limit=NODE_BYTES),
            "blocked": [block.model_copy(update={"reason": told(block.reason)}) for block in view.blocked],
            "devices": told_values(view.devices),
        }
    )


def health_view(
    backends: Sequence[BackendView],
    *,
    version: str,
    now: datetime,
    uptime: float,
    jobs: tuple[int, int],
    accepting: bool,
    problems: Sequence[str],
    notices: Sequence[str],
) -> HealthView:
    """Whether the orchestrator does its work.

    Args:
        backends: all of them.
        version: of the program.
        now: the moment.
        uptime: seconds since it started.
        jobs: how many are queued, and how many run.
        accepting: whether manifests are taken.
        problems: what is wrong, in words.
        notices: what is worth knowing and needs no mending.
    """
    queued, running = jobs
    return HealthView(
        status="degraded" if problems else "ok",
        timestamp=now,
        backends_online=sum(view.online for view in backends),
        version=version,
        backends_total=len(backends),
        backends_available=sum(view.status in ("idle", "busy") for view in backends),
        accepting=accepting,
        sandbox=any(view.kind == "sandbox" for view in backends),
        jobs_queued=queued,
        jobs_running=running,
        uptime_seconds=round(uptime, 1),
        problems=list(problems),
        notices=list(notices),
    )


def workflow_view(view: WorkflowView) -> WorkflowView:
    """A workflow with what its file says made fit to show; a default may be a key that somebody left in it."""
    said = {
        "title": told_or_none(view.title),
        "description": told_or_none(view.description),
        "tags": [told(tag) for tag in view.tags],
        "notes": [told(note) for note in view.notes],
        "problem": told_or_none(view.problem),
    }
    return view.model_copy(update={**said, "parameters": [_parameter_view(part) for part in view.parameters]})


def _parameter_view(part: ParameterView) -> ParameterView:
    return part.model_copy(
        update={
            "default": without_secrets({part.name: part.default})[part.name],
            "title": told_or_none(part.title),
            "description": told_or_none(part.description),
        }
    )
