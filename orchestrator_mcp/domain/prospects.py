"""What the others would get done meanwhile: the proof that a backend had better leave a job alone.

A slow backend must not take the last jobs of a batch if faster ones end them earlier, and no model is worth loading
if those who have it are done before. Both are one question: if this backend took the job it would be done after
`span` seconds; would the others, without it, have done all that waits for the same model by then? If so, every one
of those jobs gains, and the wait is shorter than the render that is not begun.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from orchestrator_mcp.domain.backlog import Waiting
from orchestrator_mcp.domain.situation import Candidate, Lane

GRAIN: Final = 40
"""Spans that differ by less than a fortieth are one; the shorter of them is asked about."""

WORTH: Final = 3.0
"""How many times what it takes a load must save, so that the last seconds of a batch are not spent on loading.
Measured: with 2 it loads more, and is done no sooner."""

LATE: Final = 0.5
"""How many times what it takes a load must help a model that is late: half of it, for the load is paid by one backend
and the help is shared by all. Measured, as its neighbours, by `benchmarks.utilization`."""

REST: Final = 2.0
"""How many times what a load takes all that waits must take, at the least, for a model that is late to be helped.
Measured: without it there are more loads and no batch ends sooner, with 4 they end later."""

QUICK: Final = 1.5
"""Whoever takes at most so many times what the quickest does is one of the quick ones."""

_ROUNDING: Final = 1e-3  # jobs

Able = Callable[[Lane, Candidate], bool]


class Best:
    """The best that any of some idle backends could do, as if one of them were the best at everything.

    Args:
        candidates: in the order in which they have their turns.

    Attributes:
        turn: how many had theirs already; they count no more for how fast the rest is.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.turn = 0
        paces = [1 / _top_speed(one) for one in reversed(candidates)]
        self._paces = list(accumulate(paces, min))[::-1]
        self._warm = {candidate.warm for candidate in candidates}
        self._anything = any(candidate.loaded for candidate in candidates)
        self._loads: dict[str, float] = {}
        for candidate in candidates:
            for model, seconds in candidate.loads.items():
                self._loads[model] = min(seconds, self._loads.get(model, seconds))

    def span(self, lane: Lane) -> float | None:
        """How long a job of a lane occupies one of them at the least, its load weighed; None while unknown."""
        model = lane.spec.model_key
        if lane.seconds is None or self._anything:
            return None
        load = 0.0 if not model or model in self._warm else min(lane.load, self._loads.get(model, lane.load))
        return WORTH * load + lane.seconds * self._paces[self.turn]


@dataclass
class _Proof:
    """How many jobs the others do within a span, counted so far."""

    jobs: int
    counted: int


class Prospects:
    """The backends as workers for a model, in one round.

    Args:
        candidates: every backend.
        models: the work that waits for each model.
        able: whether a backend can run a lane at all.
        now: milliseconds.
    """

    def __init__(self, candidates: Sequence[Candidate], models: dict[str, Waiting], able: Able, now: int) -> None:
        self._models = models
        self._able = able
        self._now = now
        self._busy = [c for c in candidates if c.unavailable is None and c.running and c.holding is not None]
        self._busy_with: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in self._busy:
            self._busy_with[candidate.warm].append(candidate)
        self._with_files = [candidate for candidate in self._busy if candidate.loaded]
        self._spare = {c.backend_id: c for c in candidates if c.idle and c.warm not in models}
        self._given: dict[str, list[tuple[Candidate, float]]] = defaultdict(list)
        self._proofs: dict[tuple[str, int, bool], _Proof] = {}
        self._left_from: dict[tuple[str, bool], float] = {}
        self._top = defaultdict(float, {"": sum(map(_top_speed, self._busy))})
        for model, own in self._busy_with.items():
            self._top[model] += sum(map(_top_speed, own)) if model else 0.0
        self._top_with_files = sum(map(_top_speed, self._with_files))
        self._top_spare = sum(map(_top_speed, self._spare.values()))
        self._speeds: dict[str, float] = defaultdict(float)
        self._quickest: dict[str, float] = defaultdict(lambda: math.inf)
        for candidate in candidates:
            if candidate.unavailable is None:
                self._speeds[candidate.warm] += 1 / candidate.pace
                self._quickest[candidate.warm] = min(candidate.pace, self._quickest[candidate.warm])
        self._everybody = sum(self._speeds.values())

    def finish(self, model: str) -> float:
        """When those who have a model would be done with all that waits for it, seconds; infinite if nobody has it."""
        speed = self._everybody if not model else self._speeds.get(model, 0.0)
        return self._models[model].left / speed if speed > 1e-9 else math.inf

    def need(self, model: str) -> tuple[float, float, str]:
        """Sorts models: first the one that would be ready last, of equals the one with the most work."""
        return (-self.finish(model), -self._models[model].left, model)

    def others_suffice(self, candidate: Candidate) -> bool:
        """Whether those who have the same model as a backend will be done with it in time without it.

        "In time" is when all would be done if the work were spread evenly. Only the quick ones of those who have a
        model may leave it, because one load then moves the most work.
        """
        own = self._models.get(candidate.warm)
        if (
            own is None
            or not own.known
            or not candidate.warm
            or candidate.pace > QUICK * self._quickest[candidate.warm]
        ):
            return False
        speed = self._speeds[candidate.warm] - 1 / candidate.pace
        return speed > 1e-9 and own.left / speed <= self._horizon()

    def late(self, lane: Lane, candidate: Candidate) -> bool:
        """Whether a model will not be done in time, by more than a load costs, unless a backend loads it.

        Near the end nothing is late enough: what is left to help with is hardly more than the load.
        """
        model = lane.spec.model_key
        load, horizon = candidate.load_seconds(lane), self._horizon()
        if not self._models[model].known or horizon <= REST * load:
            return False
        return self.finish(model) - horizon > LATE * load

    def _horizon(self) -> float:
        """When all that waits is done if it is spread evenly, seconds."""
        return sum(waiting.left for waiting in self._models.values()) / self._everybody

    def given(self, lane: Lane, candidate: Candidate) -> None:
        """A backend was given a job: it is one more that has the model."""
        model = lane.spec.model_key
        self._top[model] += _top_speed(candidate)
        if self._spare.pop(candidate.backend_id, None) is not None:
            self._top_spare -= _top_speed(candidate)
            self._proofs = {key: proof for key, proof in self._proofs.items() if not key[2]}
            self._left_from = {key: span for key, span in self._left_from.items() if not key[1]}
        self._given[model].append((candidate, candidate.load_seconds(lane)))
        if candidate.warm != model:
            self._speeds[candidate.warm] -= 1 / candidate.pace
            self._speeds[model] += 1 / candidate.pace

    def better_left(self, lane: Lane, candidate: Candidate, *, before_loads: bool) -> bool:
        """Whether every job that waits for the lane's model is done earlier if this backend leaves them alone.

        Args:
            lane: whose next job it could take.
            candidate: the backend.
            before_loads: whether idle backends that would have to load have not had their turn yet.
        """
        render = candidate.render_seconds(lane)
        if render is None:
            return False
        span = WORTH * candidate.load_seconds(lane) + render + candidate.left(self._now)
        return self._done_within(span, lane, before_loads, candidate)

    def left_by(self, best: Best, lane: Lane) -> bool:
        """Whether idle backends leave a lane alone, all of them: even the best of them, now and later in this round.

        Args:
            best: of them.
            lane: whose next job they could take; those who would have to load are having their turn.
        """
        span = best.span(lane)
        return span is not None and self._done_within(span, lane, False, None)

    def _done_within(self, span: float, lane: Lane, before_loads: bool, candidate: Candidate | None) -> bool:
        """Whether the others will have done all that waits for the lane's model within so many seconds."""
        waiting = self._models[lane.spec.model_key]
        if not waiting.known or waiting.seconds <= 0 or span <= 0 or waiting.seconds > span * self._everybody:
            return False
        kind = lane.spec.kind
        if span >= self._left_from.get((kind, before_loads), math.inf):
            return True
        mean = waiting.seconds / waiting.jobs
        if span * self._at_most(lane.spec.model_key, before_loads) / mean < waiting.jobs - _ROUNDING:
            return False  # most questions end here: nobody needs to be counted
        step = math.floor(GRAIN * math.log(span))
        span = math.exp(step / GRAIN)
        key = (kind, step, before_loads)
        proof = self._proofs.get(key)
        if proof is None:
            others = (other for other in self._who_may_have(lane) if other is not candidate)
            jobs = sum(self._goes_on(lane, other, span, mean) for other in others)
            if before_loads:
                jobs += sum(self._would_load(lane, other, span, mean) for other in self._spare.values())
            proof = self._proofs[key] = _Proof(jobs, 0)
        given = self._given[lane.spec.model_key]
        for other, load in given[proof.counted :]:
            if self._able(lane, other):
                proof.jobs += _renders(other, lane, span - load - other.left(self._now), mean)
        proof.counted = len(given)
        if proof.jobs < waiting.jobs:
            return False
        self._left_from[kind, before_loads] = span
        return True

    def _at_most(self, model: str, before_loads: bool) -> float:
        """The speed that the others do not exceed, whatever they are best at."""
        return self._top[model] + self._top_with_files + (self._top_spare if before_loads else 0.0)

    def _who_may_have(self, lane: Lane) -> Iterable[Candidate]:
        """Every busy backend that has the models of a lane, and perhaps others."""
        model = lane.spec.model_key
        if not model:
            return self._busy
        return [*self._busy_with[model], *(other for other in self._with_files if other.warm != model)]

    def _goes_on(self, lane: Lane, other: Candidate, span: float, mean: float) -> int:
        """How many jobs of `mean` seconds a busy backend does within `span` if it goes on with this model."""
        left = span - other.left(self._now)
        if left <= 0 or not self._serves(lane, other) or not self._able(lane, other):
            return 0
        return _renders(other, lane, left, mean)

    def _would_load(self, lane: Lane, other: Candidate, span: float, mean: float) -> int:
        """How many an idle backend does that has nothing better to do, if it is the faster one although it loads."""
        render = other.render_seconds(lane)
        load = other.load_seconds(lane)
        if not load or render is None or load + render >= span or not self._able(lane, other):
            return 0
        return _renders(other, lane, span - load, mean)

    def _serves(self, lane: Lane, other: Candidate) -> bool:
        """Whether a busy backend goes on with this model: it has it, and nothing waits for what it did last."""
        if not other.has_warm(lane.spec):
            return False
        return other.warm == lane.spec.model_key or other.warm not in self._models


class InNeed:
    """Some models, first the one that would be ready last.

    Args:
        models: which.
        prospects: know when they would be.
    """

    def __init__(self, models: Iterable[str], prospects: Prospects) -> None:
        self._prospects = prospects
        self._needs = {model: prospects.need(model) for model in models}
        self._order = sorted(self._needs.values())

    def __iter__(self) -> Iterator[str]:
        return (model for _, _, model in self._order)

    def moved(self, model: str) -> None:
        """Somebody was given a job for it, or has it no more; nobody may be looking through them."""
        if (before := self._needs.get(model)) is not None:
            del self._order[bisect_left(self._order, before)]
            self._needs[model] = self._prospects.need(model)
            insort(self._order, self._needs[model])


def _top_speed(candidate: Candidate) -> float:
    """Seconds of work in a second, of what it is best at."""
    return 1 / (min(candidate.pace, *candidate.paces.values()) if candidate.paces else candidate.pace)


def _renders(candidate: Candidate, lane: Lane, seconds: float, mean: float) -> int:
    each = mean * candidate.paces.get(lane.signature, candidate.pace)
    return max(0, math.floor(seconds / each + 1e-9))
