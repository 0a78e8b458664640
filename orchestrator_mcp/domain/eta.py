"""When a queued job will be begun and done, as far as that can be known: what goes before it, and over whom it flows.

An estimate for people, not a promise: what arrives later with more priority, and failures, are not foreseen.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final

from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.situation import Candidate, Lane

Able = Callable[[Lane, Candidate], bool]
_NONE_RAISED: Final[Mapping[int, int]] = {}


class Turns:
    """What takes turns with a lane gets its share while that lane gets its own, or all that it has.

    Args:
        beside: for each that takes turns, how much it has (seconds, or jobs) and its weight over that of the lane.
    """

    def __init__(self, beside: Iterable[tuple[float, float]]) -> None:
        until = sorted((amount / weight, weight) for amount, weight in beside)
        self._until = [ends for ends, _ in until]
        self._done = [0.0, *accumulate(ends * weight for ends, weight in until)]
        self._weights = [0.0, *accumulate(weight for _, weight in until)]

    def given(self, own: float) -> float:
        """What the others are given meanwhile.

        Args:
            own: what the lane itself is given.
        """
        ended = bisect_right(self._until, own)
        return self._done[ended] + own * (self._weights[-1] - self._weights[ended])

    def left(self, own: float) -> int:
        """How many of the others have something left then.

        Args:
            own: what the lane itself is given.
        """
        return len(self._until) - bisect_right(self._until, own)


class Wait:
    """What the jobs of a lane wait for: worked out once, and then told of each of them in a few steps.

    Lanes of more priority go before it whole; of the same, sources and then lanes take turns.

    Args:
        lane: where they wait, with what is known of it.
        lanes: all lanes with work, this one among them.
        candidates: every backend, with what is known of it.
        able: whether a backend can run a lane.
        now: milliseconds.
        raised: the present priority of lanes whose deadlines may raise it.
    """

    def __init__(
        self,
        lane: Lane,
        lanes: Iterable[Lane],
        candidates: Sequence[Candidate],
        able: Able,
        now: int,
        raised: Mapping[int, int] = _NONE_RAISED,
    ) -> None:
        self._lane = lane
        self._now = now
        everybody = [one for one in candidates if able(lane, one)]
        self._workers = [one for one in everybody if one.unavailable is None]
        self._renders = [seconds for worker in self._workers if (seconds := worker.render_seconds(lane)) is not None]
        self._sooner: list[Lane] = []
        self._beside: list[tuple[Lane, float]] = []
        own = raised.get(lane.id, lane.priority)
        for other in lanes:
            theirs = raised.get(other.id, other.priority)
            if other.id == lane.id or theirs < own or not any(able(other, one) for one in self._workers or everybody):
                continue
            if theirs > own:
                self._sooner.append(other)
            else:
                weight = other.weight / lane.weight if other.spec.source != lane.spec.source else 1.0
                self._beside.append((other, weight))

    def place(self, position: int) -> int:
        """How many jobs are begun before a job, itself included: 1 for the next.

        Args:
            position: how many jobs of its own lane go before it; 0 at the head.
        """
        jobs, first = self._jobs
        before = sum(other.count for other in self._sooner) + position + jobs.given(position) + first.left(position)
        return math.floor(before) + 1

    def at(self, position: int) -> Estimate | None:
        """Seconds until a job is done.

        Args:
            position: how many jobs of the lane go before it; 0 at the head.

        Returns:
            None while it cannot be known: nobody who is available can run it, or durations are not known yet.
        """
        lane = self._lane
        if lane.seconds is None or self._seconds is None:
            return None
        sooner, beside = self._seconds
        before = sooner + position * lane.seconds + beside.given((position + 1) * lane.seconds)
        speed = sum(1 / worker.pace for worker in self._workers)
        held = sum(worker.left(self._now) / worker.pace for worker in self._workers)
        first = min(worker.left(self._now) for worker in self._workers)
        at_work = (len(self._workers) - 1) * lane.seconds / 2  # when it begins, the others are half-way on average
        wait = max(first, (before + held - at_work) / speed)
        render = len(self._renders) / sum(1 / seconds for seconds in self._renders)
        load = min(worker.load_seconds(lane) for worker in self._workers) if position == 0 else 0.0
        spread = (max(self._renders) - min(self._renders)) / 2 + render / 10
        return Estimate(mean=wait + load + render, deviation=math.hypot(wait / 4, spread), count=1)

    @cached_property
    def _jobs(self) -> tuple[Turns, Turns]:
        """The lanes beside it in jobs, and those of them again whose turn comes first in each round."""
        beside = [(other, float(other.count), weight) for other, weight in self._beside]
        first = [(count, weight) for other, count, weight in beside if _order(other) < _order(self._lane)]
        return Turns((count, weight) for _, count, weight in beside), Turns(first)

    @cached_property
    def _seconds(self) -> tuple[float, Turns] | None:
        """The work of lanes that go before it, and of those beside it; None while it is not known."""
        if not self._renders or any(worker.running and worker.holding is None for worker in self._workers):
            return None
        if any(other.seconds is None for other in (*self._sooner, *(one for one, _ in self._beside))):
            return None
        beside = ((other.count * (other.seconds or 0.0), weight) for other, weight in self._beside)
        return sum(other.count * (other.seconds or 0.0) for other in self._sooner), Turns(beside)


def _order(lane: Lane) -> tuple[float, int, int]:
    return lane.share, lane.waiting_from, lane.id
