"""How busy a farm is kept: `python -m benchmarks.utilization`.

4, 32 and 128 machines, equal and unequal (paces from 1 to 6), one model and a mix of four that must be loaded; renders
of 50 ms to 2 s, all there at the start, in a fake clock. The product's own decision, once with speeds learned the day
before and once with none, against what no schedule can beat, a list schedule that knows the future, and three rivals.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bounds import clairvoyant, least_loads, lower_bound
from benchmarks.reporting import Report, machine
from benchmarks.rivals import FirstFree, LeastDepth, RoundRobin
from benchmarks.simulation import Machine, Placed, Policy, Simulation, Task, trained

_KINDS = 4  # workflows for each model


@dataclass(frozen=True, kw_only=True)
class Spans:
    """How long work takes: the least and the most, seconds.

    Attributes:
        render: of a render on a machine of pace 1.
        load: of loading a model.
    """

    render: tuple[float, float]
    load: tuple[float, float]


_SHORT = Spans(render=(0.05, 2.0), load=(1.0, 3.0))
_LONG = Spans(render=(5.0, 30.0), load=(20.0, 40.0))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A farm and its work."""

    name: str
    machines: Sequence[Machine]
    tasks: Sequence[Task]
    mixed: bool


def scenes(seed: int, each: int, sizes: Sequence[int]) -> Iterator[Scene]:
    """Every combination.

    Args:
        seed: of chance.
        each: how many jobs there are for each machine, on the average.
        sizes: of the farms.
    """
    for size in sizes:
        for unequal in (False, True):
            for models in (1, 4):
                rng = random.Random(f"{seed}/{size}/{unequal}/{models}")
                paces = [1.0 + 5.0 * number / (size - 1) for number in range(size)] if unequal else [1.0] * size
                name = f"{size} {'unequal' if unequal else 'equal'}, {'four models' if models == 4 else 'one model'}"
                tasks = list(_tasks(rng, each * size, models, _SHORT))
                yield Scene(name=name, machines=_farm(paces), tasks=tasks, mixed=models > 1)


def _farm(paces: Sequence[float]) -> list[Machine]:
    return [Machine(id=f"gpu-{number:03}", pace=pace) for number, pace in enumerate(paces)]


def _tasks(rng: random.Random, count: int, models: int, spans: Spans) -> Iterator[Task]:
    shortest, longest = spans.render
    kinds = [
        (f"model-{m}", f"workflow-{m}-{k}", rng.uniform(*spans.render)) for m in range(models) for k in range(_KINDS)
    ]
    loads = {f"model-{m}": rng.uniform(*spans.load) for m in range(models)}
    for number in range(count):
        model, kind, typical = rng.choice(kinds)
        seconds = min(longest, max(shortest, typical * rng.uniform(0.9, 1.1)))
        yield Task(id=number, model=model, kind=kind, seconds=seconds, load=loads[model])


def hours(seed: int) -> Iterator[Scene]:
    """Work of an hour and more, also with more models than machines."""
    for paces, models in (([1.0] * 4, 4), ([1.0, 2.0, 3.0, 6.0], 4), ([1.0], 3)):
        rng = random.Random(f"{seed}/hours/{paces}/{models}")
        alike = "unequal" if len(set(paces)) > 1 else "equal"
        yield Scene(
            name=f"{len(paces)} {alike}, {models} models",
            machines=_farm(paces),
            tasks=list(_tasks(rng, 200 * len(paces), models, _LONG)),
            mixed=True,
        )


def compared(scene: Scene, seed: int) -> Iterator[dict[str, Any]]:
    """One row for each who schedules a scene."""
    bound = lower_bound(scene.machines, scene.tasks)
    best, best_loads = clairvoyant(scene.machines, scene.tasks)
    rng = random.Random(seed)
    who: list[tuple[str, Policy]] = [
        ("ours", Placed(trained(scene.machines, scene.tasks, rng))),
        ("ours, nothing learned", Placed()),
        ("round robin", RoundRobin(scene.machines)),
        ("least queue depth", LeastDepth(scene.machines)),
        ("first free", FirstFree()),
    ]
    for name, policy in who:
        start = time.perf_counter()
        outcome = Simulation(scene.machines, scene.tasks, policy).run()
        took = time.perf_counter() - start
        least = least_loads(scene.machines, scene.tasks, outcome.makespan)
        yield _row(scene, name, outcome.makespan, bound, best, outcome.loads, least, outcome.idle_waiting, took)
    least = least_loads(scene.machines, scene.tasks, best)
    yield _row(scene, "clairvoyant list", best, bound, best, best_loads, least, 0.0, 0.0)


def _row(
    scene: Scene,
    name: str,
    makespan: float,
    bound: float,
    best: float,
    loads: int,
    least: int,
    idle: float,
    took: float,
) -> dict[str, Any]:
    return {
        "farm": scene.name,
        "who": name,
        "makespan s": round(makespan, 2),
        "over bound": round(makespan / bound, 3),
        "over clairvoyant": round(makespan / best, 3),
        "loads": loads,
        "least": least,
        "over least": round(loads / least, 2) if least else "",
        "idle while waiting %": round(100 * idle, 2),
        "ms each": round(1000 * took / len(scene.tasks), 2),
    }


def _goals(report: Report, rows: Sequence[dict[str, Any]]) -> None:
    """The worst scene of each sort, and the rival that comes nearest."""
    ours = [row for row in rows if row["who"] == "ours"]
    alike = [row["over bound"] for row in ours if " equal, one model" in row["farm"]]
    other = [row["over bound"] for row in ours if " equal, one model" not in row["farm"]]
    report.goal("equal machines, one model: makespan over the bound, worst", max(alike), most=1.03)
    report.goal("mixed machines or models: makespan over the bound, worst", max(other), most=1.10)
    loads = [row["over least"] for row in ours if "four models" in row["farm"] and row["over least"]]
    report.goal("loads over the least possible, worst", max(loads, default=1.0), most=1.1)
    mine = {row["farm"]: row["makespan s"] for row in ours}
    rivals = [
        row["makespan s"] / mine[row["farm"]] for row in rows if row["who"] in ("round robin", "least queue depth")
    ]
    report.goal("makespan of the nearer of both rivals over ours, worst", min(rivals), least=1)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=40, help="jobs for each machine")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 32, 128])
    options = parser.parse_args()
    rows = [row for scene in scenes(options.seed, options.each, options.sizes) for row in compared(scene, options.seed)]
    report = Report("utilization", "How busy a farm is kept (makespan over what no schedule can beat)", machine())
    report.table("utilization", rows)
    long = [row for scene in hours(options.seed) for row in compared(scene, options.seed)]
    report.table("hours of work", long)
    worst = max(row["over bound"] for row in long if row["who"] in ("ours", "ours, nothing learned"))
    report.goal("hours of work: makespan over the bound, worst, also with nothing learned", worst, most=1.10)
    bars = [(f"{row['farm']}: {row['who']}", row["over bound"]) for row in rows]
    report.bars("Makespan over the lower bound", bars, 1.03)
    _goals(report, rows)
    report.notes.append(
        "To keep m machines busy with n models until one common end takes m + n - 1 loads: each machine loads once, "
        "and all but one of the models are helped by a machine that had another. One load less is enough for each set "
        "of models whose work happens to fit some of the machines, to within the seconds that the makespan leaves: "
        "those are the least loads of the table, and an integer program over all ways finds as many. Ours looks for no "
        "such fit, it gives jobs as machines become free: 4 unequal machines with four models pay 4 + 4 - 1. With the "
        "seeds 1 to 40 they pay 6 to 9 loads where 5 or 6 are possible, at the least 1.17 times as many. Tried and not "
        "taken was to plan such groups at the start: a plan leaves a model to whoever comes to it later, which whoever "
        "has waited for long does not wait for. In hours of work, a backend of pace 6 is not free for up to three "
        "minutes, so that it does not count as one that serves its model: that is where the loads of its row are paid."
    )
    report.write(options.out)


if __name__ == "__main__":
    main()
