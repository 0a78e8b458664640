"""What a job is, apart from any wire and any table."""

from __future__ import annotations

import hashlib
import secrets
import string
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, Final

from orchestrator_mcp.domain.reports import RenderReport

if TYPE_CHECKING:
    from orchestrator_mcp.domain.chains import JobInput

Graph = dict[str, dict[str, Any]]
"""A ComfyUI workflow in API format: node id -> {class_type, inputs, _meta}."""

ATTEMPT_NAMESPACE: Final = uuid.UUID("6f0c5c1e-9d0b-5c9d-8a54-2f4a0e6f3b11")
"""Namespace of the prompt ids that this product hands to ComfyUI."""
_NAMESPACE: Final = ATTEMPT_NAMESPACE.bytes
_SHORTEST_PART: Final = 6  # digits by which a job can be recognised
_SLIP: Final = 2  # digits beside each other that may be wrong
_LONGEST: Final = 200


class JobState(StrEnum):
    """Where a job stands; nothing leaves the last three. `transitions` says what may follow what."""

    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing can follow it."""
        return self in FINAL_STATES

    @property
    def status(self) -> str:
        """The wire's word: a job that waits for a retry shows as queued."""
        return "queued" if self is JobState.WAITING else self.value


FINAL_STATES: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


class Stage(StrEnum):
    """What a running job is doing; also the names of the crash points."""

    DISPATCHING = "dispatching"
    WAITING = "waiting"
    RENDERING = "rendering"
    COLLECTING = "collecting"
    PUBLISHING = "publishing"


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    ERRORED = "errored"  # a node raised
    REJECTED = "rejected"  # the backend refused the graph
    REFUSED = "refused"  # the backend was not there; nothing was sent
    LOST = "lost"  # the backend restarted or vanished with it
    TIMED_OUT = "timed_out"  # no progress for too long
    REVOKED = "revoked"  # a standby taken back for an idle backend
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # it may have rendered; nobody can say


class Door(StrEnum):
    """The way in by which a job came."""

    HTTP = "http"
    MCP = "mcp"
    INBOX = "inbox"


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Why a job failed or what it waits for, in words for people and a code for programs."""

    code: str
    message: str
    hint: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An output that was fetched, verified and hashed; its bytes lie in the artifact store under `sha256`."""

    name: str
    node: str
    kind: str  # image, video, audio, text, model, file
    media_type: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of a job on one backend."""

    number: int
    backend_id: str
    prompt_id: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    report: RenderReport | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A manifest that was accepted and stored, with all that has become of it."""

    job_id: str
    state: JobState
    workflow_id: str
    parameters: dict[str, Any]
    metadata: dict[str, Any]
    seeds: dict[str, int]
    priority: int
    door: Door
    owner: str
    submitted_at: datetime
    stage: Stage | None = None
    backend_affinity: str | None = None
    required_capabilities: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    not_before: datetime | None = None
    cancel_requested_at: datetime | None = None
    backend_id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    failure: JobFailure | None = None
    warnings: tuple[str, ...] = ()
    attention: bool = False
    sandbox: bool = False
    stem: str = ""
    delivery_path: str | None = None
    rerun_of: str | None = None
    deadline: datetime | None = None
    batch_id: str | None = None
    batch_index: int | None = None
    parents: tuple[str, ...] = ()
    inputs: tuple[JobInput, ...] = ()

    @property
    def job8(self) -> str:
        """The last eight hex digits of the job id, as folder names carry them."""
        return job8(self.job_id)


def job8(job_id: str) -> str:
    """The last eight hex digits of a job id (the first ones of a uuid7 are a clock)."""
    return job_id[-8:]


def like_job_ids(asked: str, known: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """The ids that somebody may have meant who gave one that does not exist.

    Near is the same id spelled otherwise, its beginning or its end (also as a folder in Outbox carries it), and one
    slip of the hand. That ids share their beginning says little: it is a clock.

    Args:
        asked: what was given.
        known: the ids that exist, the likeliest first.
        most: how many to give.
    """
    digits = _digits_of(asked[-_LONGEST:].rpartition("__")[2])
    return tuple(islice((one for one in known if _is_like(digits, _digits_of(one))), most))


def _digits_of(job_id: str) -> str:
    return "".join(character for character in job_id.casefold() if character in string.hexdigits)


def _is_like(asked: str, known: str) -> bool:
    if len(asked) < _SHORTEST_PART:
        return False
    if known.startswith(asked) or known.endswith(asked):
        return True
    same = len(commonprefix([asked, known])) + len(commonprefix([asked[::-1], known[::-1]]))
    return same >= max(len(asked), len(known)) - _SLIP


def new_job_id(now: datetime) -> str:
    """A uuid7: sortable by time, its 74 random bits from `secrets` because a job id is also a handle.

    Args:
        now: the moment of acceptance.
    """
    return new_job_ids(now, 1)[0]


def new_job_ids(now: datetime, count: int) -> list[str]:
    """Many of them for one moment, in their order, so that they lie together in an index.

    Args:
        now: the moment of acceptance.
        count: how many.
    """
    millis = f"{int(now.timestamp() * 1000) & ((1 << 48) - 1):012x}"
    head, random = f"{millis[:8]}-{millis[8:]}-7", secrets.token_bytes(_RANDOM_BYTES * count).hex()
    each = (random[at : at + 2 * _RANDOM_BYTES] for at in range(0, len(random), 2 * _RANDOM_BYTES))
    return sorted(f"{head}{bits[:3]}-{_VARIANT[bits[3]]}{bits[4:7]}-{bits[7:19]}" for bits in each)


_RANDOM_BYTES: Final = 10
_VARIANT: Final = {digit: "89ab"[number % 4] for number, digit in enumerate("0123456789abcdef")}
"""RFC 9562, section 4.1: the two bits that say what kind of id it is, before two random ones."""


BATCH_PREFIX: Final = "batch-"


def new_batch_id(now: datetime) -> str:
    """The id of a batch: a uuid7 with a word before it, so that nobody takes it for a job's.

    Args:
        now: the moment of acceptance.
    """
    return f"{BATCH_PREFIX}{new_job_id(now)}"


def is_batch_id(text: str) -> bool:
    """Whether an id names a batch, going by how it begins."""
    return text.startswith(BATCH_PREFIX)


def attempt_name(job_id: str, number: int) -> str:
    """An attempt, in one word."""
    return f"{job_id}/{number}"


def prompt_id_for(job_id: str, attempt: int) -> str:
    """The prompt id of an attempt, so that it can be recognised even if its row was lost.

    A canonical lower-case UUID: ComfyUI 0.25 and newer refuse anything else.

    Args:
        job_id: the job.
        attempt: its attempt number, from 1.
    """
    digest = hashlib.sha1(_NAMESPACE + f"{job_id}/{attempt}".encode(), usedforsecurity=False).digest()
    # What `uuid.uuid5` gives, in a third of the time: each dispatch needs one inside its transaction.
    number = digest[:6] + bytes([digest[6] & 0x0F | 0x50, digest[7], digest[8] & 0x3F | 0x80]) + digest[9:16]
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
