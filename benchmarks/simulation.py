"""A farm in a fake clock: machines that render and load, work that arrives, and a policy that says who does what.

Nothing is waited for: an hour of a farm takes a second. `Placed` is the product's own decision, with everything that
it knows learned from the renders before; its rivals are in `benchmarks.rivals`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from orchestrator_mcp.domain.experience import Experience, Work
from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile, Requirements
from orchestrator_mcp.domain.placement import Candidate, Lane

SCAN: Final = 5.0  # seconds after which a dispatcher looks again although nothing happened
_EPOCH: Final = 1_000_000_000_000  # milliseconds: where the fake calendar begins


@dataclass(frozen=True, eq=False)
class Everything:
    """A catalogue that has all models but some."""

    lacks: frozenset[str] = frozenset()

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


EVERYTHING: Final = Everything()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A backend as it really is; a policy is not told.

    Attributes:
        id: its name.
        pace: how long it takes for a second of work.
        quirks: kind of work -> how far its pace is off for it.
        load: how many times as long as on others a model takes to load.
        labels: its capabilities.
        open_at: whether it takes work at a moment, seconds; None for always.
        down: times of failure, each (from, to), seconds: what it renders then is lost.
    """

    id: str
    pace: float = 1.0
    quirks: Mapping[str, float] = field(default_factory=dict)
    load: float = 1.0
    labels: frozenset[str] = frozenset()
    open_at: Callable[[float], bool] | None = None
    down: tuple[tuple[float, float], ...] = ()

    def takes_work(self, now: float) -> bool:
        """Whether it is open and up."""
        return not any(start <= now < end for start, end in self.down) and (self.open_at is None or self.open_at(now))


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job as it really is.

    Attributes:
        id: its place in the order of arrival.
        source: whose it is.
        kind: the workflow.
        model: what it loads; empty for nothing.
        seconds: what it takes on a machine of pace 1.
        load: what loading its model takes there.
        arrives: when, seconds.
        priority: as its caller said.
        deadline: when it must be done, seconds.
        labels: what it requires.
    """

    id: int
    source: str = "studio"
    kind: str = "k"
    model: str = ""
    seconds: float = 1.0
    load: float = 0.0
    arrives: float = 0.0
    priority: int = 0
    deadline: float | None = None
    labels: frozenset[str] = frozenset()

    @property
    def spec(self) -> LaneSpec:
        """What it needs, as a lane says it."""
        return _spec(self.source, self.labels, self.model, self.kind)


_SPECS: dict[tuple[str, frozenset[str], str, str], LaneSpec] = {}


def _spec(source: str, labels: frozenset[str], model: str, kind: str) -> LaneSpec:
    key = (source, labels, model, kind)
    if key not in _SPECS:
        files = [ModelFile(class_type="CheckpointLoaderSimple", input="ckpt_name", name=model)] if model else []
        needs = Requirements(node_classes=frozenset({"KSampler", kind}), models=frozenset(files))
        _SPECS[key] = LaneSpec(source=source, capabilities=labels, model_key=model, requirements=needs)
    return _SPECS[key]


@dataclass(kw_only=True)
class Outcome:
    """What became of it all.

    Attributes:
        makespan: from the first arrival to the last end, seconds.
        loads: how often a model was loaded.
        idle_waiting: share of machine time that was idle while something waited that could have run there.
        busy: machine -> seconds of rendering and loading.
        ended: task -> when it ended.
        began: task -> when it began.
        lost: renders that a failure took.
    """

    makespan: float = 0.0
    loads: int = 0
    idle_waiting: float = 0.0
    busy: dict[str, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    began: dict[int, float] = field(default_factory=dict)
    lost: int = 0


class Policy(Protocol):
    """Who decides."""

    def arrived(self, task: Task, now: float) -> None:
        """A job is there."""

    def decide(self, free: Sequence[Machine], everybody: Sequence[Machine], now: float) -> list[tuple[Machine, Task]]:
        """Give jobs to machines that are free now."""

    def ended(self, machine: Machine, task: Task, seconds: float, now: float, *, rendered: bool) -> None:
        """A machine has done a job, or lost it (then the job arrives again)."""


def render_seconds(machine: Machine, task: Task) -> float:
    """What a job really takes on a machine that has its model."""
    return task.seconds * machine.pace * machine.quirks.get(task.kind, 1.0)


def load_seconds(machine: Machine, task: Task) -> float:
    """What loading its model really takes there."""
    return task.load * machine.load


class Simulation:
    """Runs a policy on a farm.

    Args:
        machines: the farm.
        tasks: all that will arrive.
        policy: who decides.
    """

    def __init__(self, machines: Sequence[Machine], tasks: Iterable[Task], policy: Policy) -> None:
        self._machines = machines
        self._policy = policy
        self._events: list[tuple[float, int, str, object]] = []
        self._number = itertools.count()
        self._warm: dict[str, str] = {}
        self._running: dict[str, tuple[Task, float, float]] = {}
        self._waiting: dict[int, Task] = {}
        self._wanted: Counter[frozenset[str]] = Counter()
        self._scan_due = -1.0
        self.outcome = Outcome(busy={machine.id: 0.0 for machine in machines})
        for task in tasks:
            self._at(task.arrives, "arrival", task)
        for machine in machines:
            for start, end in machine.down:
                self._at(start, "failure", machine)
                self._at(end, "scan", None)

    def _at(self, moment: float, what: str, whom: object) -> None:
        heapq.heappush(self._events, (moment, next(self._number), what, whom))

    def run(self, until: float = float("inf")) -> Outcome:
        """From the first arrival to the last end.

        Args:
            until: when to stop before that, seconds.
        """
        now = last = 0.0
        while self._events and self._events[0][0] <= until:
            now = self._events[0][0]
            self._account(now - last, last)
            last = now
            while self._events and self._events[0][0] <= now + 1e-9:
                _, _, what, whom = heapq.heappop(self._events)
                self._happen(what, whom, now)
            self._decide(now)
            if self._waiting and self._scan_due <= now:
                self._scan_due = now + SCAN
                self._at(self._scan_due, "scan", None)
            if not self._waiting and not self._running and not any(what == "arrival" for *_, what, _ in self._events):
                break
        self.outcome.makespan = max(self.outcome.ended.values(), default=0.0)
        machine_time = self.outcome.makespan * len(self._machines)
        self.outcome.idle_waiting /= machine_time or 1.0
        return self.outcome

    def _account(self, span: float, since: float) -> None:
        if self._waiting and span > 0:
            wanted = [labels for labels, count in self._wanted.items() if count]
            idle = (m for m in self._machines if m.id not in self._running and m.takes_work(since))
            self.outcome.idle_waiting += span * sum(any(labels <= m.labels for labels in wanted) for m in idle)

    def _happen(self, what: str, whom: object, now: float) -> None:
        if what == "arrival" and isinstance(whom, Task):
            self._waiting[whom.id] = whom
            self._wanted[whom.labels] += 1
            self._policy.arrived(whom, now)
        elif what == "end" and isinstance(whom, tuple):
            machine, task = whom
            held = self._running.get(machine.id)
            if held is not None and held[0] is task:
                self._end(machine, task, now, rendered=True)
        elif what == "failure" and isinstance(whom, Machine) and whom.id in self._running:
            task = self._running[whom.id][0]
            self._end(whom, task, now, rendered=False)
            self._warm.pop(whom.id, None)
            self.outcome.lost += 1
            self._waiting[task.id] = task
            self._wanted[task.labels] += 1
            self._policy.arrived(task, now)

    def _end(self, machine: Machine, task: Task, now: float, *, rendered: bool) -> None:
        _, began, _ = self._running.pop(machine.id)
        self.outcome.busy[machine.id] += now - began
        if rendered:
            self.outcome.ended[task.id] = now
        self._policy.ended(machine, task, now - began, now, rendered=rendered)

    def _decide(self, now: float) -> None:
        while True:
            free = [m for m in self._machines if m.id not in self._running and m.takes_work(now)]
            if not free or not self._waiting:
                return
            pairs = self._policy.decide(free, self._machines, now)
            if not pairs:
                return
            for machine, task in pairs:
                self._begin(machine, task, now)

    def _begin(self, machine: Machine, task: Task, now: float) -> None:
        del self._waiting[task.id]
        self._wanted[task.labels] -= 1
        span = render_seconds(machine, task)
        if task.model and self._warm.get(machine.id) != task.model:
            self.outcome.loads += 1
            span += load_seconds(machine, task)
            self._warm[machine.id] = task.model
        self.outcome.began.setdefault(task.id, now)
        self._running[machine.id] = (task, now, span)
        self._at(now + span, "end", (machine, task))


class Placed:
    """The product: lanes, experience and `choose`.

    Args:
        experience: what it knows already; a new one by default.
    """

    def __init__(self, experience: Experience | None = None) -> None:
        self.experience = experience or Experience()
        self._lanes: dict[LaneSpec, tuple[int, list[tuple[int, int, Task]]]] = {}
        self._running: dict[str, int] = {}

    def arrived(self, task: Task, now: float) -> None:
        lane = self._lanes.setdefault(task.spec, (len(self._lanes) + 1, []))
        heapq.heappush(lane[1], (-task.priority, task.id, task))

    def decide(self, free: Sequence[Machine], everybody: Sequence[Machine], now: float) -> list[tuple[Machine, Task]]:
        at = _millis(now)
        lanes = [self._lane(number, spec, heap) for spec, (number, heap) in self._lanes.items() if heap]
        by_number = {number: (spec, heap) for spec, (number, heap) in self._lanes.items()}
        machines = {machine.id: machine for machine in everybody}
        outlook = self.experience.outlook([self._candidate(machine, now) for machine in everybody], at)
        pairs = []
        for choice in outlook.choose(lanes, outlook.candidates, at):
            spec, heap = by_number[choice.lane_id]
            task = heapq.heappop(heap)[-1]
            self._running[choice.backend_id] = 1
            work = Work(spec=spec, signature=task.kind)
            self.experience.given(str(task.id), choice.backend_id, choice.lane_id, work, at)
            pairs.append((machines[choice.backend_id], task))
        return pairs

    def _lane(self, number: int, spec: LaneSpec, heap: list[tuple[int, int, Task]]) -> Lane:
        head = heap[0][-1]
        return Lane(
            id=number,
            spec=spec,
            priority=head.priority,
            since=_millis(head.arrives),
            count=len(heap),
            signature=head.kind,
            deadline=None if head.deadline is None else _millis(head.deadline),
        )

    def _candidate(self, machine: Machine, now: float) -> Candidate:
        return Candidate(
            backend_id=machine.id,
            epoch=1,
            unavailable=None if machine.takes_work(now) else "it is closed",
            capabilities=machine.labels,
            slots=1,
            running=self._running.get(machine.id, 0),
            catalogue=EVERYTHING,
        )

    def ended(self, machine: Machine, task: Task, seconds: float, now: float, *, rendered: bool) -> None:
        self._running[machine.id] = 0
        self.experience.ended(str(task.id), machine.id, _millis(now), rendered=rendered, seconds=seconds)
        if not rendered:
            self.experience.emptied(machine.id)


def _millis(now: float) -> int:
    return _EPOCH + round(1000 * now)


def trained(machines: Sequence[Machine], tasks: Iterable[Task], rng: random.Random, times: int = 3) -> Experience:
    """The experience of a farm that has rendered some of each kind on each machine before, 5 % off each time.

    Nothing is warm: it was switched off overnight.
    """
    experience = Experience()
    kinds = {(task.kind, task.model): task for task in tasks}
    for machine in machines:
        for task in kinds.values():
            for _ in range(times):
                seconds = render_seconds(machine, task) * rng.uniform(0.95, 1.05)
                experience.speeds.rendered(machine.id, task.kind, 1.0, seconds)
            if task.model:
                experience.speeds.loaded(machine.id, task.model, load_seconds(machine, task) * rng.uniform(0.95, 1.05))
    return experience
