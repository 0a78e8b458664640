"""What no schedule can beat, and what somebody who knows the future would do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, combinations_with_replacement, pairwise, product
from math import ceil

from benchmarks.simulation import Machine, Task, load_seconds, render_seconds


def lower_bound(machines: Sequence[Machine], tasks: Sequence[Task]) -> float:
    """The least makespan that any schedule of work that is all there can have, seconds.

    The greatest of three: all work flows like water over the machines, each of which loads at least one model (the
    quickest) before it works; the longest job, on the machine that is done with it first; and on small farms (up to 4
    machines and 4 models) the best of all ways to say which machine loads which models, the work of each flowing like
    water over those that have it. Only the last counts that every model must be loaded somewhere: with few jobs for
    each machine that is much of the time. Machines must differ by their pace alone.
    """
    work = sum(task.seconds for task in tasks)
    models = {task.model: task for task in tasks}
    longest = max(tasks, key=lambda task: task.seconds)
    single = min(render_seconds(m, longest) + (load_seconds(m, longest) if longest.model else 0.0) for m in machines)
    starts = [(min(load_seconds(m, t) if t.model else 0.0 for t in models.values()), 1 / m.pace) for m in machines]
    small = len(machines) <= 4 and len(models) <= 4
    return max(single, _filled(sorted(starts), work), _with_loads(machines, tasks) if small else 0.0)


def _with_loads(machines: Sequence[Machine], tasks: Sequence[Task]) -> float:
    """The least makespan of work that flows like water, over all ways to give each machine models to load.

    For a set of models, those machines that load any of them must do all its work beside all that they load (the
    least cut of a flow); the hardest set decides.
    """
    models = sorted({task.model for task in tasks})
    work = [sum(task.seconds for task in tasks if task.model == model) for model in models]
    loads = [min(task.load for task in tasks if task.model == model) if model else 0.0 for model in models]
    any_set = range(1 << len(models))
    work_of, load_of = (
        [sum(n for at, n in enumerate(each) if some >> at & 1) for some in any_set] for each in (work, loads)
    )
    shares = [[(load_of[own] * m.load / m.pace, 1 / m.pace, own) for own in any_set] for m in machines]
    alike = len({(machine.pace, machine.load) for machine in machines}) == 1
    ways = combinations_with_replacement(shares[0], len(machines)) if alike else product(*shares)
    best = float("inf")
    for way in ways:
        best = min(best, _hardest(way, work_of, best))
    return best


def _hardest(way: Sequence[tuple[float, float, int]], work_of: Sequence[float], enough: float) -> float:
    """When the set of models that takes longest is done; as much as is `enough` if it is no less.

    Args:
        way: for each machine the seconds of work that its loads cost it, its speed, and the models that it loads.
        work_of: the seconds of work for each set of models.
        enough: what nobody wants to know more of.
    """
    hardest = 0.0
    for some in range(len(work_of) - 1, 0, -1):
        total, speed = work_of[some], 0.0
        for load, own_speed, own in way:
            if own & some:
                total += load
                speed += own_speed
        if not speed or total >= enough * speed:
            return enough
        hardest = max(hardest, total / speed)
    return hardest


def _filled(starts: Sequence[tuple[float, float]], work: float) -> float:
    """When `work` is done if each machine joins at its start with its speed."""
    speed, done = 0.0, 0.0
    for (start, own), (following, _) in pairwise([*starts, (float("inf"), 0.0)]):
        speed += own
        if done + speed * (following - start) >= work:
            return start + (work - done) / speed
        done += speed * (following - start)
    raise AssertionError("the last machine never stops")


def clairvoyant(machines: Sequence[Machine], tasks: Sequence[Task]) -> tuple[float, int]:
    """List schedules by somebody who knows every duration beforehand; the best of several orders.

    Each job in turn goes to the machine that ends it first, loads counted; also tried is to shun loads more than
    they cost.

    Returns:
        The makespan and the loads.
    """
    return min(_listed(machines, order, shun) for order in _orders(tasks) for shun in (1.0, 6.0))


def _orders(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    totals: dict[str, float] = defaultdict(float)
    for task in tasks:
        totals[task.model] += task.seconds
    keys: list[Callable[[Task], tuple[float, ...]]] = [
        lambda task: (-task.seconds,),
        lambda task: (-totals[task.model], -task.seconds),
        lambda task: (totals[task.model], -task.seconds),
    ]
    for key in keys:
        yield sorted(tasks, key=key)


def _listed(machines: Sequence[Machine], order: Sequence[Task], shun: float) -> tuple[float, int]:
    free = {machine.id: 0.0 for machine in machines}
    warm: dict[str, str] = {}
    loads = 0
    for task in order:

        def done(machine: Machine, times: float = shun, task: Task = task) -> float:
            cold = bool(task.model) and warm.get(machine.id) != task.model
            load = load_seconds(machine, task) * times if cold else 0.0
            return free[machine.id] + render_seconds(machine, task) + load

        best = min(machines, key=done)
        free[best.id] = done(best, 1.0)
        if task.model and warm.get(best.id) != task.model:
            loads += 1
            warm[best.id] = task.model
    return max(free.values()), loads


def least_loads(machines: Sequence[Machine], tasks: Sequence[Task], makespan: float) -> int:
    """The fewest loads with which work that flows like water could be done within a makespan; at least one a model.

    Machines and models that share work form groups; a group of m machines and n models needs m + n - 1 loads or more
    (it hangs together), so all need machines + models - groups. A machine that does some of a model has `makespan`
    less its load for it, so that all machines of a group together need a speed of at least the sum of work / (makespan
    - load) over its models: those are the fewest machines, counted for all groups with the fastest, and for each as if
    all were as fast as the fastest, whichever are more. Of all ways to group the models the best one counts. Where all
    partitions of machines can be tried (up to 4 machines), it is known which groups balance.

    Machines must load a model in the same time.
    """
    works: dict[str, float] = defaultdict(float)
    loads: dict[str, float] = {}
    for task in tasks:
        if task.model:
            works[task.model] += task.seconds
            loads[task.model] = task.load
    needs = {model: work / (makespan - loads[model] * machines[0].load) for model, work in works.items()}
    if not needs:
        return 0
    speeds = sorted((1 / machine.pace for machine in machines), reverse=True)
    if len(machines) <= 4:
        return _least_by_trying(speeds, needs)
    used = next(n for n, speed in enumerate(accumulate(speeds), 1) if speed + 1e-9 >= sum(needs.values()))
    return min(_least_of(groups, speeds[0], used) for groups in _partitions(list(needs.values())))


def _least_of(groups: Sequence[Sequence[float]], fastest: float, used: int) -> int:
    """The loads of one way to group models, given by the speed that each needs; of at least `used` machines."""
    machines = sum(ceil(sum(group) / fastest - 1e-9) for group in groups)
    return max(used, machines) + sum(len(group) - 1 for group in groups)


def _least_by_trying(speeds: Sequence[float], needs: Mapping[str, float]) -> int:
    """Every way to let models share groups of machines; a group may use any of its machines."""
    best = len(speeds) * len(needs)
    models = sorted(needs)
    for machine_groups in _partitions([*speeds]):
        for model_groups in _assignments(models, len(machine_groups)):
            count = 0
            for group, own in zip(machine_groups, model_groups, strict=True):
                if not own:
                    continue
                if sum(group) + 1e-9 < sum(needs[model] for model in own):
                    break
                count += len(group) + len(own) - 1
            else:
                best = min(best, count)
    return best


def _partitions(items: list[float]) -> Iterator[list[list[float]]]:
    if not items:
        yield []
        return
    head, *rest = items
    for groups in _partitions(rest):
        yield [[head], *groups]
        for number, group in enumerate(groups):
            yield [*groups[:number], [head, *group], *groups[number + 1 :]]


def _assignments(models: Sequence[str], groups: int) -> Iterator[list[list[str]]]:
    if not models:
        yield [[] for _ in range(groups)]
        return
    for rest in _assignments(models[1:], groups):
        for number in range(groups):
            yield [[*own, models[0]] if at == number else own for at, own in enumerate(rest)]
