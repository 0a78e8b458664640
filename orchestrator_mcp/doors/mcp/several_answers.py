"""What the tools answer about several jobs at once: lists of them, states side by side, cancellations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from orchestrator_mcp.clock import format_time
from orchestrator_mcp.domain.text import plain
from orchestrator_mcp.domain.views import JobListView, JobView
from orchestrator_mcp.doors.mcp.answers import FINAL, Answer, Cancelled, JobAnswer, is_under_way
from orchestrator_mcp.doors.mcp.text import MAX_ANSWER_BYTES, fitting

_LABEL_BYTES: Final = 300  # of one job's metadata


class JobLine(Answer):
    """A job of a list, in few words."""

    job_id: str
    status: str
    workflow_id: str
    submitted_at: str
    progress: float = 0.0
    backend_id: str | None = None
    batch_id: str | None = None
    outputs: int = 0
    error: str | None = None
    metadata: dict[str, Any] = {}


class Jobs(Answer):
    """The answer of `list_jobs`."""

    jobs: list[JobLine]
    next_cursor: str | None = None
    next_step: str


def job_lines(page: JobListView) -> Jobs:
    """Tell a page of jobs that fits into an answer (see `most_that_fit`)."""
    lines = [_line(view) for view in page.jobs]
    if not lines:
        advice = "No job fits these filters."
    elif page.next_cursor:
        advice = "There are more: call list_jobs again with cursor. job_status shows one of these."
    else:
        advice = "These are all. job_status shows one of them, get_preview its picture."
    return Jobs(jobs=lines, next_cursor=page.next_cursor, next_step=advice)


def most_that_fit(page: JobListView) -> int:
    """How many jobs of a page fit into an answer."""
    return len(fitting([_line(view) for view in page.jobs]))


def side_by_side(answers: Sequence[JobAnswer]) -> JobAnswer:
    """Tell the states of several jobs and batches, in the order in which they were asked for.

    Args:
        answers: one for each; those that do not fit are named without their files.
    """
    left = sum(map(is_under_way, answers))
    known = sum(one.status is not None for one in answers)
    unknown = f" {len(answers) - known} do not exist; error says which." if known < len(answers) else ""
    pauses = [one.poll_after_ms for one in answers if one.poll_after_ms is not None]
    return JobAnswer(
        jobs=_within_limits(answers),
        poll_after_ms=min(pauses) if pauses else None,
        next_step=(
            f"{known - left} of {known} have ended.{unknown} "
            "Call job_status again with the same ids and wait_seconds 30."
            if left
            else f"All have ended.{unknown} "
            "get_preview with these ids shows them side by side; open files by path or url."
        ),
    )


def cancelled_together(ends: Sequence[tuple[str, str | None, str | None]]) -> Cancelled:
    """Say how far several cancellations have come.

    Args:
        ends: for each id its status, or why it was refused.
    """
    jobs = [
        {"job_id": one, **({"status": status} if status else {}), **({"refused": why} if why else {})}
        for one, status, why in ends
    ]
    refused = sum(why is not None for _, _, why in ends)
    under_way = sum(status is not None and status not in FINAL for _, status, _ in ends)
    parts = [
        f"{refused} of {len(ends)} were refused; refused says why." if refused else "",
        f"{under_way} still run; call job_status to see them end." if under_way else "Nothing more to do.",
    ]
    return Cancelled(jobs=jobs, next_step=" ".join(part for part in parts if part))


def _within_limits(answers: Sequence[JobAnswer]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    room = MAX_ANSWER_BYTES
    for answer in answers:
        document = answer.model_dump(mode="json", exclude_defaults=True, exclude={"next_step"})
        if _size(document) > room:
            document = {name: document[name] for name in ("job_id", "status", "progress") if name in document}
            document["left_out"] = "ask for this one alone"
        room -= _size(document)
        told.append(document)
    return told


def _size(document: dict[str, Any]) -> int:
    return len(json.dumps(document, ensure_ascii=False).encode())


def _line(view: JobView) -> JobLine:
    return JobLine(
        job_id=view.job_id,
        status=view.status,
        workflow_id=plain(view.workflow_id, limit=_LABEL_BYTES),
        submitted_at=format_time(view.submitted_at),
        progress=round(view.progress, 3),
        backend_id=view.backend_id,
        batch_id=view.batch_id,
        outputs=len(view.outputs),
        error=plain(view.error.message, limit=_LABEL_BYTES) if view.error else None,
        metadata=_label(view.metadata),
    )


def _label(metadata: dict[str, Any]) -> dict[str, Any]:
    """What the caller called the job, as far as that is short."""
    kept = {
        plain(name, limit=80): plain(value, limit=80) if isinstance(value, str) else value
        for name, value in metadata.items()
        if isinstance(value, str | int | float)
    }
    while _size(kept) > _LABEL_BYTES:
        kept.popitem()
    return kept
