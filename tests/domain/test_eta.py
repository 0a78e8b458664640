"""When a queued job will be done."""

from __future__ import annotations

import random

from benchmarks.simulation import Machine, Placed, Simulation, Task, trained
from orchestrator_mcp.domain.experience import Experience
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Candidate, Lane

NOW = 10_000_000_000


class All:
    """Has everything."""

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


ALL = All()


def gpu(name: str, **more: object) -> Candidate:
    fields: dict[str, object] = {"unavailable": None, "capabilities": frozenset(), "running": 0, **more}
    return Candidate(backend_id=name, epoch=1, slots=1, catalogue=ALL, **fields)  # type: ignore[arg-type]


def lane(number: int, *, source: str = "", count: int = 1, priority: int = 0, label: str = "") -> Lane:
    spec = LaneSpec(source=source, capabilities=frozenset({label} if label else ()))
    return Lane(id=number, spec=spec, priority=priority, since=NOW, count=count, signature="k")


def knowing(*names: str) -> Experience:
    known = Experience()
    for name in names:
        for _ in range(3):
            known.speeds.rendered(name, "k", 1.0, 10.0)
    return known


def seconds(known: Experience, farm: list[Candidate], lanes: list[Lane], number: int, position: int) -> float | None:
    found = known.outlook(farm, NOW).eta(number, position, lanes)
    return None if found is None else round(found.mean, 1)


def test_the_next_job_of_an_idle_farm_takes_its_render() -> None:
    assert seconds(knowing("a", "b"), [gpu("a"), gpu("b")], [lane(1)], 1, 0) == 10.0


def test_what_goes_before_it_flows_over_all_who_can() -> None:
    known, farm = knowing("a", "b"), [gpu("a"), gpu("b")]
    assert seconds(known, farm, [lane(1, count=9)], 1, 8) == 50.0
    assert seconds(known, farm, [lane(1, count=9), lane(2, priority=1, count=4)], 1, 8) == 70.0
    assert seconds(known, farm, [lane(1, count=9), lane(2, priority=-1, count=4)], 1, 8) == 50.0
    assert seconds(known, farm, [lane(1, count=9, source="x"), lane(2, source="y", count=400)], 1, 8) == 95.0


def test_what_cannot_be_known_is_not_said() -> None:
    known = knowing("a")
    assert seconds(known, [gpu("a", unavailable="it is offline")], [lane(1)], 1, 0) is None
    assert seconds(known, [gpu("a")], [lane(1, label="rare")], 1, 0) is None
    assert seconds(known, [gpu("a", running=1)], [lane(1)], 1, 0) is None, "it was not told what runs there"
    assert seconds(Experience(), [gpu("a")], [lane(1)], 1, 0) is None
    assert seconds(known, [gpu("a")], [lane(1)], 2, 0) is None


def test_what_is_said_of_the_end_of_a_batch_comes_true() -> None:
    machines = [Machine(id=f"g{n}", pace=pace) for n, pace in enumerate((1.0, 2.0, 3.0))]
    tasks = [Task(id=n, seconds=4.0) for n in range(60)]
    known = trained(machines, tasks, random.Random(1))
    spec = tasks[0].spec
    farm = [gpu(machine.id) for machine in machines]
    one = Lane(id=1, spec=spec, priority=0, since=NOW, count=60, signature="k")
    told = known.outlook(farm, NOW).eta(1, 59, [one])
    assert told is not None
    makespan = Simulation(machines, tasks, Placed(known)).run().makespan
    assert abs(told.mean - makespan) <= 0.15 * makespan
