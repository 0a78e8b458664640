"""Every error that this product raises on purpose, and what a door needs to answer with it.

```
OrchestratorError
├── CallerError                 the caller can mend it
│   ├── ManifestError           a manifest is wrong; carries one Problem per wrong field
│   │   └── NoBackendCanError   every backend was asked, and none can run it
│   ├── NotFoundError           no job, workflow, backend or output of that name
│   ├── ConflictError           the state of things forbids it
│   │   ├── IdempotencyConflict the same key came with another body
│   │   ├── JobFinishedError    the job has ended and cannot be cancelled
│   │   ├── NothingFailedError  a batch has nothing that could be done again
│   │   └── NoPreviewError      there is nothing to look at, or it cannot be shown
│   ├── ForbiddenError          the caller may not do it
│   └── TooLargeError           a size, depth or count is over its limit
├── UnavailableError            the orchestrator cannot do it now; try again later
│   ├── TooManyError            more often, or more at once, than the limits allow
│   │   └── QueueFullError      as many jobs wait as may
│   │       └── ShareFullError  of this source; others may go on
│   └── StorageError            it cannot store (disk full, read-only, damaged)
├── SettingsError               the configuration is wrong
├── StartError                  a port, folder or database is not to be had
│   └── DataDirInUseError       another orchestrator has the data dir
├── LeaseLostError              somebody else owns the attempt now; stop without a word
├── BackendError                a ComfyUI server did not do what was asked
│   ├── BackendRefusedError     nothing was sent: connection refused, name unknown
│   ├── PromptRejectedError     it looked at the graph and said no (400)
│   └── BackendAmbiguousError   it may have acted, or may not
│       └── AnswerTooLargeError its answer is over the limit, and so unread
└── ArtifactError               an output file is missing, torn or not what it says
```

`code` is stable and machine-readable, the message says what happened and where, `hint` says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Final, Literal

_MOST_LOOKED_AT: Final = 2_000  # names that something unknown is compared with
_MOST_TOLD: Final = 5  # names that are told where none is near


class OrchestratorError(Exception):
    """The root of the tree.

    Args:
        message: what happened and where, one sentence.
        hint: what to do about it, or None.
        details: plain JSON values for programs.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class CallerError(OrchestratorError):
    """What was asked for is wrong, and the caller can mend it."""

    code = "bad_request"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One wrong field of a manifest.

    Attributes:
        path: where it stands, for example `("parameters", "steps")`.
        message: what is wrong with it.
        code: a stable word for the kind of problem.
        allowed: what would be right, if that can be listed.
    """

    path: tuple[str | int, ...]
    message: str
    code: str = "invalid"
    allowed: tuple[Any, ...] = ()


class ManifestError(CallerError):
    """A manifest cannot be accepted; nothing of it was queued."""

    code = "invalid_manifest"

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        spelled = "; ".join(
            f"{'.'.join(map(str, problem.path))}: {problem.message}" if problem.path else problem.message
            for problem in self.problems
        )
        super().__init__(spelled, hint=hint)

    @classmethod
    def at(
        cls,
        *path: str | int,
        message: str,
        code: str = "invalid",
        allowed: Iterable[Any] = (),
        hint: str | None = None,
    ) -> ManifestError:
        """Make the error for one wrong field."""
        return cls([Problem(path=path, message=message, code=code, allowed=tuple(allowed))], hint=hint)


class NoBackendCanError(ManifestError):
    """Every backend that may run it is there, was asked just now, and cannot.

    Args:
        reasons: backend id -> why it cannot, as a clause that goes with "it".
        places: what each of them has against the value of a parameter, where the caller gave it.
    """

    code = "no_backend_can"
    most_told: ClassVar[int] = 50

    def __init__(self, reasons: Mapping[str, str], places: Sequence[Problem] = ()) -> None:
        told = dict(list(reasons.items())[: self.most_told])
        backends: dict[str, list[str]] = {}
        for backend_id, reason in told.items():
            backends.setdefault(reason, []).append(backend_id)
        super().__init__(
            [
                *places,
                *(
                    Problem(path=("workflow",), message=f"{', '.join(ids)} cannot run it: {reason}", code=self.code)
                    for reason, ids in backends.items()
                ),
            ],
            hint="Nothing was queued. Name what a backend has, or install what is missing and submit it again.",
        )
        self.details = {"backends": told}


class NotFoundError(CallerError, LookupError):
    """There is no such job, workflow, backend or output.

    Args:
        kind: `job`, `workflow`, `backend` or `output`.
        name: what was asked for.
        known: the names that exist; the nearest are told, and where none is near, the first few.
        near: the names that may have been meant, where somebody else has found them.
        otherwise: what to do where no name can be told.
    """

    code = "not_found"

    def __init__(
        self, kind: str, name: str, *, known: Iterable[str] = (), near: Sequence[str] = (), otherwise: str | None = None
    ) -> None:
        self.kind = kind
        self.name = name
        names = list(islice(known, _MOST_LOOKED_AT))
        self.near = tuple(near) or nearest(name, names)
        super().__init__(
            f"There is no {kind} {name[:200]!r}.",
            hint=f"Did you mean {' or '.join(self.near)}?" if self.near else _the_first_of(names) or otherwise,
            details={"kind": kind, "name": name[:200], "near": list(self.near)},
        )


class ConflictError(CallerError):
    """The state of things forbids what was asked for."""

    code = "conflict"


class IdempotencyConflict(ConflictError):
    """The idempotency key was used before with another body."""

    code = "idempotency_conflict"

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(
            f"The idempotency key {key[:200]!r} was used before with another manifest (job {job_id}).",
            hint="Send the same manifest again to get the same job, or take a new key for a new job.",
            details={"job_id": job_id},
        )


class JobFinishedError(ConflictError):
    """The job has ended."""

    code = "job_finished"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"The job {job_id} has already {status} and cannot be cancelled.",
            details={"job_id": job_id, "status": status},
        )


class NothingFailedError(ConflictError):
    """None of the jobs of a batch can be done again.

    Args:
        batch_id: the batch.
        reasons: why those that failed cannot; empty when none failed.
    """

    code = "nothing_failed"

    def __init__(self, batch_id: str, reasons: Sequence[str] = ()) -> None:
        told = f"can be done again: {reasons[0]}" if reasons else "has failed or was cancelled"
        super().__init__(
            f"None of the jobs of {batch_id} {told}.".replace("..", "."),
            details={"batch_id": batch_id, "left_out": len(reasons)},
        )


class NoPreviewError(ConflictError):
    """There is no picture to show: not yet, not any more, or not of this file; the message says which."""

    code = "no_preview"


class ForbiddenError(CallerError):
    """The caller may not do this."""

    code = "forbidden"


class TooLargeError(CallerError):
    """A size, depth or count is over its limit."""

    code = "too_large"


class UnavailableError(OrchestratorError):
    """The orchestrator cannot do this now.

    Args:
        retry_after: seconds after which another try makes sense.
    """

    code = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float = 5.0,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.retry_after = retry_after


class TooManyError(UnavailableError):
    """This caller asks more often, or for more at once, than the limits allow."""

    code = "too_many"


class QueueFullError(TooManyError):
    """As many jobs wait as `limits.queued_jobs` allows."""

    code = "queue_full"


class ShareFullError(QueueFullError):
    """As many jobs of one source wait as `scheduling.max_queued` allows; those of others are taken."""


class StorageError(UnavailableError):
    """The store or the artifact folder cannot be written."""

    code = "storage_unavailable"


class SettingsError(OrchestratorError):
    """The configuration is wrong; the message names file, line, key, what was found and what is allowed."""

    code = "invalid_settings"


class StartError(OrchestratorError):
    """Something that the start needs is not to be had: a port, a folder, the data dir, the database."""

    code = "cannot_start"


class DataDirInUseError(StartError):
    """Another orchestrator has the data dir: starting again will not help for as long as it runs."""

    code = "data_dir_in_use"


class LeaseLostError(OrchestratorError):
    """The attempt belongs to somebody else now, or its job has ended: stop without a word to the store."""

    code = "lease_lost"


class BackendError(OrchestratorError):
    """A ComfyUI server did not do what was asked."""

    code = "backend_error"

    def __init__(
        self,
        message: str,
        *,
        backend_id: str,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.backend_id = backend_id


class BackendRefusedError(BackendError):
    """No byte of the request reached the server: it is not listening, or its name is unknown."""

    code = "backend_refused"


@dataclass(frozen=True, kw_only=True)
class MissingThing:
    """Something a graph names and a backend does not have; another backend may.

    Attributes:
        kind: a node class, a model file, an input file, or a choice that only some installations offer.
        name: what it is called.
        node_id: the node that names it.
    """

    kind: Literal["node", "model", "file", "option"]
    name: str
    node_id: str


class PromptRejectedError(BackendError):
    """The server looked at the graph and refused it; `details` carries ComfyUI's own words.

    Args:
        message: what was refused and where.
        backend_id: who refused.
        missing: what it does not have; empty if the graph itself is wrong.
        hint: what to do about it, or None.
        details: `type`, `message`, `details` and `node_errors`.
    """

    code = "prompt_rejected"

    def __init__(
        self,
        message: str,
        *,
        backend_id: str,
        missing: Sequence[MissingThing] = (),
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, backend_id=backend_id, hint=hint, details=details)
        self.missing = tuple(missing)


class BackendAmbiguousError(BackendError):
    """The server may have acted on the request, or may not: time-out, reset, 5xx, garbage."""

    code = "backend_ambiguous"


class AnswerTooLargeError(BackendAmbiguousError):
    """A backend answers with more than `limits.backend_json_bytes`; asking again would not help."""

    code = "answer_too_large"


class ArtifactError(OrchestratorError):
    """An output file is missing, torn, too large, or not what it claims to be."""

    code = "artifact_invalid"


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """Names like the one that was asked for, best first, whatever their case.

    Args:
        name: what was asked for; only its first 200 characters are looked at.
        known: the names that exist; at most 2,000 are looked at.
        most: how many to give.
    """
    by_folded = {candidate.casefold(): candidate for candidate in islice(known, _MOST_LOOKED_AT)}
    found = difflib.get_close_matches(name[:200].casefold(), by_folded, n=most, cutoff=0.6)
    return tuple(by_folded[folded] for folded in found)


def _the_first_of(names: Sequence[str]) -> str | None:
    shown = ", ".join(sorted(names)[:_MOST_TOLD])
    more = len(names) - _MOST_TOLD
    return f"What there is: {shown}{f' and {more} more' if more > 0 else ''}." if shown else None
