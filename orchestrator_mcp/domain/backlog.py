"""The lanes with work, arranged so that a backend finds its next job in a few steps: by priority, source and model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Final

from orchestrator_mcp.domain.deadlines import raised_priorities
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.situation import Candidate, Lane

AGEING: Final = 60_000  # milliseconds of waiting that are worth one step of priority

UNKNOWN: Final = 1.0  # seconds that a job counts of which nobody knows what it takes

NEAR: Final = 3.0
"""The end is near when everybody is done within so many of the longest renders."""

_NEVER: Final = 1 << 62

Fits = Callable[[Lane], bool]

_AGE: Final = attrgetter("since", "served", "id")


@dataclass(slots=True)
class Sort:
    """What its deadline has raised goes first, then the oldest job; near the end the long ones, if none is old.

    Of jobs that came at once the lane goes first that was served longest ago: else the last of them would look
    neglected in the middle of a large batch.

    Attributes:
        now: milliseconds.
        patience: how long a lane may be passed over, milliseconds.
        raised: lane -> its priority, of those with a deadline.
        near: the end is near.
    """

    now: int
    patience: int
    raised: Mapping[int, int]
    near: bool = False

    def __call__(self, lanes: list[Lane]) -> None:
        """Put lanes into this order."""
        lanes.sort(key=self._place if self.near or self.raised else _AGE)

    def _place(self, lane: Lane) -> tuple[float, ...]:
        if lane.deadline is not None and self.raised[lane.id] > lane.priority:
            return (-1, lane.deadline, lane.id)
        if self.near and self.now - lane.waiting_from < self.patience:
            return (1, -(lane.seconds or 0.0), lane.since, lane.id)
        return (0, lane.since, lane.served, lane.id)


class Queue:
    """Some lanes of one source, in the order in which they are served.

    Args:
        source: whose they are.
        sort: puts lanes into that order.

    Attributes:
        source: the same.
        any_order: the lanes, as they came; none is added once somebody has asked for them in order.
        eldest: since when the most neglected of them waits, milliseconds.
    """

    __slots__ = ("_sort", "_sorted", "any_order", "eldest", "source")

    def __init__(self, source: str, sort: Sort) -> None:
        self.source = source
        self.eldest = _NEVER
        self.any_order: list[Lane] = []
        self._sort = sort
        self._sorted = False

    @property
    def lanes(self) -> list[Lane]:
        if not self._sorted:
            if len(self.any_order) > 1:
                self._sort(self.any_order)
            self._sorted = True
        return self.any_order


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
        of_model: source -> the lanes of the tier for the same model.
        jobs: how many they hold.
        seconds: how long these take on a backend of pace 1.
        known: whether it is known of all.
    """

    eldest: Lane
    waiting_from: int
    of_model: dict[str, Queue]
    jobs: int = 0
    seconds: float = 0.0
    known: bool = True


class Tier:
    """The lanes of one priority.

    Args:
        priority: with which they came.
        sort: puts lanes into the order in which they are served.

    Attributes:
        priority: the same.
        by_model: model key -> source -> its lanes for the model.
        cells: kind of need -> what is known of its lanes together.
    """

    def __init__(self, priority: int, sort: Sort) -> None:
        self.priority = priority
        self.by_model: dict[str, dict[str, Queue]] = {}
        self.cells: dict[str, Cell] = {}
        self._sort = sort

    @cached_property
    def by_source(self) -> dict[str, Queue]:
        """source -> its lanes."""
        found: dict[str, Queue] = {}
        for queues in self.by_model.values():
            for source, own in queues.items():
                queue = found.get(source)
                if queue is None:
                    queue = found[source] = Queue(source, self._sort)
                queue.any_order += own.any_order
                if own.eldest < queue.eldest:
                    queue.eldest = own.eldest
        return found

    @cached_property
    def waiting_from(self) -> int:
        """Since when its most neglected lane waits, milliseconds."""
        return min(cell.waiting_from for cell in self.cells.values())

    @cached_property
    def waiting_for(self) -> dict[str, int]:
        """model key -> since when the most neglected lane for it waits, milliseconds."""
        found: dict[str, int] = {}
        for cell in self.cells.values():
            model = cell.eldest.spec.model_key
            found[model] = min(cell.waiting_from, found.get(model, _NEVER))
        return found

    @cached_property
    def kinds(self) -> dict[str, dict[str, Lane]]:
        """model key -> a lane for each kind of need."""
        found: dict[str, dict[str, Lane]] = {}
        for kind, cell in self.cells.items():
            found.setdefault(cell.eldest.spec.model_key, {})[kind] = cell.eldest
        return found

    def examples(self, model: str | None) -> Iterable[tuple[str, Lane]]:
        """A lane for each kind of need, of one model or (None) of all."""
        if model is not None:
            return self.kinds[model].items()
        return ((kind, cell.eldest) for kind, cell in self.cells.items())

    def warm_models(self, candidate: Candidate) -> list[str]:
        """The models for which it has work and a backend need not load anything."""
        if not candidate.loaded:
            return [model for model in dict.fromkeys(("", candidate.warm)) if model in self.kinds]
        specs = {cell.eldest.spec.model_key: cell.eldest.spec for cell in self.cells.values()}
        return [model for model, spec in specs.items() if candidate.has_warm(spec)]

    def urgency(self, now: int, fits: Fits, is_open: Fits) -> float | None:
        """How urgent it is: its priority, and one step more for each turn that its most neglected lane has missed.

        Args:
            now: milliseconds.
            fits: whether somebody could run lanes of this kind; others do not count.
            is_open: whether a lane has a job left that may start now; others do not count either.

        Returns:
            None if none of them could get anything.
        """
        neglect = [
            _steps(cell, since, now)
            for cell in self.cells.values()
            if fits(cell.eldest) and (since := _neglected_from(cell, is_open)) is not None
        ]
        return self.priority + max(neglect) if neglect else None


def _neglected_from(cell: Cell, is_open: Fits) -> int | None:
    """Since when its most neglected lane that may go on has waited: one that a limit holds back stops no other."""
    if is_open(cell.eldest):
        return cell.waiting_from
    kind = cell.eldest.spec.kind
    lanes = (lane for queue in cell.of_model.values() for lane in queue.any_order if lane.spec.kind == kind)
    return min((lane.waiting_from for lane in lanes if is_open(lane)), default=None)


def _steps(cell: Cell, since: int, now: int) -> float:
    """A step is a minute, or as long as one of its jobs takes if that is longer."""
    return max(0, now - since) / max(AGEING, 1000 * cell.seconds / cell.jobs if cell.known else 0)


class Backlog:
    """What is left to give in this round.

    Args:
        lanes: those with work, in any order.
        now: milliseconds.
        speed: how many seconds of work the farm does in a second, in those of a backend of pace 1.
        slowest: the pace of its slowest backend.
        patience: how long a lane may be passed over, milliseconds.
    """

    def __init__(self, lanes: Sequence[Lane], now: int, *, speed: float, slowest: float, patience: int) -> None:
        self.rooms: dict[str, int] = {}
        self.tags: dict[str, float] = {}
        self.models: dict[str, Waiting] = {}
        self._taken: dict[int, int] = defaultdict(int)
        self._tiers: dict[int, Tier] = {}
        self._longest = 0.0
        sort = Sort(now, patience, raised_priorities(lanes, now, speed))
        self._arrange(lanes, sort)
        for tier in self._tiers.values():
            for cell in tier.cells.values():
                waiting = self.models.setdefault(cell.eldest.spec.model_key, Waiting())
                waiting.jobs += cell.jobs
                waiting.seconds += cell.seconds
                waiting.left += cell.seconds
                waiting.known = waiting.known and cell.known
        self._least_served, self._most_served = min(self.tags.values()), max(self.tags.values())
        total = sum(waiting.seconds for waiting in self.models.values())
        known = all(waiting.known for waiting in self.models.values())
        sort.near = known and total <= NEAR * self._longest * speed * slowest

    def _arrange(self, lanes: Sequence[Lane], sort: Sort) -> None:
        """The one pass over all lanes: to come back to thousands of them costs more than all that is done here."""
        tiers, tags, raised = self._tiers, self.tags, sort.raised
        for lane in lanes:
            spec = lane.spec
            source, kind = spec.source, spec.kind
            since = lane.since if lane.since > lane.served else lane.served
            priority = lane.priority if lane.deadline is None else raised[lane.id]
            tier = tiers.get(priority)
            if tier is None:
                tier = tiers[priority] = Tier(priority, sort)
            cell = tier.cells.get(kind)
            if cell is None:
                cell = tier.cells[kind] = Cell(lane, since, tier.by_model.setdefault(spec.model_key, {}))
            elif since < cell.waiting_from or (since == cell.waiting_from and lane.id < cell.eldest.id):
                cell.eldest, cell.waiting_from = lane, since
            queue = cell.of_model.get(source)
            if queue is None:
                queue = cell.of_model[source] = Queue(source, sort)
            queue.any_order.append(lane)
            if since < queue.eldest:
                queue.eldest = since
            count, seconds = lane.count, lane.seconds
            cell.jobs += count
            if seconds is None:
                seconds, cell.known = UNKNOWN, False
            elif seconds > self._longest:
                self._longest = seconds
            cell.seconds += seconds * count
            tags[source] = lane.share
            if lane.rooms:
                self._keep_rooms(lane.rooms)

    def _keep_rooms(self, rooms: Mapping[str, int]) -> None:
        for name, room in rooms.items():
            self.rooms[name] = min(room, self.rooms.get(name, room))

    def specs(self) -> Iterator[LaneSpec]:
        """Every kind of need, once for each tier."""
        return (cell.eldest.spec for tier in self._tiers.values() for cell in tier.cells.values())

    def waits_since(self, moment: int) -> bool:
        """Whether any lane has waited since then, milliseconds, or longer."""
        return any(tier.waiting_from <= moment for tier in self._tiers.values())

    def tiers(self, now: int, fits: Fits) -> list[Tier]:
        """Those of which something could be given now, the most urgent first.

        Args:
            now: milliseconds.
            fits: whether somebody could run lanes of this kind now.
        """
        urgent = [(tier.urgency(now, fits, self.open), tier) for tier in self._tiers.values()]
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
        seconds = lane.seconds or UNKNOWN
        self._taken[lane.id] += 1
        served = self.tags[lane.spec.source] + seconds / lane.weight
        self.tags[lane.spec.source] = served
        if served > self._most_served:
            self._most_served = served
        self.models[lane.spec.model_key].left -= seconds
        for name in lane.rooms:
            self.rooms[name] -= 1

    def anybody_ahead(self, lead: float) -> bool:
        """Whether a source was served so many weighted seconds more than another."""
        if self._most_served - self._least_served <= lead:
            return False
        self._least_served = min(self.tags.values())  # it only rises, so it is looked up only where that may help
        return self._most_served - self._least_served > lead
