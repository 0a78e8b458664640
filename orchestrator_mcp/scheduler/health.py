"""What attempts say of the backend that they were made on: its circuit breaker, and what was left behind there."""

from __future__ import annotations

import logging
from typing import Any, Final

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.clock import format_time
from orchestrator_mcp.domain.blocklist import End
from orchestrator_mcp.domain.events import BackendChanged
from orchestrator_mcp.domain.jobs import Outcome
from orchestrator_mcp.domain.retry import Ended
from orchestrator_mcp.domain.text import told
from orchestrator_mcp.scheduler.resources import Resources
from orchestrator_mcp.store import OpenAttempt

log = logging.getLogger(__name__)

MOST_ABANDONED: Final = 1_000  # prompts remembered of one backend
_WELL: Final = frozenset({Outcome.SUCCEEDED, Outcome.ERRORED})
_ENDS: Final = {"node_error": End.NODE_ERROR, "out_of_memory": End.OUT_OF_MEMORY}
_SICK: Final = frozenset({Outcome.REFUSED, Outcome.TIMED_OUT})


def learn(resources: Resources, backend: Backend, ended: Ended) -> None:
    """Take the end of an attempt into account.

    Args:
        resources: see `Resources`.
        backend: where it was made.
        ended: how it ended.
    """
    if ended.outcome in _WELL:
        if backend.breaker.succeeded():
            log.info("the backend is well again")
            resources.events.publish(BackendChanged(backend_id=backend.id))
    elif ended.outcome in _SICK or (ended.outcome is Outcome.LOST and ended.died):
        fail(resources, backend, ended.reason)


def learn_of_kind(resources: Resources, backend: Backend, held: OpenAttempt, ended: Ended) -> None:
    """Take into account what the end of an attempt says of this kind of work on this backend.

    Args:
        resources: see `Resources`.
        backend: where it was made.
        held: the attempt.
        ended: how it ended.
    """
    code = ended.failure.code if ended.failure is not None else ""
    if code == "out_of_memory":
        resources.pool.foresight.emptied(backend)
    end = End.WELL if ended.outcome is Outcome.SUCCEEDED else _ENDS.get(code)
    if end is None:
        return
    scheduling = resources.scheduling
    block = resources.pool.blocklist.ended(
        backend.id,
        held.lane,
        end,
        resources.clock.now(),
        workflow_id=held.workflow_id,
        reason=told(ended.reason),
        after=scheduling.block_after,
        lasting=scheduling.block_for,
    )
    if block is not None:
        log.warning("%s avoids %s until %s: %s", held.workflow_id, backend.id, format_time(block.until), block.reason)
        resources.events.publish(BackendChanged(backend_id=backend.id))


def fail(resources: Resources, backend: Backend, reason: str) -> None:
    """Something went wrong that says more of the backend than of the job."""
    scheduling, now = resources.scheduling, resources.clock.monotonic()
    if backend.breaker.failed(reason, now, most=scheduling.suspect_after, pause=scheduling.suspect_pause):
        _tell(resources, backend)


def suspect(resources: Resources, backend: Backend, reason: str) -> None:
    """One sight was enough: it gets no new jobs."""
    now, pause = resources.clock.monotonic(), resources.scheduling.suspect_pause
    if backend.breaker.trip(reason, now, pause=pause):
        _tell(resources, backend)


def abandon(backend: Backend, prompt_id: str, marker: dict[str, Any]) -> None:
    """Nobody waits for this prompt any more, and the backend may still hold it: it is stopped when that can be."""
    if len(backend.abandoned) < MOST_ABANDONED:
        backend.abandoned[prompt_id] = marker


def _tell(resources: Resources, backend: Backend) -> None:
    log.warning("the backend is suspect and gets no new jobs: %s", backend.breaker.reason)
    resources.events.publish(BackendChanged(backend_id=backend.id))
