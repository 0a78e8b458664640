"""What the end of an attempt means, in words: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from orchestrator_mcp.backends.history import HistoryEntry
from orchestrator_mcp.backends.rejections import Submission
from orchestrator_mcp.domain.chains import JobInput
from orchestrator_mcp.domain.jobs import JobFailure, Outcome
from orchestrator_mcp.domain.retry import OUT_OF_MEMORY, Ended
from orchestrator_mcp.errors import (
    AnswerTooLargeError,
    ArtifactError,
    BackendAmbiguousError,
    BackendError,
    PromptRejectedError,
)

MOST_ERROR_ANSWERS: Final = 3  # to the same graph, each without taking it; then it is the graph or the backend
MOST_DOUBTS: Final = 3  # sendings of a prompt of which none arrived; then another backend may try


def failure(code: str, message: str, *, hint: str | None = None, details: dict[str, Any] | None = None) -> JobFailure:
    """What a failed job says."""
    return JobFailure(code=code, message=message, hint=hint, details=details or {})


def lost(reason: str) -> Ended:
    """The end of an attempt whose backend went down with it."""
    return Ended(outcome=Outcome.LOST, reason=reason, died=True)


def unknown_outcome(reason: str) -> Ended:
    """The end of an attempt of which nobody can say whether it rendered."""
    return Ended(
        outcome=Outcome.UNKNOWN,
        reason=reason,
        failure=failure("outcome_unknown", reason, hint="Look at the backend's output folder, then submit it again."),
    )


def too_large(error: AnswerTooLargeError) -> Ended:
    """The end of an attempt whose outcome the backend tells at a length that is not read."""
    return Ended(
        outcome=Outcome.ERRORED,
        reason=error.message,
        failure=failure(error.code, f"How the render ended cannot be read: {error.message}", hint=error.hint),
    )


def stalled(backend_id: str, seconds: float, *, obeyed: bool = True) -> Ended:
    """The end of an attempt that made no progress.

    Args:
        backend_id: where.
        seconds: how long.
        obeyed: whether the backend stopped the render when it was told to.
    """
    reason = f"no progress on {backend_id} for {seconds:.0f} s"
    if not obeyed:
        reason += ", and it does not stop the render"
    return Ended(
        outcome=Outcome.TIMED_OUT,
        reason=reason,
        failure=failure("stalled", f"There was {reason}.", hint="Raise scheduling.stall_timeout if it is only slow."),
    )


def rejected(error: PromptRejectedError) -> Ended:
    """The end of an attempt whose graph the backend refused, with ComfyUI's own words."""
    hint = "Mend the workflow or its parameters, or install what is missing on a backend."
    return Ended(
        outcome=Outcome.REJECTED,
        reason=error.message,
        failure=failure("prompt_rejected", error.message, hint=hint, details=error.details),
        elsewhere=bool(error.missing),
    )


def input_refused(backend_id: str, error: BackendError) -> Ended:
    """The end of an attempt whose backend will never take a file that the render begins with."""
    hint = f"If the file is large, start {backend_id} with a higher --max-upload-size."
    return Ended(
        outcome=Outcome.REJECTED,
        reason=error.message,
        failure=failure("input_refused", f"An input file is not taken: {error.message}", hint=hint),
        elsewhere=True,
    )


def input_gone(one: JobInput, reason: str) -> Ended:
    """The end of an attempt for which a file that the render begins with cannot be read here."""
    message = f"The input file {one.sha256} for {one.target} cannot be read: {reason}"
    return Ended(
        outcome=Outcome.ERRORED,
        reason=message,
        failure=failure("input_missing", message, hint="Upload it again, and submit the job again."),
    )


def sent_in_vain(backend_id: str, answers: Sequence[BackendAmbiguousError], doubts: int) -> Ended | None:
    """Whether a prompt that has proven not to have arrived is given up. None: it is sent once more.

    Args:
        backend_id: where it was sent.
        answers: in which the backend said only that it failed inside.
        doubts: how often it was sent in all.
    """
    if len(answers) >= MOST_ERROR_ANSWERS:
        return _never_taken(backend_id, answers[-1])
    if doubts >= MOST_DOUBTS:
        return Ended(outcome=Outcome.REFUSED, reason=f"{backend_id} did not take the prompt, {doubts} times")
    return None


def _never_taken(backend_id: str, error: BackendAmbiguousError) -> Ended:
    return Ended(
        outcome=Outcome.ERRORED,
        reason=error.message,
        failure=failure(
            "prompt_not_taken",
            f"{error.message} It never took the job.",
            hint=f"Look at the log of {backend_id}: ComfyUI, or a node pack, fails while it checks this graph.",
        ),
        elsewhere=True,
    )


def left_out(backend_id: str, count: int) -> str:
    """The warning of a job some of whose outputs nobody can fetch."""
    return f"{backend_id} named {count} outputs in a way that cannot be a file name; they are left out"


def partly_rejected(backend_id: str, submission: Submission) -> Ended:
    """The end of an attempt of which the backend would have rendered only a part."""
    reason = f"{backend_id} would render only a part: some outputs are not valid"
    return Ended(
        outcome=Outcome.REJECTED,
        reason=reason,
        failure=failure(
            "prompt_rejected",
            f"{reason}.",
            hint="Mend the nodes named in the details, or set scheduling.allow_partial.",
            details={"node_errors": submission.node_errors},
        ),
    )


def judged(entry: HistoryEntry, backend_id: str, *, cancelled: bool) -> Ended | None:
    """How a prompt in history ended; None when it succeeded.

    Args:
        entry: its history.
        backend_id: where.
        cancelled: whether we asked for its end.
    """
    if entry.verdict == "succeeded":
        return None
    if entry.verdict == "interrupted":
        if cancelled:
            return Ended(outcome=Outcome.CANCELLED, reason="cancelled on request")
        reason = f"somebody interrupted the render on {backend_id}"
        hint = "Submit the job again if nobody meant to stop it."
        return Ended(outcome=Outcome.ERRORED, reason=reason, failure=failure("interrupted", reason, hint=hint))
    if entry.verdict == "errored" and entry.failure is not None:
        return _node_raised(entry, backend_id)
    return unknown_outcome(f"{backend_id} does not say how the render ended")


def _node_raised(entry: HistoryEntry, backend_id: str) -> Ended:
    assert entry.failure is not None  # checked by the caller
    node = entry.failure
    where = f"node {node.node_id} ({node.node_type})"
    message = f"{where} raised {node.exception_type} on {backend_id}: {node.message}".strip()
    out_of_memory = node.exception_type in OUT_OF_MEMORY
    hint = "Use a smaller size or batch, or a backend with more memory." if out_of_memory else None
    details = {
        "node_id": node.node_id,
        "node_type": node.node_type,
        "exception_type": node.exception_type,
        "traceback": node.traceback,
    }
    return Ended(
        outcome=Outcome.ERRORED,
        reason=message,
        failure=failure("out_of_memory" if out_of_memory else "node_error", message, hint=hint, details=details),
        elsewhere=out_of_memory,
    )


def bad_output(error: ArtifactError) -> Ended:
    """The end of an attempt whose files cannot be had."""
    message = f"The render succeeded, and an output cannot be fetched: {error.message}"
    return Ended(outcome=Outcome.ERRORED, reason=message, failure=failure("output_invalid", message, hint=error.hint))
