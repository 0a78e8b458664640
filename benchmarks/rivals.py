"""What a script or the usual dispatcher does, for comparison."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

from benchmarks.simulation import Machine, Task


class _Bound:
    """What binds a job to a machine as soon as it arrives."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines
        self._queues: dict[str, deque[Task]] = {machine.id: deque() for machine in machines}
        self._depth = {machine.id: 0 for machine in machines}

    def pick(self, able: Sequence[Machine]) -> Machine:
        raise NotImplementedError

    def arrived(self, task: Task, now: float) -> None:
        able = [machine for machine in self._machines if task.labels <= machine.labels]
        machine = self.pick([one for one in able if one.takes_work(now)] or able)
        self._queues[machine.id].append(task)
        self._depth[machine.id] += 1

    def decide(self, free: Sequence[Machine], everybody: Sequence[Machine], now: float) -> list[tuple[Machine, Task]]:
        return [(machine, self._queues[machine.id].popleft()) for machine in free if self._queues[machine.id]]

    def ended(self, machine: Machine, task: Task, seconds: float, now: float, *, rendered: bool) -> None:
        self._depth[machine.id] -= 1


class RoundRobin(_Bound):
    """A script that deals jobs out in turn."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        super().__init__(machines)
        self._turn = itertools.count()

    def pick(self, able: Sequence[Machine]) -> Machine:
        return able[next(self._turn) % len(able)]


class LeastDepth(_Bound):
    """What the usual dispatcher does: the machine with the shortest queue."""

    def pick(self, able: Sequence[Machine]) -> Machine:
        return min(able, key=lambda machine: self._depth[machine.id])


class FirstFree:
    """One queue, first in first out; whoever is free takes the next."""

    def __init__(self) -> None:
        self._queue: list[Task] = []

    def arrived(self, task: Task, now: float) -> None:
        self._queue.append(task)

    def decide(self, free: Sequence[Machine], everybody: Sequence[Machine], now: float) -> list[tuple[Machine, Task]]:
        pairs = []
        left = list(free)
        at = 0
        while left and at < len(self._queue):
            task = self._queue[at]
            machine = next((one for one in left if task.labels <= one.labels), None)
            if machine is None:
                at += 1
                continue
            left.remove(machine)
            pairs.append((machine, task))
            del self._queue[at]
        return pairs

    def ended(self, machine: Machine, task: Task, seconds: float, now: float, *, rendered: bool) -> None:
        pass
