"""The lanes with work, arranged so that a backend finds its next job in a few steps: by priority, source and model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from orchestrator_mcp.domain.deadlines import raised_priority
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.situation import Candidate, Lane

AGEING: Final = 60_000  # milliseconds of waiting that are worth one step of priority

UNKNOWN: Final = 1.0  # seconds that a job counts of which nobody knows what it takes

NEAR: Final = 3.0
"""The end is near when everybody is done within so many of the longest renders."""

_NEVER: Final = 1 << 62

Fits = Callable[[Lane], bool]
Order = Callable[[Lane], tuple[float, ...]]


class Queue:
    """Some lanes of one source, in the order in which they are served.

    Args:
        source: whose they are.
        order: the key to sort them by, when somebody asks.
    """

    __slots__ = ("_lanes", "_order", "_sorted", "eldest", "source")

    def __init__(self, source: str, order: Order) -> None:
        self.source = source
        self.eldest = _NEVER
        self._lanes: list[Lane] = []
        self._order = order
        self._sorted = False

    def add(self, lane: Lane, waiting_from: int) -> None:
        """One more."""
        self._lanes.append(lane)
        if waiting_from < self.eldest:
            self.eldest = waiting_from

    @property
    def any_order(self) -> list[Lane]:
        return self._lanes

    @property
    def lanes(self) -> list[Lane]:
        if not self._sorted:
            self._lanes.sort(key=self._order)
            self._sorted = True
        return self._lanes


@dataclass(slots=True)
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


@dataclass(slots=True)
class Cell:
    """The lanes of a tier that need the same.

    Attributes:
        eldest: the most neglected of them.
        waiting_from: since when that is so, milliseconds.
        jobs: how many they hold.
        seconds: how long these take on a backend of pace 1.
        known: whether it is known of all.
    """

    eldest: Lane
    waiting_from: int
    jobs: int = 0
    seconds: float = 0.0
    known: bool = True


class Tier:
    """The lanes of one priority.

    Args:
        priority: with which they came.
        order: the key to sort the lanes of a source by.
    """

    def __init__(self, priority: int, order: Order) -> None:
        self.priority = priority
        self.by_source: dict[str, Queue] = {}
        self.cells: dict[str, Cell] = {}
        self._order = order

    @cached_property
    def by_model(self) -> dict[str, dict[str, Queue]]:
        """model key -> source -> lanes."""
        found: dict[str, dict[str, Queue]] = {cell.eldest.spec.model_key: {} for cell in self.cells.values()}
        for source, everything in self.by_source.items():
            for lane in everything.any_order:
                queues = found[lane.spec.model_key]
                queue = queues.get(source)
                if queue is None:
                    queue = queues[source] = Queue(source, self._order)
                queue.add(lane, lane.since if lane.since > lane.served else lane.served)
        return found

    def warm_models(self, candidate: Candidate) -> list[str]:
        """The models for which it has work and a backend need not load anything."""
        if not candidate.loaded:
            return [model for model in {"": None, candidate.warm: None} if model in self.by_model]
        specs = {cell.eldest.spec.model_key: cell.eldest.spec for cell in self.cells.values()}
        return [model for model, spec in specs.items() if candidate.has_warm(spec)]

    def urgency(self, now: int, fits: Fits) -> float | None:
        """How urgent it is: its priority, and one step more for each turn that its most neglected lane has missed.

        Args:
            now: milliseconds.
            fits: whether a lane could get anything now; others do not count.

        Returns:
            None if none of them could.
        """
        neglect = [_steps(cell, now) for cell in self.cells.values() if fits(cell.eldest)]
        return self.priority + max(neglect) if neglect else None


def _steps(cell: Cell, now: int) -> float:
    """A step is a minute, or as long as one of its jobs takes if that is longer."""
    return max(0, now - cell.waiting_from) / max(AGEING, 1000 * cell.seconds / cell.jobs if cell.known else 0)


class Backlog:
    """What is left to give in this round.

    Args:
        lanes: those with work, in any order.
        now: milliseconds.
        reach: how much the farm renders while its slowest backend does a second of work.
        patience: how long a lane may be passed over, milliseconds.
    """

    def __init__(self, lanes: Iterable[Lane], now: int, *, reach: float, patience: int) -> None:
        self.rooms: dict[str, int] = {}
        self.tags: dict[str, float] = {}
        self.models: dict[str, Waiting] = {}
        self._taken: dict[int, int] = defaultdict(int)
        self._tiers: dict[int, Tier] = {}
        self._longest = 0.0
        self._arrange(lanes, now, patience)
        for tier in self._tiers.values():
            for cell in tier.cells.values():
                waiting = self.models.setdefault(cell.eldest.spec.model_key, Waiting())
                waiting.jobs += cell.jobs
                waiting.seconds += cell.seconds
                waiting.left += cell.seconds
                waiting.known = waiting.known and cell.known
        total = sum(waiting.seconds for waiting in self.models.values())
        known = all(waiting.known for waiting in self.models.values())
        self._near = known and total <= NEAR * self._longest * reach

    def _arrange(self, lanes: Iterable[Lane], now: int, patience: int) -> None:
        """The one pass over all lanes: every step in it costs as often as there are lanes."""
        tiers, tags = self._tiers, self.tags
        order = self._order_at(now, patience)
        for lane in lanes:
            spec = lane.spec
            since = lane.since if lane.since > lane.served else lane.served
            priority = lane.priority if lane.deadline is None else _raised(lane, lane.deadline, now)
            tier = tiers.get(priority)
            if tier is None:
                tier = tiers[priority] = Tier(priority, order)
            queue = tier.by_source.get(spec.source)
            if queue is None:
                queue = tier.by_source[spec.source] = Queue(spec.source, order)
                tags[spec.source] = lane.share
            queue.add(lane, since)
            cell = tier.cells.get(spec.kind)
            if cell is None:
                cell = tier.cells[spec.kind] = Cell(lane, since)
            elif since < cell.waiting_from or (since == cell.waiting_from and lane.id < cell.eldest.id):
                cell.eldest, cell.waiting_from = lane, since
            cell.jobs += lane.count
            seconds = lane.seconds
            if seconds is None:
                seconds, cell.known = UNKNOWN, False
            elif seconds > self._longest:
                self._longest = seconds
            cell.seconds += seconds * lane.count
            if lane.rooms:
                for name, room in lane.rooms.items():
                    self.rooms[name] = min(room, self.rooms.get(name, room))

    def _order_at(self, now: int, patience: int) -> Order:
        """The oldest job goes first; when the end is near, long jobs do, after what was passed over."""

        def order(lane: Lane) -> tuple[float, ...]:
            since = lane.since if lane.since > lane.served else lane.served
            if self._near and now - since < patience:
                return (1, -(lane.seconds or 0.0), lane.since, lane.id)
            return (0, lane.since, lane.id)

        return order

    def specs(self) -> Iterator[LaneSpec]:
        """Every kind of need, once for each tier."""
        return (cell.eldest.spec for tier in self._tiers.values() for cell in tier.cells.values())

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
        if self._taken[lane.id] >= lane.count:
            return False
        return not lane.rooms or all(self.rooms[name] > 0 for name in lane.rooms)

    def take(self, lane: Lane) -> None:
        """One job of a lane is given: its source has been served by what it takes."""
        self._taken[lane.id] += 1
        self.tags[lane.spec.source] += (lane.seconds or UNKNOWN) / lane.weight
        self.models[lane.spec.model_key].left -= lane.seconds or UNKNOWN
        for name in lane.rooms:
            self.rooms[name] -= 1


def _raised(lane: Lane, deadline: int, now: int) -> int:
    return raised_priority(lane.priority, deadline, now, lane.seconds or 0.0)
