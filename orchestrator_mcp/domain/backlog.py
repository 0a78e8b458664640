"""The lanes with work, arranged so that a backend finds its next job in a few steps: by priority, source and model."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestrator_mcp.domain.deadlines import raised_priority
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.situation import Candidate, Lane

AGEING: Final = 60_000  # milliseconds of waiting that are worth one step of priority

UNKNOWN: Final = 1.0  # seconds that a job counts of which nobody knows what it takes

Fits = Callable[[Lane], bool]


@dataclass
class Queue:
    """Some lanes of one source, in the order in which they are served."""

    source: str
    lanes: list[Lane] = field(default_factory=list)


@dataclass
class Waiting:
    """How much work waits for a model.

    Attributes:
        jobs: how many, when the round began.
        seconds: how long they take on a backend of pace 1.
        left: the same now.
        known: whether it is known of all.
    """

    jobs: int = 0
    seconds: float = 0.0
    left: float = 0.0
    known: bool = True


class Tier:
    """The lanes of one priority.

    Args:
        priority: with which they came.
    """

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.by_source: dict[str, Queue] = {}
        self.by_model: dict[str, dict[str, Queue]] = {}
        self.kinds: dict[str, Lane] = {}

    def add(self, lane: Lane) -> None:
        """One more lane; they come in the order in which they are to be served."""
        spec = lane.spec
        source, kind = spec.source, spec.kind
        queue = self.by_source.get(source)
        if queue is None:
            queue = self.by_source[source] = Queue(source)
        queue.lanes.append(lane)
        queues = self.by_model.get(spec.model_key)
        if queues is None:
            queues = self.by_model[spec.model_key] = {}
        queue = queues.get(source)
        if queue is None:
            queue = queues[source] = Queue(source)
        queue.lanes.append(lane)
        eldest = self.kinds.get(kind)
        if eldest is None or lane.waiting_from < eldest.waiting_from:
            self.kinds[kind] = lane

    def warm_models(self, candidate: Candidate) -> list[str]:
        """The models for which it has work and a backend need not load anything."""
        if not candidate.loaded:
            return [model for model in {"": None, candidate.warm: None} if model in self.by_model]
        examples = ((model, next(iter(queues.values())).lanes[0]) for model, queues in self.by_model.items())
        return [model for model, lane in examples if candidate.has_warm(lane.spec)]

    def urgency(self, now: int, fits: Fits) -> float | None:
        """How urgent it is: its priority, and one step more for each turn that its most neglected lane has missed.

        Args:
            now: milliseconds.
            fits: whether a lane could get anything now; others do not count.

        Returns:
            None if none of them could.
        """
        neglect = [_steps(lane, now) for lane in self.kinds.values() if fits(lane)]
        return self.priority + max(neglect) if neglect else None


def _steps(lane: Lane, now: int) -> float:
    """A step is a minute, or as long as one of its jobs takes if that is longer."""
    return max(0, now - lane.waiting_from) / max(AGEING, 1000 * (lane.seconds or 0.0))


class Backlog:
    """What is left to give in this round.

    Args:
        lanes: those with work, in any order.
        now: milliseconds.
        longest_first: whether the end is near, so that long jobs are better begun first.
        patience: how long a lane may be passed over, milliseconds.
    """

    def __init__(self, lanes: Iterable[Lane], now: int, *, longest_first: bool, patience: int) -> None:
        self.left: dict[int, int] = {}
        self.rooms: dict[str, int] = {}
        self.tags: dict[str, float] = {}
        self.models: dict[str, Waiting] = {}
        self._tiers: dict[int, Tier] = {}
        ordered = sorted(lanes, key=lambda lane: (lane.since if lane.since > lane.served else lane.served, lane.id))
        if longest_first:
            ordered.sort(key=lambda lane: (now - lane.waiting_from < patience, -(lane.seconds or 0.0)))
        for lane in ordered:
            self._add(lane, now)

    def _add(self, lane: Lane, now: int) -> None:
        self.left[lane.id] = lane.count
        self.tags[lane.spec.source] = lane.share
        for name, room in lane.rooms.items():
            self.rooms[name] = min(room, self.rooms.get(name, room))
        waiting = self.models.get(lane.spec.model_key)
        if waiting is None:
            waiting = self.models[lane.spec.model_key] = Waiting()
        waiting.jobs += lane.count
        waiting.known = waiting.known and lane.seconds is not None
        waiting.seconds += (lane.seconds or UNKNOWN) * lane.count
        waiting.left = waiting.seconds
        priority = lane.priority
        if lane.deadline is not None:
            priority = raised_priority(priority, lane.deadline, now, lane.seconds or 0.0)
        tier = self._tiers.get(priority)
        if tier is None:
            tier = self._tiers[priority] = Tier(priority)
        tier.add(lane)

    def specs(self) -> Iterator[LaneSpec]:
        """Every kind of need, once for each tier."""
        return (lane.spec for tier in self._tiers.values() for lane in tier.kinds.values())

    def tiers(self, now: int, fits: Fits) -> list[Tier]:
        """Those of which something could be given now, the most urgent first.

        Args:
            now: milliseconds.
            fits: whether a lane could get anything now.
        """
        urgent = [(tier.urgency(now, fits), tier) for tier in self._tiers.values()]
        found = [(urgency, tier) for urgency, tier in urgent if urgency is not None]
        found.sort(key=lambda pair: (-pair[0], -pair[1].priority))
        return [tier for _, tier in found]

    def open(self, lane: Lane) -> bool:
        """Whether it has a job left that no named limit holds back."""
        if not self.left[lane.id]:
            return False
        return not lane.rooms or all(self.rooms[name] > 0 for name in lane.rooms)

    def take(self, lane: Lane) -> None:
        """One job of a lane is given: its source has been served by what it takes."""
        self.left[lane.id] -= 1
        self.tags[lane.spec.source] += (lane.seconds or UNKNOWN) / lane.weight
        self.models[lane.spec.model_key].left -= lane.seconds or UNKNOWN
        for name in lane.rooms:
            self.rooms[name] -= 1


class Turns:
    """Whose turn it is among sources, for backends that can run the same.

    Args:
        queues: one for each source.
        backlog: what is left.
        fits: whether these backends can run a lane.
    """

    def __init__(self, queues: Sequence[Queue], backlog: Backlog, fits: Fits) -> None:
        self._backlog = backlog
        self._fits = fits
        self._next: dict[str, int] = {}
        self._heap = [(backlog.tags[q.source], q.lanes[0].waiting_from, q.source, q) for q in queues]
        heapq.heapify(self._heap)

    def in_order(self) -> Iterator[tuple[float, Queue]]:
        """The sources that have something, least served first. Stop as soon as one is found that suits."""
        aside: list[tuple[float, int, str, Queue]] = []
        heap, tags = self._heap, self._backlog.tags
        try:
            while heap:
                tag, since, source, queue = heap[0]
                if tag != tags[source]:
                    heapq.heapreplace(heap, (tags[source], since, source, queue))
                    continue
                if self.head(queue) is None:
                    heapq.heappop(heap)
                    continue
                aside.append(heapq.heappop(heap))
                yield tag, queue
        finally:
            for entry in aside:
                heapq.heappush(heap, entry)

    def head(self, queue: Queue) -> Lane | None:
        """Its first lane that these backends can run; what is passed here never comes back in this round."""
        at = self._next.get(queue.source, 0)
        lanes = queue.lanes
        while at < len(lanes) and not (self._backlog.open(lanes[at]) and self._fits(lanes[at])):
            at += 1
        self._next[queue.source] = at
        return lanes[at] if at < len(lanes) else None

    def lanes(self, queue: Queue) -> Iterator[Lane]:
        """What these backends can run of a source, in order."""
        if self.head(queue) is not None:
            for lane in queue.lanes[self._next[queue.source] :]:
                if self._backlog.open(lane) and self._fits(lane):
                    yield lane
