"""Whether sources get their shares, and a week in a studio: `python -m benchmarks.fairness`.

First a saturated farm: equal sources (and then weighted ones) whose queues never run dry. What each was given must
follow its exact share within one job for each slot. Then a week in a fake clock: four projects of unequal appetite,
an artist who wants previews at once, deliveries with deadlines, workstations that render at night only, and machines
that fail; compared with one queue for all, first in first out, and with the shortest queue.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.reporting import Report, machine
from benchmarks.rivals import FirstFree, LeastDepth
from benchmarks.simulation import Machine, Outcome, Placed, Policy, Simulation, Task
from orchestrator_mcp.domain.experience import Experience
from orchestrator_mcp.domain.opening_hours import OpeningHours

MONDAY: Final = datetime(2026, 11, 23, tzinfo=UTC)
NIGHTS: Final = OpeningHours.parse("Mon-Fri 19:00-08:00, Sat-Sun", UTC)
HOUR: Final = 3600.0
WEEK: Final = 7 * 24 * HOUR


@dataclass(frozen=True, kw_only=True)
class Saturated:
    """Sources whose queues never run dry.

    Attributes:
        name: of the scene.
        weights: source -> weight.
        lengths: source -> seconds of its jobs.
        slots: how many machines.
    """

    name: str
    weights: Mapping[str, float]
    lengths: Mapping[str, float]
    slots: int


class Counting(Placed):
    """Notes how far the shares are off, whenever a job is given."""

    def __init__(self, experience: Experience, scene: Saturated) -> None:
        super().__init__(experience)
        self._scene = scene
        self.worst = 0.0
        self.given: Counter[str] = Counter()

    def decide(self, free: Sequence[Machine], everybody: Sequence[Machine], now: float) -> list[tuple[Machine, Task]]:
        pairs = super().decide(free, everybody, now)
        self.given.update(task.source for _, task in pairs)
        weights, lengths = self._scene.weights, self._scene.lengths
        work = {source: self.given[source] * lengths[source] for source in weights}
        for source, weight in weights.items():
            exact = sum(work.values()) * weight / sum(weights.values())
            self.worst = max(self.worst, abs(work[source] - exact) / lengths[source])
        return pairs


def saturated() -> Iterator[dict[str, Any]]:
    """How far each source was ever off its exact share, in jobs of its own."""
    many = {f"s{number}": 1.0 for number in range(5)}
    scenes = [
        Saturated(name="5 equal sources, 1 slot", weights=many, lengths=dict.fromkeys(many, 1.0), slots=1),
        Saturated(name="5 equal sources, 16 slots", weights=many, lengths=dict.fromkeys(many, 1.0), slots=16),
        Saturated(
            name="short and long jobs, 16 slots",
            weights={"short": 1.0, "long": 1.0},
            lengths={"short": 1.0, "long": 10.0},
            slots=16,
        ),
        Saturated(
            name="weights 1, 2, 4, 16 slots",
            weights={"a": 1.0, "b": 2.0, "c": 4.0},
            lengths=dict.fromkeys("abc", 1.0),
            slots=16,
        ),
    ]
    for scene in scenes:
        machines = [Machine(id=f"gpu-{number:02}") for number in range(scene.slots)]
        experience = Experience(weights=scene.weights)
        for machine_ in machines:
            for source, seconds in scene.lengths.items():
                experience.speeds.rendered(machine_.id, source, 1.0, seconds)
        tasks = [
            Task(id=number * len(scene.weights) + at, source=source, kind=source, seconds=scene.lengths[source])
            for number in range(100 * scene.slots)
            for at, source in enumerate(scene.weights)
        ]
        policy = Counting(experience, scene)
        simulation = Simulation(machines, tasks, policy)
        simulation.run(until=60.0)
        goal = scene.slots
        yield {
            "scene": scene.name,
            "jobs given": policy.given.total(),
            "worst, in jobs": round(policy.worst, 2),
            "goal": goal,
        }


def studio() -> list[Machine]:
    """Three unequal machines in the rack, of which two fail now and then, and three workstations that work at night."""
    paces = (1.0, 1.4, 2.2)
    failures = {
        1: ((33 * HOUR, 36 * HOUR),),
        2: tuple(((day * 24 + 12) * HOUR, (day * 24 + 13) * HOUR) for day in range(7)),
    }
    rack = [Machine(id=f"rack-{at}", pace=pace, down=failures.get(at, ())) for at, pace in enumerate(paces)]
    desks = [Machine(id=f"desk-{at}", pace=2.0, open_at=_at_night) for at in range(3)]
    return rack + desks


def _at_night(now: float) -> bool:
    return NIGHTS.is_open(MONDAY + timedelta(seconds=now))


def traffic(rng: random.Random) -> list[Task]:
    """A week of it: who asks, what for, and by when."""
    wishes = list(_wishes(rng))
    return [replace(task, id=number) for number, task in enumerate(sorted(wishes, key=lambda task: task.arrives))]


def _wishes(rng: random.Random) -> Iterator[Task]:
    """Batches of projects by day, previews all day long, and a delivery each evening."""
    kinds = {
        "feature": ("flux", 60.0, 25.0, 1.0),
        "series": ("sdxl", 20.0, 12.0, 1.0),
        "advert": ("wan", 400.0, 40.0, 1.0),
        "library": ("sdxl", 25.0, 12.0, 2.0),
    }
    for day in range(7):
        for project, (model, seconds, load, appetite) in kinds.items():
            for _ in range(2 if day < 5 else 1):
                start = (day * 24 + rng.uniform(9, 18)) * HOUR
                for _ in range(round(rng.uniform(0.6, 1.4) * appetite * 18_000 / seconds)):
                    yield _task(project, model, seconds * rng.uniform(0.7, 1.3), load, start)
        if day < 5:
            for _ in range(150):
                arrives = (day * 24 + rng.uniform(9, 19)) * HOUR
                yield _task("preview", "sdxl", rng.uniform(4, 9), 12.0, arrives, priority=5)
            for _ in range(60):
                arrives, due = (day * 24 + 15) * HOUR, (day * 24 + 20) * HOUR
                yield replace(_task("delivery", "flux", rng.uniform(30, 50), 25.0, arrives), deadline=due)


def _task(source: str, model: str, seconds: float, load: float, arrives: float, priority: int = 0) -> Task:
    kind = f"{source}-{model}"
    return Task(
        id=0, source=source, kind=kind, model=model, seconds=seconds, load=load, arrives=arrives, priority=priority
    )


def week(seed: int) -> Iterator[dict[str, Any]]:
    """One row for each who runs the studio."""
    machines, tasks = studio(), traffic(random.Random(seed))
    policies: list[tuple[str, Policy]] = [
        ("ours, nothing learned", Placed()),
        ("first in, first out", FirstFree()),
        ("least queue depth", LeastDepth(machines)),
    ]
    for name, policy in policies:
        yield {"who": name, **_week_row(machines, tasks, Simulation(machines, tasks, policy).run())}


def _week_row(machines: Sequence[Machine], tasks: Sequence[Task], outcome: Outcome) -> dict[str, Any]:
    waits: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        if task.id in outcome.ended:
            waits[task.source].append(outcome.began[task.id] - task.arrives)
    due = [task for task in tasks if task.deadline is not None]
    missed = [task for task in due if outcome.ended.get(task.id, 1e18) > (task.deadline or 0.0)]
    previews = sorted(waits["preview"])
    open_seconds = sum(m.takes_work(minute * 60.0) * 60 for m in machines for minute in range(round(WEEK / 60)))
    return {
        "jobs": f"{len(outcome.ended)} of {len(tasks)}",
        "machine time used %": round(100 * sum(outcome.busy.values()) / open_seconds, 1),
        "idle while waiting %": round(100 * outcome.idle_waiting, 2),
        "loads": outcome.loads,
        "lost to failures": outcome.lost,
        "preview wait, median s": round(median(previews)),
        "preview wait, p95 s": round(previews[int(0.95 * len(previews))]),
        "deadlines missed": f"{len(missed)} of {len(due)}",
        "Jain's index": round(fairness(tasks, outcome), 3),
        "all done after h": round(outcome.makespan / HOUR, 1),
    }


def fairness(tasks: Sequence[Task], outcome: Outcome) -> float:
    """Jain's index of the work that projects got in an hour in which each had more waiting; the mean of such hours."""
    waiting: dict[int, set[str]] = defaultdict(set)
    got: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for task in tasks:
        began, ended = outcome.began.get(task.id, WEEK), outcome.ended.get(task.id, WEEK)
        for hour in range(math.ceil(task.arrives / HOUR), math.floor(began / HOUR)):
            waiting[hour].add(task.source)
        for hour in range(math.floor(began / HOUR), math.floor(ended / HOUR) + 1):
            within = min(ended, (hour + 1) * HOUR) - max(began, hour * HOUR)
            got[hour][task.source] += task.seconds * within / max(1e-9, ended - began)
    hours = [(hour, sources - {"preview", "delivery"}) for hour, sources in waiting.items()]
    found = [jain([got[hour][source] for source in sources]) for hour, sources in hours if len(sources) > 1]
    return sum(found) / len(found) if found else 1.0


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1.0 when all fare alike, 1 / n when one has everything."""
    squares = sum(share**2 for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def _goals(report: Report, shares: Sequence[Mapping[str, Any]], ours: Mapping[str, Any]) -> None:
    """What equal sources are owed, and what a studio would notice first."""
    furthest = max(row["worst, in jobs"] / row["goal"] for row in shares)
    report.goal("furthest from the exact share, over one job for each slot", furthest, most=1)
    report.goal("a week: Jain's index of the projects", ours["Jain's index"], least=0.95)
    report.goal("a week: deadlines missed", int(ours["deadlines missed"].split()[0]), most=0)
    report.goal("a week: idle while work waited, %", ours["idle while waiting %"], most=1)


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report = Report("fairness", "Who gets how much, and a week in a studio", machine())
    shares = list(saturated())
    weeks = list(week(options.seed))
    report.table("a saturated farm", shares)
    report.table("a week in a studio", weeks)
    _goals(report, shares, weeks[0])
    report.bars("Furthest from the exact share, in jobs", [(row["scene"], row["worst, in jobs"]) for row in shares])
    report.bars("Jain's index of the projects", [(row["who"], row["Jain's index"]) for row in weeks])
    report.bars("Seconds that 95 % of previews waited at most", [(r["who"], r["preview wait, p95 s"]) for r in weeks])
    report.write(options.out)


if __name__ == "__main__":
    main()
