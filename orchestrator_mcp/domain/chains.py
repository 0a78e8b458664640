"""Jobs that wait for others: what is handed over when a parent is done, and what becomes of its children if it fails.

Pure: the store asks here while the parent's end is being written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_mcp.domain.assets import fits
from orchestrator_mcp.domain.jobs import Artifact, JobFailure, JobState

MOST_PARENTS: Final = 32  # jobs that one job may wait for
MOST_NAMES: Final = 20  # outputs told when the one that is wanted is missing
PARENT_FAILED: Final = "parent_failed"
PARENT_CANCELLED: Final = "parent_cancelled"
OUTPUT_MISSING: Final = "output_missing"

_EXTENSION: Final = re.compile(r"\.([A-Za-z0-9]{1,12})\Z")


@dataclass(frozen=True, kw_only=True)
class JobInput:
    """A file that a render begins with, by its content.

    Attributes:
        target: the input of the graph that names it, as `node.input`.
        sha256: of its bytes, in lower-case hex.
        extension: lower case, without a dot; may be empty.
    """

    target: str
    sha256: str
    extension: str


@dataclass(frozen=True, kw_only=True)
class Handover:
    """An output of a parent that its child begins with.

    Attributes:
        parameter: what the caller called it.
        targets: the inputs of the child's graph that name the file, as `node.input`.
        job_id: the parent.
        name: of the parent's output; None means the only or first one of the kind.
        kind: what the input takes: image, mask, video, audio; empty for anything.
    """

    parameter: str
    targets: list[str]
    job_id: str
    name: str | None = None
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a parent ended, as its children are told.

    Attributes:
        job_id: the parent.
        state: its final state.
        outputs: what it made.
        failure: why it failed, if it did.
    """

    job_id: str
    state: JobState
    outputs: Sequence[Artifact] = ()
    failure: JobFailure | None = None


def handed_over(handover: Handover, outputs: Sequence[Artifact]) -> list[JobInput] | None:
    """The inputs that a parent's output fills; None when the parent has no such output.

    Args:
        handover: what is wanted.
        outputs: what the parent made, in its order.
    """
    found = fitting(outputs, handover.name, handover.kind)
    if found is None:
        return None
    extension = extension_of(found.name)
    return [JobInput(target=target, sha256=found.sha256, extension=extension) for target in handover.targets]


def fitting(outputs: Sequence[Artifact], name: str | None, kind: str) -> Artifact | None:
    """The output of that name; without a name the first of the kind, or the only one there is.

    Args:
        outputs: of a job, in its order.
        name: the one that is wanted, or None.
        kind: see `Handover`.
    """
    if name is not None:
        return next((output for output in outputs if output.name == name), None)
    of_the_kind = [output for output in outputs if fits(output.kind, kind)] if kind else list(outputs)
    if of_the_kind:
        return of_the_kind[0]
    return outputs[0] if len(outputs) == 1 else None


def extension_of(name: str) -> str:
    """The extension of a file name in lower case and without its dot; empty when it has none that is plain."""
    found = _EXTENSION.search(name)
    return found[1].lower() if found is not None else ""


def missing_output(handover: Handover, outputs: Iterable[Artifact]) -> JobFailure:
    """Why a child cannot begin although its parent is done.

    Args:
        handover: what is wanted.
        outputs: what the parent made.
    """
    names = [output.name for output in outputs]
    wanted = f"no output {handover.name!r}" if handover.name is not None else f"no {handover.kind or 'single'} output"
    told = ", ".join(names[:MOST_NAMES]) or "it has none at all"
    return JobFailure(
        code=OUTPUT_MISSING,
        message=f"The job {handover.job_id} has {wanted} for the parameter {handover.parameter!r}; it has: {told}.",
        hint="Submit it again with the name of an output that is there.",
        details={"job_id": handover.job_id, "parameter": handover.parameter, "outputs": names[:MOST_NAMES]},
    )


def failure_of_child(parent: Ending) -> JobFailure:
    """Why a job fails whose parent gave it nothing; a grandchild is told of the job where it began.

    Args:
        parent: failed or cancelled.
    """
    before = parent.failure
    if before is not None and before.code in (PARENT_FAILED, PARENT_CANCELLED):
        first, reason, code = str(before.details.get("first", parent.job_id)), before.message, before.code
        reason = str(before.details.get("reason", reason))
    else:
        first = parent.job_id
        code = PARENT_CANCELLED if parent.state is JobState.CANCELLED else PARENT_FAILED
        reason = before.message if before is not None else "it was cancelled"
    how = "was cancelled" if code == PARENT_CANCELLED else "failed"
    begun = f"The job {first}, at the beginning of its chain, {how}"
    own = f"The job {parent.job_id}, which it waited for, {how}"
    said = own if first == parent.job_id else begun
    return JobFailure(
        code=code,
        message=said if code == PARENT_CANCELLED else f"{said}: {reason}",
        hint="Submit it again once that job has been done again.",
        details={"job_id": parent.job_id, "first": first, "reason": reason},
    )
