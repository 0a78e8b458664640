"""The one owner of doubt: what became of a prompt that a backend may have taken, or may have lost.

The order of looking is queue, then history: prompts only move that way, each move is atomic, and two requests in the
other order could miss one. An ambiguous prompt never changes its backend until that is proven to have restarted.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final

from orchestrator_mcp.backends.history import HistoryEntry
from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.backends.queues import QueueSnapshot
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.jobs import Outcome, Stage
from orchestrator_mcp.domain.retry import Ended
from orchestrator_mcp.errors import AnswerTooLargeError, BackendError
from orchestrator_mcp.scheduler.verdicts import lost, too_large, unknown_outcome
from orchestrator_mcp.settings import SchedulingSettings
from orchestrator_mcp.store import OpenAttempt

log = logging.getLogger(__name__)

CLEAN_LOOKS: Final = 2  # looks that must agree before a prompt counts as absent
LOOK_PAUSE: Final = 0.5  # seconds between two looks


class NeverArrived(Enum):
    """The verdict that a prompt may be sent again, to the same backend and under the same id."""

    RESEND = "resend"


class Place(Enum):
    """Where a look found a prompt."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    ABSENT = "absent"
    UNSEEN = "unseen"  # the backend did not answer for too long


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What a look found.

    Attributes:
        place: where.
        prompt_id: the id under which it lies there; an old server draws its own.
        entry: its history, when it has ended.
        nothing_runs: whether the backend works on no prompt at all.
    """

    place: Place
    prompt_id: str
    entry: HistoryEntry | None = None
    nothing_runs: bool = False


async def look(backend: Backend, prompt_id: str, marker: dict[str, object] | None = None) -> Sighting:
    """Look for a prompt in a backend's queue, then in its history.

    Args:
        backend: where it was sent.
        prompt_id: our id of it.
        marker: what we wrote beside it, for servers that ignore our id.

    Raises:
        BackendError: the backend does not answer.
    """
    queue = await backend.client.queue()
    for place, prompts in ((Place.RUNNING, queue.running), (Place.PENDING, queue.pending)):
        for prompt in prompts:
            if prompt.prompt_id == prompt_id or (marker is not None and prompt.marker == marker):
                await _delete_twins(backend, queue, prompt.prompt_id)
                return Sighting(place=place, prompt_id=prompt.prompt_id, nothing_runs=not queue.running)
    entry = await backend.client.history(prompt_id)
    if entry is None and marker is not None:
        entry = await backend.client.history_of_marked(marker)
    if entry is not None:
        return Sighting(place=Place.ENDED, prompt_id=entry.prompt_id, entry=entry)
    return Sighting(place=Place.ABSENT, prompt_id=prompt_id)


async def lived_on(backend: Backend, canary: str | None) -> bool:
    """Whether a backend still knows a prompt that ended there earlier: then it has not restarted since.

    Args:
        backend: of which it is asked.
        canary: its `canary` at the moment since when.

    Raises:
        BackendError: the backend does not answer.
    """
    return canary is not None and await backend.client.history(canary) is not None


async def _delete_twins(backend: Backend, queue: QueueSnapshot, prompt_id: str) -> None:
    """ComfyUI does not deduplicate: a prompt that was sent twice would run twice."""
    times = Counter(prompt.prompt_id for prompt in (*queue.running, *queue.pending))[prompt_id]
    for _ in range(times - 1):
        log.warning("deleting a second entry of our prompt %s", prompt_id)
        await backend.client.delete_queued(prompt_id)


def _absent(
    backend: Backend, held: OpenAttempt, looks: int, *, died: bool, lived: bool, canary: str | None
) -> Ended | NeverArrived | None:
    """What it means that a prompt is neither in the queue nor in the history; None while that is not sure.

    Args:
        backend: where it is not.
        held: the attempt.
        looks: how many of them agreed.
        died: whether nobody listened on the backend at some time since it was sent.
        lived: whether it is known not to have restarted.
        canary: what that was looked up with, if there is anything.
    """
    if looks < CLEAN_LOOKS:
        return None
    if held.accepted and lived and held.stage is Stage.WAITING:
        # Its history stands and does not name it, so it never ran: a standby that was being taken back when the
        # process before this one died, or that somebody deleted.
        return Ended(outcome=Outcome.REVOKED, reason=f"it was taken out of the queue of {backend.id} before it began")
    if held.accepted and lived:
        return unknown_outcome(f"{backend.id} had the prompt and no longer knows it, and it did not restart")
    if (held.accepted or died) and not lived:
        return lost(f"{backend.id} restarted and no longer knows the prompt")
    if canary is not None and not lived:
        return lost(f"{backend.id} restarted, or lost its history, and does not know the prompt")
    return NeverArrived.RESEND


async def look_for_unsent(backend: Backend, held: OpenAttempt, marker: dict[str, object]) -> Sighting | Ended:
    """Look for a prompt that was never sent, to be sure: a database that was put back knows less than its backends.

    One look is enough, since nothing is under way.

    Args:
        backend: where it was to be sent.
        held: the attempt.
        marker: what we would have written beside it.

    Returns:
        Where it is nevertheless; or that the attempt is taken back.
    """
    unsent = Ended(outcome=Outcome.REVOKED, reason="the orchestrator ended before it was sent")
    try:
        sighting = await look(backend, held.prompt_id, marker)
    except AnswerTooLargeError as error:
        return too_large(error)
    except BackendError:
        backend.distrust()
        return unsent
    return unsent if sighting.place is Place.ABSENT else sighting


async def settle_doubt(
    backend: Backend,
    held: OpenAttempt,
    *,
    marker: dict[str, object],
    falls: int,
    deaths: int,
    canary: str | None,
    sent_at: float | None,
    clock: Clock,
    scheduling: SchedulingSettings,
) -> Sighting | Ended | NeverArrived:
    """Find out what became of a prompt.

    Args:
        backend: where it was, or may have been, sent.
        held: the attempt; `accepted` says whether the backend is known to have taken it.
        marker: what we wrote beside it.
        falls: `backend.falls` when it was sent.
        deaths: `backend.deaths` when it was sent.
        canary: `backend.canary` when it was sent, or when it was adopted.
        sent_at: monotonic seconds when that began; None if an earlier process may have done it at any time.
        clock: the time.
        scheduling: quarantine and patience.

    Returns:
        Where it is; or that it is lost; or that it never arrived, and the same prompt may be sent to the same
        backend again.
    """
    arrived_by = clock.monotonic() if sent_at is None else sent_at
    arrived_by += scheduling.post_timeout + scheduling.quarantine
    unreachable_since: float | None = None
    absent = 0
    while True:
        try:
            sighting = await look(backend, held.prompt_id, marker)
            lived = sighting.place is Place.ABSENT and await lived_on(backend, canary)
        except AnswerTooLargeError as error:
            return too_large(error)
        except BackendError as error:
            backend.distrust()
            absent = 0
            unreachable_since = clock.monotonic() if unreachable_since is None else unreachable_since
            if clock.monotonic() - unreachable_since > scheduling.lost_after:
                return lost(f"{backend.id} could not be reached for {scheduling.lost_after:g} s: {error.message}")
        else:
            unreachable_since = None
            if sighting.place is not Place.ABSENT:
                return sighting
            absent += 1
            died, fell = backend.deaths != deaths, backend.falls != falls
            verdict = _absent(backend, held, absent, died=died, lived=lived, canary=canary)
            # A WebSocket that broke may have met a network that failed: then the prompt may still be under way.
            restarted = not lived and (died or (fell and canary is not None))
            proven = held.accepted or restarted
            left = arrived_by - clock.monotonic()
            if verdict is not None and (proven or left < 0):
                return verdict
            if absent == CLEAN_LOOKS and left > 0:
                log.warning("the backend does not know the prompt; it may be on its way for %.0f s more", left)
        await clock.sleep(LOOK_PAUSE)
