"""The pure choice, on random farms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile, Requirements
from orchestrator_mcp.domain.placement import AGEING, Candidate, Choice, Lane, choose, refusal, waiting_reasons

NOW = 10_000_000


@dataclass(frozen=True)
class Inventory:
    """What a backend has."""

    classes: frozenset[str] = frozenset({"KSampler"})
    models: tuple[str, ...] = ("sd15.safetensors",)
    listed: bool = field(default=True)

    def has_class(self, name: str) -> bool:
        return name in self.classes

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return self.models if self.listed else None


def backend(name: str = "a", **fields: object) -> Candidate:
    values: dict[str, object] = {
        "backend_id": name,
        "epoch": 1,
        "unavailable": None,
        "capabilities": frozenset(),
        "slots": 1,
        "running": 0,
        "catalogue": Inventory(),
    }
    return Candidate(**{**values, **fields})  # type: ignore[arg-type]


def lane(number: int = 1, *, priority: int = 0, waited: int = 0, count: int = 1, **spec: object) -> Lane:
    return Lane(
        id=number,
        spec=LaneSpec(**spec),  # type: ignore[arg-type]
        priority=priority,
        since=NOW - waited,
        count=count,
    )


def needing(*classes: str, model: str | None = None) -> Requirements:
    models = (
        {ModelFile(class_type="CheckpointLoaderSimple", input="ckpt_name", name=model)} if model is not None else set()
    )
    return Requirements(node_classes=frozenset(classes), models=frozenset(models))


CLASSES = st.frozensets(st.sampled_from(["KSampler", "SaveImage", "Rare"]))
LABELS = st.frozensets(st.sampled_from(["flux", "sdxl"]))
NAMES = ["a", "b", "c", "d"]
SPECS = st.builds(
    LaneSpec,
    source=st.sampled_from(["", "studio"]),
    capabilities=LABELS,
    pin=st.sampled_from([None, None, None, "a", "gone"]),
    avoid=st.frozensets(st.sampled_from(NAMES), max_size=1),
    model_key=st.sampled_from(["", "sd15", "flux"]),
    requirements=st.builds(Requirements, node_classes=CLASSES),
)
LANES = st.lists(
    st.builds(
        Lane,
        id=st.integers(1, 1000),
        spec=SPECS,
        priority=st.integers(-100, 100),
        since=st.integers(0, NOW),
        count=st.integers(1, 4),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)
FARMS = st.lists(
    st.builds(
        Candidate,
        backend_id=st.sampled_from(NAMES),
        epoch=st.just(1),
        unavailable=st.sampled_from([None, None, "it is offline"]),
        capabilities=LABELS,
        slots=st.integers(1, 2),
        running=st.integers(0, 2),
        catalogue=st.one_of(st.none(), st.builds(Inventory, classes=CLASSES), st.builds(Inventory, classes=CLASSES)),
        warm=st.sampled_from(["", "sd15", "flux"]),
    ),
    max_size=4,
    unique_by=lambda one: one.backend_id,
)


def fits(one: Lane, candidate: Candidate) -> bool:
    return candidate.catalogue is not None and refusal(one.spec, candidate) is None


@given(LANES, FARMS)
def test_nothing_is_given_beyond_a_slot_beyond_the_queue_or_to_a_backend_that_cannot(
    lanes: list[Lane], farm: list[Candidate]
) -> None:
    choices = choose(lanes, farm, NOW)
    candidates = {candidate.backend_id: candidate for candidate in farm}
    by_id = {one.id: one for one in lanes}
    given_to: Counter[str] = Counter()
    taken_from: Counter[int] = Counter()
    for choice in choices:
        candidate = candidates[choice.backend_id]
        assert candidate.unavailable is None
        assert fits(by_id[choice.lane_id], candidate)
        given_to[choice.backend_id] += choice.count
        taken_from[choice.lane_id] += choice.count
    assert all(candidates[name].running + count <= candidates[name].slots for name, count in given_to.items())
    assert all(count == 1 for count in given_to.values()), "a render first; its standby in a later round"
    assert all(count <= by_id[number].count for number, count in taken_from.items())


@given(LANES, FARMS)
def test_no_backend_stays_idle_while_a_job_waits_that_it_could_run(lanes: list[Lane], farm: list[Candidate]) -> None:
    choices = choose(lanes, farm, NOW)
    taken = Counter(choice.lane_id for choice in choices)
    used = {choice.backend_id for choice in choices}
    for candidate in farm:
        if candidate.idle and candidate.backend_id not in used:
            assert not [one for one in lanes if taken[one.id] < one.count and fits(one, candidate)]


@given(LANES, FARMS)
def test_a_standby_is_given_only_where_no_idle_backend_could_have_taken_the_job(
    lanes: list[Lane], farm: list[Candidate]
) -> None:
    choices = choose(lanes, farm, NOW)
    candidates = {candidate.backend_id: candidate for candidate in farm}
    by_id = {one.id: one for one in lanes}
    used = {choice.backend_id for choice in choices}
    for choice in choices:
        if candidates[choice.backend_id].running:
            left_idle = [one for one in farm if one.idle and one.backend_id not in used]
            assert not [one for one in left_idle if fits(by_id[choice.lane_id], one)]


@given(LANES, FARMS, st.randoms(use_true_random=False))
def test_the_order_in_which_lanes_and_backends_are_told_changes_nothing(
    lanes: list[Lane], farm: list[Candidate], random: object
) -> None:
    expected = choose(lanes, farm, NOW)
    mixed_lanes, mixed_farm = list(lanes), list(farm)
    random.shuffle(mixed_lanes)  # type: ignore[attr-defined]
    random.shuffle(mixed_farm)  # type: ignore[attr-defined]
    assert choose(mixed_lanes, mixed_farm, NOW) == expected


@given(LANES, FARMS)
def test_a_job_that_nobody_takes_is_told_a_reason_for_every_backend(lanes: list[Lane], farm: list[Candidate]) -> None:
    for one in lanes:
        told = list(waiting_reasons(one.spec, farm))
        assert [name for name, _ in told] == [candidate.backend_id for candidate in farm] or told[0][0] is None
        assert all(reason for _, reason in told)


def test_the_more_urgent_goes_first_and_then_the_older() -> None:
    lanes = [lane(1, waited=100), lane(2, waited=200), lane(3, priority=1)]
    farm = [backend("a")]
    order = []
    for _ in range(3):
        [choice] = choose(lanes, farm, NOW)
        order.append(choice.lane_id)
        lanes = [one for one in lanes if one.id != choice.lane_id]
    assert order == [3, 2, 1]


def test_of_one_source_the_older_job_goes_first_also_when_its_sort_was_just_served() -> None:
    older = replace(lane(1, waited=20_000, count=5, size=8), served=NOW - 100)
    younger = lane(2, waited=10_000, size=2)
    assert [choice.lane_id for choice in choose([younger, older], [backend()], NOW)] == [1]


def test_of_jobs_that_came_at_once_the_sort_goes_first_that_waits_longest() -> None:
    """Or the sorts at the end of a large batch would look forgotten, and have their models loaded everywhere."""
    just_served = replace(lane(1, waited=20_000, count=5, size=8), served=NOW - 100)
    others = [replace(lane(2, waited=20_000, size=4), served=NOW - 9_000), lane(3, waited=20_000, size=2)]
    choices = choose([just_served, *others], [backend("a"), backend("b"), backend("c")], NOW)
    assert [choice.lane_id for choice in choices] == [3, 2, 1]


def test_waiting_long_enough_outweighs_priority_so_that_nobody_starves() -> None:
    urgent = lane(1, priority=10)
    assert choose([urgent, lane(2, waited=9 * AGEING)], [backend()], NOW)[0].lane_id == 1
    assert choose([urgent, lane(2, waited=11 * AGEING)], [backend()], NOW)[0].lane_id == 2


def test_lanes_take_turns() -> None:
    farm = [backend(name) for name in "abcd"]
    choices = choose([lane(1, waited=9, count=9, source="x"), lane(2, count=9, source="y")], farm, NOW)
    assert [choice.lane_id for choice in choices] == [1, 2, 1, 2]


def test_a_backend_that_has_the_model_loaded_is_preferred() -> None:
    farm = [backend("a", warm="flux"), backend("b", warm="sd15")]
    assert choose([lane(model_key="sd15")], farm, NOW) == [Choice(lane_id=1, backend_id="b")]
    assert choose([lane(model_key="other")], farm, NOW) == [Choice(lane_id=1, backend_id="a")]


def test_a_standby_waits_for_a_busy_backend_only_while_none_is_idle() -> None:
    busy = backend("a", slots=2, running=1)
    assert choose([lane()], [busy], NOW) == [Choice(lane_id=1, backend_id="a")]
    assert choose([lane()], [busy, backend("b")], NOW) == [Choice(lane_id=1, backend_id="b")]
    assert choose([lane(count=2)], [busy, backend("b")], NOW) == [
        Choice(lane_id=1, backend_id="b"),
        Choice(lane_id=1, backend_id="a"),
    ]
    assert choose([lane()], [replace(busy, running=2)], NOW) == []


def test_a_backend_that_has_not_said_what_it_has_takes_nothing_and_refuses_nothing() -> None:
    silent = backend(catalogue=None)
    assert choose([lane()], [silent], NOW) == []
    assert refusal(LaneSpec(requirements=needing("Unknown")), silent) is None
    assert list(waiting_reasons(LaneSpec(), [silent])) == [("a", "it has not yet said which nodes and models it has")]


def test_folders_of_model_names_may_be_spelled_either_way() -> None:
    windows = backend(catalogue=Inventory(models=("sdxl\\base.safetensors",)))
    assert refusal(LaneSpec(requirements=needing(model="sdxl/base.safetensors")), windows) is None
    assert refusal(LaneSpec(requirements=needing(model="base.safetensors")), windows) is not None


def test_an_input_that_is_no_list_of_files_takes_every_model() -> None:
    assert refusal(LaneSpec(requirements=needing(model="any")), backend(catalogue=Inventory(listed=False))) is None


def test_every_reason_to_wait_is_told_in_words() -> None:
    spec = LaneSpec(capabilities=frozenset({"sdxl"}), avoid=frozenset({"b"}), requirements=needing("Rare"))
    able = Inventory(classes=frozenset({"Rare"}))
    label = frozenset({"sdxl"})
    farm = [
        backend("a"),
        backend("b", capabilities=label),
        backend("c", capabilities=label),
        backend("d", capabilities=label, catalogue=able, unavailable="it is offline"),
        backend("e", capabilities=label, catalogue=able, running=1),
        backend("f", capabilities=label, catalogue=able),
    ]
    assert list(waiting_reasons(spec, farm)) == [
        ("a", "it lacks the capabilities sdxl"),
        ("b", "an earlier attempt failed there"),
        ("c", "it lacks the node classes Rare"),
        ("d", "it is offline"),
        ("e", "it is busy with 1 of ours"),
        ("f", "it is free; the next job that it can run goes to it"),
    ]
    pinned = list(waiting_reasons(LaneSpec(pin="a", requirements=needing(model="x")), farm[:2]))
    assert pinned == [("a", "it lacks the models x"), ("b", "the job is pinned to a")]
    assert list(waiting_reasons(LaneSpec(), [])) == [(None, "no backend is configured")]


def test_a_limit_and_a_backend_that_leaves_a_job_to_others_are_told() -> None:
    farm = [backend("a"), backend("b"), backend("c", unavailable="it is offline")]
    assert list(waiting_reasons(LaneSpec(), farm, limits=["wan"])) == [
        ("a", "the limit wan is reached: as many such jobs run as may"),
        ("b", "the limit wan is reached: as many such jobs run as may"),
        ("c", "it is offline"),
    ]
    assert list(waiting_reasons(LaneSpec(), farm, left_idle={"a"}))[:2] == [
        ("a", "it is free, but others will have done it sooner than it would"),
        ("b", "it is free; the next job that it can run goes to it"),
    ]
