"""When a queued job will be done, as far as that can be known: what goes before it flows over who can run it.

An estimate for people, not a promise: what arrives later with more priority, and failures, are not foreseen.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.situation import Candidate, Lane

Able = Callable[[Lane, Candidate], bool]
_NONE_RAISED: Final[Mapping[int, int]] = {}


class Wait:
    """What the jobs of a lane wait for: worked out once, and then told of each of them in a few steps.

    Args:
        lane: where they wait, with what is known of it.
        lanes: all lanes with work, this one among them.
        candidates: every backend, with what is known of it.
        able: whether a backend can run a lane.
        raised: the present priority of lanes whose deadlines may raise it.
    """

    def __init__(
        self,
        lane: Lane,
        lanes: Iterable[Lane],
        candidates: Sequence[Candidate],
        able: Able,
        raised: Mapping[int, int] = _NONE_RAISED,
    ) -> None:
        self._lane = lane
        self._workers = [one for one in candidates if one.unavailable is None and able(lane, one)]
        self._renders = [seconds for worker in self._workers if (seconds := worker.render_seconds(lane)) is not None]
        self._known = bool(self._renders) and not any(
            worker.running and worker.remaining is None for worker in self._workers
        )
        self._first = 0.0
        self._beside: list[tuple[float, float]] = []
        if self._known:
            self._look_around(lanes, able, raised)
        self._until = [until for until, _ in self._beside]
        self._done = [0.0, *accumulate(until * weight for until, weight in self._beside)]
        self._weights = [0.0, *accumulate(weight for _, weight in self._beside)]

    def _look_around(self, lanes: Iterable[Lane], able: Able, raised: Mapping[int, int]) -> None:
        """Lanes of more priority go before it whole; of the same, sources and then lanes take turns."""
        lane, priority = self._lane, raised.get(self._lane.id, self._lane.priority)
        for other in lanes:
            theirs = raised.get(other.id, other.priority)
            if other.id == lane.id or theirs < priority or not any(able(other, one) for one in self._workers):
                continue
            if other.seconds is None:
                self._known = False
                return
            work = other.count * other.seconds
            if theirs > priority:
                self._first += work
            else:
                weight = other.weight / lane.weight if other.spec.source != lane.spec.source else 1.0
                self._beside.append((work / weight, weight))
        self._beside.sort()

    def at(self, position: int) -> Estimate | None:
        """Seconds until a job is done.

        Args:
            position: how many jobs of the lane go before it; 0 at the head.

        Returns:
            None while it cannot be known: nobody who is available can run it, or durations are not known yet.
        """
        lane = self._lane
        if not self._known or lane.seconds is None:
            return None
        before = self._first + position * lane.seconds + self._given_beside((position + 1) * lane.seconds)
        speed = sum(1 / worker.pace for worker in self._workers)
        held = sum((worker.remaining or 0.0) / worker.pace for worker in self._workers if worker.running)
        first = min((worker.remaining or 0.0) if worker.running else 0.0 for worker in self._workers)
        wait = max(first, (before + held) / speed) if before + held > 0 else 0.0
        render = len(self._renders) / sum(1 / seconds for seconds in self._renders)
        load = min(worker.load_seconds(lane) for worker in self._workers) if position == 0 else 0.0
        spread = (max(self._renders) - min(self._renders)) / 2 + render / 10
        return Estimate(mean=wait + load + render, deviation=math.hypot(wait / 4, spread), count=1)

    def _given_beside(self, own: float) -> float:
        """What lanes of the same priority are given while this one gets `own` seconds: a share, or all they have."""
        ended = bisect_right(self._until, own)
        return self._done[ended] + own * (self._weights[-1] - self._weights[ended])
