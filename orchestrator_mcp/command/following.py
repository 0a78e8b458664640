"""A job's stream, followed to its end: through pauses of the network and restarts of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import httpx

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.command.api import Api, job_path, unreachable
from orchestrator_mcp.domain.batch_views import BatchEvent
from orchestrator_mcp.domain.views import JobView, StreamEvent

E = TypeVar("E", StreamEvent, BatchEvent)
PATIENCE: Final = 60.0  # seconds without an answer after which the server counts as gone
_PAUSE: Final = 0.5  # seconds between two tries to connect


async def follow(
    api: Api, job_id: str, clock: Clock, tell: Callable[[StreamEvent], None], *, patience: float = PATIENCE
) -> JobView:
    """Tell every event of a job until its end.

    Args:
        api: whom to ask.
        job_id: the job.
        clock: the time.
        tell: called with each event.
        patience: seconds without an answer after which it gives up; the first connection is not waited for.

    Returns:
        The job as it is when it has ended.

    Raises:
        RefusedError: there is no such job.
        UnreachableError: the server is gone.
    """
    last = await follow_stream(api, f"{job_path(job_id)}/events", StreamEvent, clock, tell, patience=patience)
    assert last.job is not None  # the last event carries the whole job
    return last.job


async def follow_stream(
    api: Api, path: str, shape: type[E], clock: Clock, tell: Callable[[E], None], *, patience: float = PATIENCE
) -> E:
    """Tell every event of a stream until its end.

    Args:
        api: whom to ask.
        path: of the stream.
        shape: of its events.
        clock: the time.
        tell: called with each event.
        patience: see `follow`.

    Returns:
        The last event.

    Raises:
        RefusedError: there is nothing to follow.
        UnreachableError: the server is gone.
    """
    heard_at: float | None = None
    while True:
        try:
            async with api.stream(path) as lines:
                async for line in lines:
                    heard_at = clock.monotonic()
                    if not line.startswith("data:"):
                        continue
                    event = api.read(shape, line[5:].strip())
                    tell(event)
                    if event.type == "end":
                        return event
        except httpx.RequestError as error:
            if heard_at is None or clock.monotonic() - heard_at > patience:
                raise unreachable(api.server, error) from error
        # A stream that ends before its job: the server stops or starts. The next one begins with the whole state.
        await clock.sleep(_PAUSE)
