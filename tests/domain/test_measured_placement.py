"""The choice when speeds, loads and shares are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile, Requirements
from orchestrator_mcp.domain.placement import (
    MOST_AT_ONCE,
    PATIENCE,
    STINT,
    TOGETHER,
    UNKNOWN_LOAD,
    Candidate,
    Choice,
    Lane,
    choose,
    refusal,
)
from orchestrator_mcp.domain.situation import Holding

NOW = 10_000_000_000


@dataclass(frozen=True)
class All:
    """Has everything."""

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


ALL = All()


def lane(
    number: int, model: str = "", *, seconds: float | None = 1.0, count: int = 1, load: float = 5.0, **more: object
) -> Lane:
    fields = {"priority": 0, "since": NOW - 1000, **more}
    source = str(fields.pop("source", ""))
    labels = frozenset(str(fields.pop("labels", "")).split())
    return Lane(
        id=number,
        spec=LaneSpec(model_key=model, source=source, capabilities=labels),
        count=count,
        seconds=seconds,
        load=load,
        **fields,  # type: ignore[arg-type]
    )


def gpu(name: str, warm: str = "", *, busy: float | None = None, **more: object) -> Candidate:
    fields: dict[str, object] = {"capabilities": frozenset(), "slots": 1, **more}
    return Candidate(
        backend_id=name,
        epoch=1,
        unavailable=None,
        running=int(busy is not None),
        holding=None if busy is None else Holding(waiting=busy),
        catalogue=ALL,
        warm=warm,
        **fields,  # type: ignore[arg-type]
    )


def pairs(choices: list[Choice]) -> list[tuple[int, str]]:
    return [(choice.lane_id, choice.backend_id) for choice in choices]


def test_a_cold_load_is_not_paid_where_waiting_is_shorter() -> None:
    farm = [gpu("warm", "flux", busy=2.0), gpu("cold")]
    assert choose([lane(1, "flux", load=5.0)], farm, NOW) == []
    assert pairs(choose([lane(1, "flux", load=0.5)], farm, NOW)) == [(1, "cold")]
    slow = [gpu("warm", "flux", busy=60.0), gpu("cold")]
    assert pairs(choose([lane(1, "flux", load=5.0)], slow, NOW)) == [(1, "cold")]


def test_of_two_that_must_load_each_gets_another_job() -> None:
    lanes = [lane(1, "flux", seconds=None), lane(2, "sdxl", seconds=None)]
    assert sorted(pairs(choose(lanes, [gpu("a"), gpu("b")], NOW))) == [(1, "a"), (2, "b")]
    many = [lane(number, f"model-{number % 3}", seconds=None) for number in range(9)]
    given_to = Counter(choice.lane_id for choice in choose(many, [gpu(f"g{n}") for n in range(9)], NOW))
    assert given_to == dict.fromkeys(range(9), 1)


def test_backends_of_every_speed_decide_for_themselves_what_is_worth_loading() -> None:
    warm = [gpu("warm", "flux", busy=1.0)]
    lanes = [lane(1, "flux", count=6, seconds=2.0, load=3.0)]
    fast, slow = gpu("fast", pace=0.5), [gpu(f"slow{n}", pace=9.0) for n in range(5)]
    assert pairs(choose(lanes, [*warm, fast, *slow], NOW)) == [(1, "fast")]
    assert choose(lanes, [*warm, *slow], NOW) == []


def test_a_model_that_is_late_gets_help_but_not_for_the_last_seconds() -> None:
    farm = [gpu("a", "sd"), gpu("b", "sd", busy=0.0), gpu("c", "flux", busy=0.0)]
    warm = lane(1, "sd", count=12)
    assert pairs(choose([warm, lane(2, "flux", count=24, load=3.0)], farm, NOW)) == [(2, "a")]
    assert pairs(choose([warm, lane(2, "flux", count=24, load=7.0)], farm, NOW)) == [(1, "a")]


def test_a_load_is_paid_for_many_jobs_that_would_wait_for_one() -> None:
    farm = [gpu("warm", "flux", busy=1.0), gpu("cold")]
    assert pairs(choose([lane(1, "flux", count=40)], farm, NOW)) == [(1, "cold")]


def test_waiting_for_a_warm_backend_ends_when_it_is_not_free_for_long() -> None:
    farm = [gpu("warm", "flux", busy=PATIENCE / 1000 + 2), gpu("cold")]
    assert choose([lane(1, "flux", load=100.0)], farm, NOW) == []
    ignored = lane(1, "flux", load=100.0, since=NOW - 400_000)
    assert pairs(choose([ignored], farm, NOW)) == [(1, "cold")]
    assert choose([ignored], [gpu("warm", "flux", busy=2.0), gpu("cold")], NOW) == []


def test_a_model_that_is_served_needs_no_help_however_long_its_jobs_wait() -> None:
    lanes = [lane(1, "flux", since=NOW - 20 * PATIENCE, labels="big"), lane(2, "sd", count=9)]
    big = frozenset({"big"})
    other = gpu("other", "sd", capabilities=big)
    assert pairs(choose(lanes, [gpu("warm", "flux", busy=3.0, capabilities=big), other], NOW)) == [(2, "other")]
    unfit = gpu("warm", "flux", busy=3.0)
    assert pairs(choose(lanes, [unfit, other], NOW)) == [(1, "other")], "whoever serves the model cannot run it"
    busy = gpu("warm", "flux", busy=PATIENCE / 1000 + 2, capabilities=big)
    assert pairs(choose(lanes, [busy, other], NOW)) == [(1, "other")], "it will not be free for long"
    just_begun = replace(busy, holding=None, given=NOW - 1000)
    assert pairs(choose(lanes, [just_begun, other], NOW)) == [(2, "other")]
    never_done = replace(busy, holding=None, given=NOW - PATIENCE)
    assert pairs(choose(lanes, [never_done, other], NOW)) == [(1, "other")]
    gone = replace(busy, holding=Holding(waiting=3.0), unavailable="offline")
    assert pairs(choose(lanes, [gone, other], NOW)) == [(1, "other")]


def test_one_backend_that_goes_to_a_neglected_model_is_enough() -> None:
    lanes = [lane(1, "flux", since=NOW - 20 * PATIENCE, count=9), lane(2, "sd", count=99)]
    farm = [gpu(name, "sd") for name in "abc"]
    assert sorted(pairs(choose(lanes, farm, NOW))) == [(1, "a"), (2, "b"), (2, "c")]


def test_nothing_is_concluded_from_what_is_not_known() -> None:
    farm = [gpu("warm", "flux", busy=2.0), gpu("cold")]
    assert pairs(choose([lane(1, "flux", seconds=None)], farm, NOW)) == [(1, "cold")]
    unknown = replace(gpu("warm", "flux", busy=2.0), holding=None)
    assert pairs(choose([lane(1, "flux")], [unknown, gpu("cold")], NOW)) == [(1, "cold")]


def test_the_slow_card_does_not_take_the_last_job() -> None:
    farm = [gpu("fast", "sd", busy=0.5), gpu("slow", "sd", pace=6.0)]
    assert choose([lane(1, "sd")], farm, NOW) == []
    assert pairs(choose([lane(1, "sd", count=6)], farm, NOW)) == [(1, "slow")], "six last longer on the fast one"
    assert choose([lane(1, "sd", count=5)], farm, NOW) == []


def test_the_fastest_that_is_free_takes_the_only_job() -> None:
    farm = [gpu("a", pace=3.0), gpu("b", pace=1.5), gpu("c", pace=6.0)]
    assert pairs(choose([lane(1)], farm, NOW)) == [(1, "b")]


def test_a_pace_of_its_own_for_a_kind_of_work_counts() -> None:
    farm = [gpu("a", "m", busy=0.1, pace=1.0), gpu("b", "m", pace=1.0, paces={"film": 50.0})]
    assert choose([lane(1, "m", signature="film", seconds=10.0)], farm, NOW) == []
    assert pairs(choose([lane(1, "m", signature="still", seconds=0.1)], farm, NOW)) == [(1, "b")]


def test_jobs_of_one_model_are_done_one_after_the_other_for_a_while() -> None:
    lanes = [lane(1, "flux", count=9, since=NOW - 9000), lane(2, "sd", count=9, since=NOW - 5000)]
    assert pairs(choose(lanes, [gpu("a", "sd")], NOW)) == [(2, "a")]
    passed_over = [replace(lanes[0], since=NOW - PATIENCE - 5001), lanes[1]]
    assert pairs(choose(passed_over, [gpu("a", "sd")], NOW)) == [(1, "a")], "patience has an end"
    assert pairs(choose(passed_over, [gpu("a", "sd")], NOW, patience=9 * PATIENCE)) == [(2, "a")]
    assert pairs(choose(lanes, [gpu("a", "sd")], NOW, patience=3999)) == [(1, "a")], "that operators may set"
    assert pairs(choose(lanes, [gpu("a", "sd")], NOW, patience=0)) == [(1, "a")]


def test_what_came_at_about_the_same_time_may_go_first_for_longer() -> None:
    def came(ago: int) -> list[Lane]:
        return [lane(1, "flux", count=9, since=NOW - ago), lane(2, "sd", count=9, since=NOW - ago + PATIENCE)]

    farm = [gpu("a", "sd")]
    assert pairs(choose(came(round(TOGETHER * PATIENCE) - 1), farm, NOW)) == [(2, "a")]
    assert pairs(choose(came(round(TOGETHER * PATIENCE)), farm, NOW)) == [(1, "a")]


def test_a_backend_that_has_just_loaded_works_that_off_first() -> None:
    lanes = [lane(1, "flux", count=9, since=NOW - 3 * PATIENCE), lane(2, "sd", count=9, since=NOW - PATIENCE)]
    just = gpu("a", "sd", warm_since=NOW - 1000)
    assert pairs(choose(lanes, [just], NOW)) == [(2, "a")]
    long_ago = replace(just, warm_since=NOW - round(STINT * 5000))
    assert pairs(choose(lanes, [long_ago], NOW)) == [(1, "a")]
    unmeasured = [replace(one, load=0.0) for one in lanes]
    assert pairs(choose(unmeasured, [just], NOW)) == [(2, "a")]
    assert pairs(choose(unmeasured, [replace(just, warm_since=NOW - round(STINT * UNKNOWN_LOAD * 1000))], NOW)) == [
        (1, "a")
    ]


def test_priority_is_worth_a_load() -> None:
    lanes = [lane(1, "flux", priority=1), lane(2, "sd", count=9)]
    assert pairs(choose(lanes, [gpu("a", "sd")], NOW)) == [(1, "a")]


def test_loaded_files_count_as_warm_whatever_was_rendered_last() -> None:
    file = ModelFile(class_type="CheckpointLoaderSimple", input="ckpt_name", name="sd.safetensors")
    spec = LaneSpec(model_key="sd", requirements=Requirements(models=frozenset({file})))
    farm = [gpu("a", "flux"), gpu("b", "flux", pace=2.0, loaded=frozenset({file}))]
    assert pairs(choose([replace(lane(1), spec=spec)], farm, NOW)) == [(1, "b")]


def test_who_was_served_least_goes_first_and_a_warm_model_does_not_change_that_for_long() -> None:
    lanes = [lane(1, "flux", source="x", share=0.0, count=9), lane(2, "sd", source="y", share=30.0, count=9)]
    assert pairs(choose(lanes, [gpu("a", "sd")], NOW)) == [(2, "a")]
    ahead = [lanes[0], replace(lanes[1], share=61.0)]
    assert pairs(choose(ahead, [gpu("a", "sd")], NOW)) == [(1, "a")]
    assert pairs(choose([replace(one, spec=replace(one.spec, model_key="")) for one in lanes], [gpu("a")], NOW)) == [
        (1, "a")
    ]


def test_a_heavier_source_gets_more_turns() -> None:
    lanes = [lane(1, source="x", weight=3.0, count=99), lane(2, source="y", count=99)]
    given_to = Counter(choice.lane_id for choice in choose(lanes, [gpu(f"g{n:02}") for n in range(40)], NOW))
    assert given_to == {1: 30, 2: 10}


def test_a_named_limit_holds_jobs_back_and_no_others() -> None:
    lanes = [lane(1, rooms={"wan": 2}, count=9), lane(2, rooms={"wan": 2}, count=9, labels=""), lane(3, count=2)]
    farm = [gpu(f"g{n}") for n in range(9)]
    given_to = Counter(choice.lane_id for choice in choose(lanes, farm, NOW))
    assert given_to[1] + given_to[2] == 2
    assert given_to[3] == 2


def test_a_deadline_goes_before_priority_in_time() -> None:
    lanes = [lane(1, priority=20), lane(2, deadline=NOW + 3_600_000)]
    assert pairs(choose(lanes, [gpu("a")], NOW)) == [(1, "a")]
    assert pairs(choose(lanes, [gpu("a")], NOW + 3_000_000)) == [(2, "a")]


def test_a_lane_that_nobody_serves_outweighs_priority_at_last() -> None:
    lanes = [lane(1, priority=10, served=NOW, seconds=1.0), lane(2, since=NOW - 600_001)]
    assert pairs(choose(lanes, [gpu("a")], NOW)) == [(2, "a")]
    served = [lanes[0], replace(lanes[1], served=NOW - 1000)]
    assert pairs(choose(served, [gpu("a")], NOW)) == [(1, "a")], "it had its turn a moment ago"


MODELS = st.sampled_from(["", "sd", "flux", "wan"])
LANES = st.lists(
    st.builds(
        Lane,
        id=st.integers(1, 1000),
        spec=st.builds(
            LaneSpec,
            source=st.sampled_from(["x", "y"]),
            model_key=MODELS,
            capabilities=st.frozensets(st.sampled_from(["l"])),
            pin=st.sampled_from([None, None, "a"]),
        ),
        priority=st.sampled_from([0, 0, 5]),
        since=st.integers(NOW - 100_000, NOW),
        served=st.one_of(st.just(0), st.integers(NOW - 100_000, NOW)),
        count=st.integers(1, 6),
        seconds=st.one_of(st.none(), st.floats(0.01, 100)),
        load=st.floats(0, 30),
        share=st.just(0.0),
        rooms=st.sampled_from([{}, {}, {"wan": 1}]),
        deadline=st.one_of(st.none(), st.integers(NOW - 10, NOW + 10_000_000)),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)
FARMS = st.lists(
    st.builds(
        Candidate,
        backend_id=st.sampled_from("abcdef"),
        epoch=st.just(1),
        unavailable=st.sampled_from([None, None, None, "it is closed"]),
        capabilities=st.frozensets(st.sampled_from(["l"])),
        slots=st.integers(1, 2),
        running=st.integers(0, 2),
        catalogue=st.sampled_from([ALL, None]),
        warm=MODELS,
        warm_since=st.sampled_from([0, NOW - 1000]),
        pace=st.floats(0.2, 10),
        loads=st.dictionaries(MODELS, st.floats(0, 30)),
        holding=st.none() | st.floats(0, 100).map(lambda seconds: Holding(waiting=seconds)),
    ),
    max_size=6,
    unique_by=lambda one: one.backend_id,
)


def can(one: Lane, candidate: Candidate) -> bool:
    return candidate.catalogue is not None and candidate.unavailable is None and refusal(one.spec, candidate) is None


@settings(max_examples=300, deadline=None)
@given(LANES, FARMS)
def test_never_over_a_slot_a_queue_or_a_limit_and_never_to_who_cannot(lanes: list[Lane], farm: list[Candidate]) -> None:
    by_id, candidates = {one.id: one for one in lanes}, {one.backend_id: one for one in farm}
    choices = choose(lanes, farm, NOW)
    used = Counter(choice.backend_id for choice in choices)
    given_to = Counter(choice.lane_id for choice in choices)
    assert all(candidates[name].running + count <= candidates[name].slots for name, count in used.items())
    assert all(count == 1 for count in used.values())
    assert all(count <= by_id[number].count for number, count in given_to.items())
    assert all(can(by_id[choice.lane_id], candidates[choice.backend_id]) for choice in choices)
    assert sum(count for number, count in given_to.items() if by_id[number].rooms) <= 1
    for choice in choices:
        if candidates[choice.backend_id].running:
            idle = [one for one in farm if one.idle and one.backend_id not in used]
            assert not [one for one in idle if can(by_id[choice.lane_id], one)]
    assert choose(lanes[::-1], farm[::-1], NOW) == choices


def others_do(one: Lane, candidate: Candidate, farm: list[Candidate], lanes: list[Lane], taken: Counter[int]) -> bool:
    """The proof, generously: whether all others together end every job for the model before it would end one."""
    alike = [other for other in lanes if other.spec.model_key == one.spec.model_key]
    if one.seconds is None or any(other.seconds is None for other in alike):
        return False
    span = 2 * candidate.load_seconds(one) + one.seconds * candidate.pace
    jobs = sum(other.count for other in alike)
    mean = sum((other.seconds or 0) * other.count for other in alike) / jobs
    able = [other for other in farm if other is not candidate and can(one, other)]
    return sum(span / (mean * other.pace) for other in able) >= jobs


@settings(max_examples=300, deadline=None)
@given(LANES, FARMS)
def test_a_backend_stays_idle_only_where_others_are_proven_to_be_sooner_and_not_for_long(
    lanes: list[Lane], farm: list[Candidate]
) -> None:
    choices = choose(lanes, farm, NOW)
    taken = Counter(choice.lane_id for choice in choices)
    used = {choice.backend_id for choice in choices}
    limited = sum(taken[one.id] for one in lanes if one.rooms) > 0
    for candidate in farm:
        if not candidate.idle or candidate.backend_id in used:
            continue
        for one in lanes:
            if taken[one.id] < one.count and can(one, candidate) and not (one.rooms and limited):
                assert others_do(one, candidate, farm, lanes, taken)
                alike = [other for other in lanes if other.spec.model_key == one.spec.model_key]
                spans = [candidate.load_seconds(other) + (other.seconds or 0) * candidate.pace for other in alike]
                assert NOW - one.waiting_from < max(PATIENCE, 1000 * max(spans))


def test_a_farm_that_is_idle_as_a_whole_is_filled_in_several_decisions_the_most_urgent_first() -> None:
    farm = [gpu(f"g{n:03}") for n in range(MOST_AT_ONCE + 7)]
    lanes = [lane(1, count=999, seconds=None), lane(2, count=MOST_AT_ONCE, priority=1, seconds=None)]
    first = choose(lanes, farm, NOW)
    assert Counter(choice.lane_id for choice in first) == {2: MOST_AT_ONCE}
    taken = {choice.backend_id for choice in first}
    left = [replace(one, running=1) if one.backend_id in taken else one for one in farm]
    second = choose(lanes[:1], left, NOW)
    assert Counter(choice.lane_id for choice in second) == {1: 7}
    assert taken.isdisjoint(choice.backend_id for choice in second)
    assert choose(lanes, farm, NOW, most=3) == first[:3]


def test_standbys_are_given_only_when_every_idle_backend_had_its_turn() -> None:
    farm = [gpu("busy", busy=1.0, slots=2), *[gpu(f"g{n}") for n in range(3)]]
    lanes = [lane(1, count=9, seconds=None)]
    assert "busy" not in [choice.backend_id for choice in choose(lanes, farm, NOW, most=3)]
    assert pairs(choose(lanes, farm, NOW, most=4))[-1] == (1, "busy")
