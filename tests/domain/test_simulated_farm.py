"""The choice at work, on farms in a fake clock: nothing here depends on how fast this machine is."""

from __future__ import annotations

import random

import pytest

from benchmarks.bounds import clairvoyant, least_loads, lower_bound
from benchmarks.rivals import FirstFree, LeastDepth, RoundRobin
from benchmarks.simulation import Machine, Outcome, Placed, Policy, Simulation, Task, trained
from benchmarks.utilization import Scene, scenes
from orchestrator_mcp.domain.experience import Experience
from orchestrator_mcp.domain.limits import Limit
from orchestrator_mcp.domain.placement import PATIENCE

SCENES = {scene.name: scene for scene in scenes(seed=7, each=25, sizes=[4, 16])}


def run(scene: Scene, policy: Policy) -> Outcome:
    outcome = Simulation(scene.machines, scene.tasks, policy).run()
    assert len(outcome.ended) == len(scene.tasks), "every job was rendered"
    return outcome


@pytest.mark.parametrize("name", SCENES)
def test_a_batch_ends_near_the_bound_and_before_both_rivals(name: str) -> None:
    scene = SCENES[name]
    ours = run(scene, Placed(trained(scene.machines, scene.tasks, random.Random(1))))
    over_bound = ours.makespan / lower_bound(scene.machines, scene.tasks)
    assert over_bound <= (1.15 if scene.mixed else 1.03)
    for rival in (RoundRobin(scene.machines), LeastDepth(scene.machines)):
        assert ours.makespan < run(scene, rival).makespan
    least = least_loads(scene.machines, scene.tasks, ours.makespan)
    assert ours.loads <= max(least + 3, 1.2 * least)


def test_models_do_not_change_places_because_a_batch_takes_longer_than_patience() -> None:
    [scene] = [one for one in scenes(seed=6, each=40, sizes=[4]) if one.name == "4 unequal, four models"]
    ours = run(scene, Placed(trained(scene.machines, scene.tasks, random.Random(1))))
    assert ours.makespan > PATIENCE / 1000
    assert ours.loads <= 8


@pytest.mark.parametrize("name", SCENES)
def test_a_farm_that_knows_nothing_learns_soon_enough(name: str) -> None:
    scene = SCENES[name]
    ours = run(scene, Placed())
    assert ours.makespan <= 1.25 * lower_bound(scene.machines, scene.tasks)
    assert ours.makespan <= 1.01 * run(scene, FirstFree()).makespan


@pytest.mark.parametrize("name", SCENES)
def test_nobody_beats_the_bound(name: str) -> None:
    scene = SCENES[name]
    bound = lower_bound(scene.machines, scene.tasks)
    makespan, loads = clairvoyant(scene.machines, scene.tasks)
    assert makespan >= bound
    assert loads >= least_loads(scene.machines, scene.tasks, makespan)
    for policy in (Placed(), FirstFree(), RoundRobin(scene.machines)):
        outcome = run(scene, policy)
        assert outcome.makespan >= bound
        assert outcome.loads >= least_loads(scene.machines, scene.tasks, outcome.makespan)


def test_the_bound_counts_that_every_model_must_be_loaded_somewhere() -> None:
    machines = [Machine(id="a"), Machine(id="b")]
    light = [Task(id=n, kind="k", model="light", seconds=1.0, load=1.0) for n in range(4)]
    heavy = Task(id=4, kind="h", model="heavy", seconds=0.9, load=5.0)
    assert lower_bound(machines, [*light, heavy]) == pytest.approx(5.9)
    assert clairvoyant(machines, [*light, heavy])[0] == pytest.approx(5.9)
    assert lower_bound(machines[:1], [*light, heavy]) == pytest.approx(10.9)


def test_the_least_loads_count_the_card_that_two_models_would_have_to_share() -> None:
    machines = [Machine(id=f"g{number}") for number in range(8)]
    tasks = [Task(id=n, kind=f"k{n % 2}", model=f"m{n % 2}", seconds=1.0, load=1.0) for n in range(70)]
    assert least_loads(machines, tasks, makespan=11.0) == 8, (
        "3.5 cards for each model: 4 and 4, or 7 of which one does both"
    )
    assert least_loads(machines, tasks, makespan=13.0) == 6
    assert least_loads(machines, tasks, makespan=36.0) == 2


def films(machines: int, models: int, count: int) -> Scene:
    """Jobs of a quarter to half a minute, three workflows for each model, with loads to match; all come at once."""
    tasks = [
        Task(id=n, kind=f"k{n % models}-{n % 3}", model=f"m{n % models}", seconds=15.0 + 5 * (n % 3), load=30.0)
        for n in range(count)
    ]
    farm = [Machine(id=f"gpu-{number}") for number in range(machines)]
    return Scene(name="films", machines=farm, tasks=tasks, mixed=True)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize(
    ("machines", "models", "jobs", "over_bound", "loads"),
    [(4, 4, 800, 1.02, 7), (1, 3, 200, 1.05, 6)],
    ids=["a card for each model", "more models than cards"],
)
def test_hours_of_work_change_models_seldom(
    machines: int, models: int, jobs: int, over_bound: float, loads: int, learned: bool
) -> None:
    scene = films(machines, models, jobs)
    ours = run(scene, Placed(trained(scene.machines, scene.tasks, random.Random(1)) if learned else None))
    assert ours.makespan <= over_bound * lower_bound(scene.machines, scene.tasks)
    assert ours.loads <= loads


def test_two_models_on_one_card_change_places_seldom() -> None:
    tasks = [Task(id=n, kind=f"k{n % 2}", model=f"m{n % 2}", seconds=1.4, load=1.8) for n in range(24)]
    scene = Scene(name="one card", machines=[Machine(id="a")], tasks=tasks, mixed=True)
    assert run(scene, Placed()).loads == 2
    assert run(scene, FirstFree()).loads == 24


def test_a_failed_machine_costs_its_render_and_nothing_else() -> None:
    machines = [Machine(id="a", down=((5.5, 20.0),)), Machine(id="b")]
    tasks = [Task(id=n, seconds=1.0) for n in range(20)]
    outcome = run(Scene(name="", machines=machines, tasks=tasks, mixed=False), Placed())
    assert outcome.lost == 1
    assert outcome.makespan == pytest.approx(15.0)


def test_a_closed_machine_is_left_in_peace() -> None:
    machines = [Machine(id="night", open_at=lambda now: now >= 100.0), Machine(id="rack", pace=4.0)]
    tasks = [Task(id=n, seconds=10.0) for n in range(10)]
    outcome = run(Scene(name="", machines=machines, tasks=tasks, mixed=False), Placed())
    assert outcome.busy["night"] == pytest.approx(10.0 * (10 - outcome.busy["rack"] / 40.0))
    assert min(end for task, end in outcome.ended.items() if outcome.began[task] >= 100) >= 110


def test_a_limit_is_kept_from_the_first_job_to_the_last() -> None:
    machines = [Machine(id=f"g{n}", labels=frozenset({"wan"})) for n in range(4)]
    films = [Task(id=n, kind="film", seconds=5.0, labels=frozenset({"wan"})) for n in range(6)]
    stills = [Task(id=10 + n, kind="still", seconds=1.0) for n in range(30)]
    experience = Experience(limits=[Limit(name="wan", most=2, label="wan")])
    scene = Scene(name="", machines=machines, tasks=[*films, *stills], mixed=False)
    outcome = run(scene, Placed(experience))
    spans = [(outcome.began[task.id], outcome.ended[task.id]) for task in films]
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) == 2
    assert outcome.makespan == pytest.approx(15.0)


def test_an_urgent_job_waits_for_a_slot_only() -> None:
    batch = [Task(id=n, seconds=3.0, source="batch") for n in range(100)]
    urgent = [Task(id=100 + n, seconds=1.0, source="me", priority=5, arrives=7.0 + 20 * n) for n in range(4)]
    machines = [Machine(id=f"g{n}") for n in range(2)]
    outcome = run(Scene(name="", machines=machines, tasks=[*batch, *urgent], mixed=False), Placed())
    assert all(outcome.began[task.id] - task.arrives <= 3.0 for task in urgent)


def test_a_small_project_is_not_held_up_by_a_large_one() -> None:
    large = [Task(id=n, seconds=1.0, source="large") for n in range(400)]
    small = [Task(id=400 + n, seconds=1.0, source="small", arrives=10.0) for n in range(20)]
    machines = [Machine(id=f"g{n}") for n in range(4)]
    outcome = run(Scene(name="", machines=machines, tasks=[*large, *small], mixed=False), Placed())
    assert max(outcome.ended[task.id] for task in small) <= 10.0 + 20 / 2 + 2.0
