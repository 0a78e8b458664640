"""What attempts say of the backend that they were made on: its circuit breaker, and what was left behind there."""

from __future__ import annotations

import logging
from typing import Any, Final

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.domain.events import BackendChanged
from orchestrator_mcp.domain.jobs import Outcome
from orchestrator_mcp.domain.retry import Ended
from orchestrator_mcp.scheduler.resources import Resources

log = logging.getLogger(__name__)

MOST_ABANDONED: Final = 1_000  # prompts remembered of one backend
_WELL: Final = frozenset({Outcome.SUCCEEDED, Outcome.ERRORED})
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
