"""What the tools answer about batches: the same shapes as for one job, with counts in place of stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator_mcp.domain.batch_views import BatchAcceptedView, BatchView
from orchestrator_mcp.domain.text import plain
from orchestrator_mcp.domain.views import JobView, OutputView
from orchestrator_mcp.doors.mcp.answers import (
    FINAL,
    Cancelled,
    Failure,
    JobAnswer,
    Submitted,
    lines,
    output_file,
    waiting_lines,
    why_it_waits,
)
from orchestrator_mcp.doors.mcp.text import fitting

_OUTPUT_BYTES: Final = 7_000  # told twice, as text and as structure
_REASON_BYTES: Final = 300


def submitted(view: BatchAcceptedView) -> Submitted:
    """Say that a batch is queued, and how to follow it."""
    return Submitted(
        job_id=view.batch_id,
        status=view.status,
        poll_after_ms=2000,
        warnings=lines(view.warnings),
        next_step=f"It is a batch of {view.count} jobs. Call job_status with job_id {view.batch_id} and "
        "wait_seconds 30 until its status is final; get_preview with it shows all pictures.",
    )


def batch_answer(
    view: BatchView,
    outputs: Sequence[OutputView],
    failures: Sequence[tuple[str, str]],
    *,
    waiting: Sequence[JobView] = (),
) -> JobAnswer:
    """Tell where a batch stands.

    Args:
        view: the batch.
        outputs: the first files of its jobs, once it has ended.
        failures: the first jobs that failed, with the reasons.
        waiting: one of its jobs, while all of them wait.
    """
    told = fitting([output_file(output) for output in outputs], limit=_OUTPUT_BYTES)
    final = view.status in FINAL
    return JobAnswer(
        job_id=view.batch_id,
        status=view.status,
        progress=view.progress,
        counts=view.counts,
        queue_position=waiting[0].queue_position if waiting else None,
        eta_seconds=view.eta_seconds,
        waiting_because=waiting_lines(waiting[0]) if waiting else [],
        outputs=told,
        error=_failure(view, failures),
        warnings=lines(view.warnings),
        attention=view.attention,
        poll_after_ms=None if final else 5000,
        next_step=_next_step(view, waiting, told=len(told)),
    )


def cancelled(view: BatchView) -> Cancelled:
    """Say how far the end of a batch has come."""
    running = view.counts["running"]
    step = f"{running} still run; call job_status to see them end." if running else "All of its jobs have ended."
    return Cancelled(job_id=view.batch_id, status=view.status, next_step=step)


def progress_message(view: BatchView) -> str:
    """One line for a progress notification."""
    ended = sum(view.counts[name] for name in FINAL)
    return f"{ended} of {view.count} jobs have ended"


def _failure(view: BatchView, failures: Sequence[tuple[str, str]]) -> Failure | None:
    if not failures:
        return None
    told = "; ".join(f"{job_id}: {plain(reason, limit=_REASON_BYTES)}" for job_id, reason in failures)
    return Failure(code="jobs_failed", message=f"{view.counts['failed']} of {view.count} jobs failed: {told}")


def _next_step(view: BatchView, waiting: Sequence[JobView], *, told: int) -> str:
    if view.status not in FINAL:
        why = f"{why_it_waits(waiting[0])} " if waiting and waiting[0].waiting_because else ""
        return f"{why}Call job_status again with wait_seconds 30."
    done = view.counts["completed"]
    parts = [
        f"{done} of {view.count} completed; get_preview with this id shows them side by side." if done else "",
        f"The first {told} files are listed; the others lie in Outbox." if 0 < told < done else "",
        "submit_job with rerun_of one of the failed jobs does it again." if view.counts["failed"] else "",
        "It was cancelled." if view.status == "cancelled" else "",
    ]
    return " ".join(part for part in parts if part)
