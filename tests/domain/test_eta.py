"""When a queued job will be begun and done."""

from __future__ import annotations

import random

import pytest

from benchmarks.simulation import Machine, Placed, Simulation, Task, trained
from orchestrator_mcp.domain.eta import Wait
from orchestrator_mcp.domain.experience import Experience
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import Candidate, Eligibility, Lane

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
    found = wait(known, farm, lanes, number).at(position)
    return None if found is None else round(found.mean, 1)


def wait(known: Experience, farm: list[Candidate], lanes: list[Lane], number: int) -> Wait:
    """What a lane waits for, with all that is known."""
    outlook, able = known.outlook(farm, NOW), Eligibility()
    told = {one.id: one for one in outlook.known(lanes)}
    return Wait(
        told[number], told.values(), outlook.candidates, lambda one, candidate: able.can_run(one.spec, candidate), NOW
    )


def test_the_next_job_of_an_idle_farm_takes_its_render() -> None:
    assert seconds(knowing("a", "b"), [gpu("a"), gpu("b")], [lane(1)], 1, 0) == 10.0


def test_what_goes_before_it_flows_over_all_who_can() -> None:
    known, farm = knowing("a", "b"), [gpu("a"), gpu("b")]
    assert seconds(known, farm, [lane(1, count=9)], 1, 8) == 47.5
    assert seconds(known, farm, [lane(1, count=9), lane(2, priority=1, count=4)], 1, 8) == 67.5
    assert seconds(known, farm, [lane(1, count=9), lane(2, priority=-1, count=4)], 1, 8) == 47.5
    assert seconds(known, farm, [lane(1, count=9, source="x"), lane(2, source="y", count=400)], 1, 8) == 92.5


@pytest.mark.parametrize("machines", [1, 2, 5, 8])
def test_what_is_said_of_a_queue_is_neither_too_long_nor_too_short_on_the_whole(machines: int) -> None:
    names = [f"g{number}" for number in range(machines)]
    known, farm, count = knowing(*names), [gpu(name) for name in names], 5 * machines
    told = [seconds(known, farm, [lane(1, count=count)], 1, position) for position in range(count)]
    taken = [10.0 * (position // machines + 1) for position in range(count)]
    assert None not in told
    off = [said - took for said, took in zip(told, taken, strict=True) if said is not None]
    assert abs(sum(off)) <= 0.05 * sum(taken) and max(map(abs, off)) <= 5.0, "half a render at the most"


def test_what_cannot_be_known_is_not_said() -> None:
    known = knowing("a")
    assert seconds(known, [gpu("a", unavailable="it is offline")], [lane(1)], 1, 0) is None
    assert seconds(known, [gpu("a")], [lane(1, label="rare")], 1, 0) is None
    assert seconds(known, [gpu("a", running=1)], [lane(1)], 1, 0) is None, "it was not told what runs there"
    assert seconds(Experience(), [gpu("a")], [lane(1)], 1, 0) is None


def test_what_is_said_of_the_end_of_a_batch_comes_true() -> None:
    machines = [Machine(id=f"g{n}", pace=pace) for n, pace in enumerate((1.0, 2.0, 3.0))]
    tasks = [Task(id=n, seconds=4.0) for n in range(60)]
    known = trained(machines, tasks, random.Random(1))
    spec = tasks[0].spec
    farm = [gpu(machine.id) for machine in machines]
    one = Lane(id=1, spec=spec, priority=0, since=NOW, count=60, signature="k")
    told = wait(known, farm, [one], 1).at(59)
    assert told is not None
    makespan = Simulation(machines, tasks, Placed(known)).run().makespan
    assert abs(told.mean - makespan) <= 0.15 * makespan


def place(lanes: list[Lane], number: int, position: int, farm: list[Candidate] | None = None) -> int:
    """The place of a job on one machine that can run everything, unless another farm is given."""
    return wait(Experience(), farm or [gpu("a")], lanes, number).place(position)


def test_jobs_of_sources_that_take_turns_have_places_in_turn_and_none_twice() -> None:
    lanes = [lane(1, source="x", count=3), lane(2, source="y", count=2), lane(3, source="z", count=9)]
    places = {place(lanes, one.id, position) for one in lanes for position in range(one.count)}
    assert places == set(range(1, 15))
    assert [place(lanes, 1, position) for position in range(3)] == [1, 4, 7]
    assert [place(lanes, 3, position) for position in range(4)] == [3, 6, 8, 9]


def test_a_place_counts_all_of_more_priority_and_nothing_of_less() -> None:
    lanes = [lane(1, count=5), lane(2, priority=1, count=400), lane(3, priority=-1, count=7)]
    assert [place(lanes, number, 0) for number in (1, 2, 3)] == [401, 1, 406]


def test_a_place_counts_only_what_the_same_backends_can_run_even_while_these_are_offline() -> None:
    lanes = [lane(1), lane(2, label="rare", count=9, priority=1)]
    assert place(lanes, 1, 0) == 1
    assert place(lanes, 1, 0, [gpu("a", capabilities=frozenset({"rare"}))]) == 10
    assert place(lanes, 1, 0, [gpu("a", capabilities=frozenset({"rare"}), unavailable="it is offline")]) == 10
