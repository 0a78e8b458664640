"""What placement learns of attempts, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator_mcp.domain.experience import Experience, Standby, Work
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import Limit
from orchestrator_mcp.domain.placement import Candidate, Lane

NOW = 10_000_000_000


class All:
    """Has everything."""

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


ALL = All()


def spec(model: str = "sd", *, source: str = "", label: str = "") -> LaneSpec:
    return LaneSpec(model_key=model, source=source, capabilities=frozenset({label} if label else ()))


def gpu(name: str = "a", *, running: int = 0, slots: int = 1) -> Candidate:
    return Candidate(
        backend_id=name,
        epoch=1,
        unavailable=None,
        capabilities=frozenset({"wan"}),
        slots=slots,
        running=running,
        catalogue=ALL,
    )


def lane(number: int, one: LaneSpec, count: int = 1) -> Lane:
    return Lane(id=number, spec=one, priority=0, since=NOW, count=count)


def render(known: Experience, backend_id: str, one: LaneSpec, at: int, seconds: float) -> int:
    """One attempt, begun at once; when it ended, milliseconds."""
    known.given("attempt", backend_id, 1, Work(spec=one), at)
    end = at + round(1000 * seconds)
    known.ended("attempt", backend_id, end, rendered=True)
    return end


def left(known: Experience, now: int) -> float | None:
    """Seconds until the backend "a" has done all that it holds."""
    held = known.holding("a")
    return None if held is None else held.left(now)


def test_a_load_is_told_apart_from_the_render() -> None:
    known = Experience()
    end = render(known, "a", spec(), NOW, 9.0)
    assert known.speeds.seconds(spec().kind, 1.0) is None, "nobody knows yet how much of it was the load"
    render(known, "a", spec(), end, 2.0)
    assert known.speeds.seconds(spec().kind, 1.0) == 2.0
    load = known.speeds.load("a", "sd")
    assert load is not None
    assert load.mean == 7.0


def test_a_cold_render_elsewhere_tells_what_the_load_took_there() -> None:
    known = Experience()
    for number in range(5):
        render(known, "a", spec(), NOW + number * 10_000, 2.0)
    render(known, "b", spec(), NOW, 6.0)
    load = known.speeds.load("b", "sd")
    assert load is not None
    assert 3.5 < load.mean < 4.5


def test_what_did_not_end_well_teaches_nothing() -> None:
    known = Experience()
    known.given("x", "a", 1, Work(spec=spec("")), NOW)
    known.ended("x", "a", NOW + 60_000, rendered=False)
    known.ended("unheard of", "a", NOW, rendered=True)
    assert known.speeds.seconds(spec("").kind, 1.0) is None
    assert left(known, NOW) == pytest.approx(0.0)


def test_what_a_backend_holds_counts_down_and_a_standby_comes_after_it() -> None:
    known = Experience()
    end = NOW
    for _ in range(3):
        end = render(known, "a", spec(""), end, 10.0)
    known.given("first", "a", 1, Work(spec=spec("")), end)
    known.given("second", "a", 1, Work(spec=spec("")), end)
    assert left(known, end) == pytest.approx(20.0)
    assert left(known, end + 4000) == pytest.approx(16.0)
    first, second = known.left("first", "a", end + 4000), known.left("second", "a", end + 4000)
    assert first is not None
    assert second is not None
    assert (first.mean, second.mean) == pytest.approx((6.0, 16.0))
    assert second.deviation > first.deviation
    known.ended("first", "a", end + 10_000, rendered=True)
    assert left(known, end + 12_000) == pytest.approx(8.0)
    assert known.left("first", "a", end) is None


def test_what_is_not_known_is_not_said() -> None:
    known = Experience()
    known.given("x", "a", 1, Work(spec=spec()), NOW)
    assert left(known, NOW) is None
    [told] = known.outlook([gpu(running=1)], NOW).candidates
    assert told.holding is None
    assert told.warm == "sd"


def test_attempts_that_it_was_not_told_of_make_the_end_unknown() -> None:
    [told] = Experience().outlook([gpu(running=1)], NOW).candidates
    assert told.holding is None


def test_a_backend_that_restarted_has_nothing_warm() -> None:
    known = Experience()
    end = render(known, "a", spec(), NOW, 5.0)
    assert known.outlook([gpu()], end).candidates[0].warm == "sd"
    known.emptied("a")
    assert known.outlook([gpu()], end).candidates[0].warm == ""


def test_a_standby_that_was_taken_back_loaded_nothing() -> None:
    known = Experience()
    known.given("first", "a", 1, Work(spec=spec("sd")), NOW)
    known.given("second", "a", 2, Work(spec=spec("flux")), NOW)
    assert known.outlook([gpu()], NOW).candidates[0].warm == "flux"
    known.ended("second", "a", NOW, rendered=False)
    assert known.outlook([gpu()], NOW).candidates[0].warm == "sd"


def test_a_standby_moves_only_to_an_idle_backend_that_would_take_it() -> None:
    known = Experience()
    for backend_id in "ab":
        known.speeds.rendered(backend_id, spec("sd").kind, 1.0, 1.0)
        known.speeds.loaded(backend_id, "sd", 60.0)
    known.warmed("a", "sd", NOW - 10_000)
    known.given("first", "a", 1, Work(spec=spec("sd")), NOW)
    known.given("second", "a", 1, Work(spec=spec("sd")), NOW)
    farm, standbys = [gpu("a", running=2, slots=2), gpu("b")], [Standby(attempt="second", lane=spec("sd"))]
    assert known.moving(standbys, farm, NOW) == [], "b would still load when a has done it"
    known.warmed("b", "sd", NOW)
    assert known.moving(standbys, farm, NOW) == ["second"]
    assert known.moving(standbys, [farm[0], gpu("b", running=1)], NOW) == []


def test_a_standby_that_is_the_last_under_a_limit_may_move() -> None:
    known = Experience(limits=[Limit(name="wan", most=2, label="wan")])
    needs = spec("", label="wan")
    known.given("first", "a", 1, Work(spec=needs), NOW)
    known.given("second", "a", 1, Work(spec=needs), NOW)
    standbys = [Standby(attempt="second", lane=needs)]
    assert known.moving(standbys, [gpu("a", running=2, slots=2), gpu("b")], NOW) == ["second"]


def test_the_time_of_a_render_runs_from_when_it_began() -> None:
    known = Experience()
    known.speeds.rendered("a", spec("").kind, 1.0, 10.0)
    known.given("x", "a", 1, Work(spec=spec("")), NOW)
    before = left(known, NOW + 5_000)
    known.began("x", "a", NOW + 5_000)
    after = left(known, NOW + 5_000)
    assert before is not None and after is not None
    assert after - before == pytest.approx(5.0)


def test_a_backend_that_says_it_had_the_models_is_believed() -> None:
    known = Experience()
    known.given("x", "a", 1, Work(spec=spec()), NOW)
    known.ended("x", "a", NOW + 3000, rendered=True, was_warm=True)
    assert known.speeds.seconds(spec().kind, 1.0) == pytest.approx(3.0)


def test_the_second_turn_goes_to_the_other_source() -> None:
    known = Experience()
    lanes = [lane(1, spec("", source="x"), 9), lane(2, spec("", source="y"), 9)]
    outlook = known.outlook([gpu()], NOW)
    [first] = outlook.choose(lanes, outlook.candidates, NOW)
    known.given("one", "a", first.lane_id, Work(spec=lanes[first.lane_id - 1].spec), NOW)
    known.ended("one", "a", NOW + 1000, rendered=True)
    outlook = known.outlook([gpu()], NOW + 1000)
    [second] = outlook.choose(lanes, outlook.candidates, NOW + 1000)
    assert {first.lane_id, second.lane_id} == {1, 2}


def test_a_limit_counts_what_runs_and_tells_who_is_held_back() -> None:
    known = Experience(limits=[Limit(name="wan", most=1, label="wan")])
    wan, other = spec("", label="wan"), spec("")
    farm = [gpu("a"), gpu("b"), gpu("c")]
    outlook = known.outlook(farm, NOW)
    assert [c.lane_id for c in outlook.choose([lane(1, wan, 5)], outlook.candidates, NOW)] == [1]
    assert not list(outlook.held_back(wan))
    known.given("one", "a", 1, Work(spec=wan), NOW)
    outlook = known.outlook([gpu("a", running=1), *farm[1:]], NOW)
    lanes = [lane(1, wan, 5), lane(2, other, 1)]
    assert [c.lane_id for c in outlook.choose(lanes, outlook.candidates, NOW)] == [2]
    assert list(outlook.held_back(wan)) == ["wan"]
    assert not list(outlook.held_back(other))


def test_weights_are_followed() -> None:
    known = Experience(weights={"x": 2.0})
    lanes = [lane(1, spec("", source="x"), 99), lane(2, spec("", source="y"), 99)]
    outlook = known.outlook([gpu(f"g{n:02}") for n in range(30)], NOW)
    chosen = [choice.lane_id for choice in outlook.choose(lanes, outlook.candidates, NOW)]
    assert (chosen.count(1), chosen.count(2)) == (20, 10)


def test_what_is_told_of_a_backend_is_kept_only_while_nothing_about_it_changes() -> None:
    known, farm = Experience(), [gpu("a"), gpu("b")]
    changes: list[Callable[[], object]] = [
        lambda: known.warmed("a", "sd", NOW),
        lambda: known.given("x", "b", 1, Work(spec=spec("flux")), NOW),
        lambda: known.began("x", "b", NOW + 10),
        lambda: known.ended("x", "b", NOW + 5000, rendered=True),
        lambda: known.emptied("a"),
        lambda: known.speeds.rendered("a", spec().kind, 1.0, 2.0),
        lambda: known.speeds.rendered("b", spec().kind, 1.0, 9.0),
        lambda: known.speeds.rendered("b", spec().kind, 1.0, 30.0),
        lambda: known.speeds.loaded("b", "sd", 4.0),
    ]
    for number, change in enumerate(changes):
        before = known.seen(farm)
        assert [one is other for one, other in zip(known.seen(farm), before, strict=True)] == [True, True]
        change()
        told, anew = known.seen(farm), known.seen([replace(one) for one in farm])
        assert [vars(one) for one in told] == [vars(one) for one in anew], f"after change {number}"
