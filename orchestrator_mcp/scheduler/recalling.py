"""What earlier processes left behind on backends: remembered again, so that it is stopped when that can be."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.scheduler import health
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)

LOOK_BACK: Final = timedelta(days=1)  # a backend that was away for longer has hardly kept its queue
MOST_RECALLED: Final = 10_000  # attempts, the newest first


def marker_for(instance: str, job_id: str, attempt: int) -> dict[str, Any]:
    """What is written beside a prompt, by which it is known on servers that draw their own ids.

    Args:
        instance: the orchestrator.
        job_id: whose prompt it is.
        attempt: its number.
    """
    return {"instance": instance, "job_id": job_id, "attempt": attempt}


async def recall(store: JobStore, backends: Iterable[Backend], *, instance: str, clock: Clock) -> None:
    """Tell backends which of our prompts they may still hold although their attempts have ended.

    An attempt that was lost, given up or cancelled while its backend was out of reach may wait there to this day; it
    would be rendered beside the one that took its place.

    Args:
        store: where the attempts are.
        backends: which are told.
        instance: whose markers they bear.
        clock: the time.
    """
    told = {backend.id: backend for backend in backends}
    try:
        found = await store.left_behind(clock.now() - LOOK_BACK, limit=MOST_RECALLED)
    except StorageError as error:
        log.warning("cannot tell what was left behind on the backends: %s", error)
        return
    for left in found:
        backend = told.get(left.backend_id)
        if backend is not None:
            health.abandon(backend, left.prompt_id, marker_for(instance, left.job_id, left.number))
