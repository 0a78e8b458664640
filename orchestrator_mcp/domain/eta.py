"""When a queued job will be done, as far as that can be known: what goes before it flows over who can run it.

An estimate for people, not a promise: what arrives later with more priority, and failures, are not foreseen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.situation import Candidate, Lane

Able = Callable[[Lane, Candidate], bool]


def queued(
    lane: Lane, position: int, lanes: Iterable[Lane], candidates: Sequence[Candidate], able: Able
) -> Estimate | None:
    """Seconds until a queued job is done.

    Args:
        lane: where it waits, with what is known of it.
        position: how many jobs of the lane go before it; 0 at the head.
        lanes: all lanes with work, this one among them.
        candidates: every backend, with what is known of it.
        able: whether a backend can run a lane.

    Returns:
        None while it cannot be known: nobody who is available can run it, or durations are not known yet.
    """
    workers = [candidate for candidate in candidates if candidate.unavailable is None and able(lane, candidate)]
    own = [seconds for worker in workers if (seconds := worker.render_seconds(lane)) is not None]
    before = _work_before(lane, position, lanes, lambda other: any(able(other, worker) for worker in workers))
    if not own or before is None or any(worker.running and worker.remaining is None for worker in workers):
        return None
    speed = sum(1 / worker.pace for worker in workers)
    held = sum((worker.remaining or 0.0) / worker.pace for worker in workers if worker.running)
    first = min((worker.remaining or 0.0) if worker.running else 0.0 for worker in workers)
    wait = max(first, (before + held) / speed) if before + held > 0 else 0.0
    render = len(own) / sum(1 / seconds for seconds in own)
    loads = [worker.load_seconds(lane) for worker in workers]
    load = min(loads) if position == 0 else 0.0
    spread = (max(own) - min(own)) / 2 + render / 10
    return Estimate(mean=wait + load + render, deviation=math.hypot(wait / 4, spread), count=1)


def _work_before(lane: Lane, position: int, lanes: Iterable[Lane], shared: Callable[[Lane], bool]) -> float | None:
    """Seconds of work on a backend of pace 1 that go before a job; None if that is not known.

    Lanes of more priority go before it whole; of the same priority, sources and then lanes take turns.
    """
    if lane.seconds is None:
        return None
    own = position * lane.seconds
    total = own
    for other in lanes:
        if other.id == lane.id or other.priority < lane.priority or not shared(other):
            continue
        if other.seconds is None:
            return None
        work = other.count * other.seconds
        if other.priority == lane.priority:
            weight = other.weight / lane.weight if other.spec.source != lane.spec.source else 1.0
            work = min(work, (own + lane.seconds) * weight)
        total += work
    return total
