"""What is learned of durations."""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from types import FrameType

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.estimates import MEMORY, Estimate
from orchestrator_mcp.domain.speeds import Speeds

SECONDS = st.floats(0.01, 10_000)


def after(*seconds: float) -> Estimate:
    estimate = Estimate.first(seconds[0])
    for each in seconds[1:]:
        estimate = estimate.seen(each)
    return estimate


@given(st.lists(SECONDS, min_size=1, max_size=60))
def test_an_estimate_stays_within_what_was_seen(seconds: list[float]) -> None:
    estimate = after(*seconds)
    assert min(seconds) * 0.999 <= estimate.mean <= max(seconds) * 1.001
    assert estimate.deviation > 0


@given(st.one_of(st.floats(), st.sampled_from([0.0, -1.0, math.inf, math.nan])))
def test_nonsense_is_not_believed(seconds: float) -> None:
    estimate = after(1.0, 1.0, seconds)
    assert math.isfinite(estimate.mean)
    assert estimate.mean > 0


def test_one_hang_does_not_spoil_what_many_renders_taught() -> None:
    estimate = after(*[10.0, 10.5, 9.5] * 10)
    assert abs(estimate.mean - 10) < 0.5
    assert estimate.seen(3600.0).mean < 11.5


def test_a_change_that_lasts_is_believed_after_three_renders() -> None:
    estimate = after(*[10.0] * 30)
    assert estimate.seen(30.0).seen(30.0).mean < 20
    assert estimate.seen(30.0).seen(30.0).seen(30.0).mean == 30.0
    back_and_forth = estimate
    for _ in range(3):
        back_and_forth = back_and_forth.seen(30.0).seen(10.0)
    assert back_and_forth.mean < 15


def test_the_error_tells_how_far_off_it_tends_to_be() -> None:
    steady, wild = after(*[10.0, 10.1] * 20), after(*[5.0, 15.0] * 20)
    assert steady.deviation < 0.5
    assert 3 < wild.deviation < 7


def test_what_is_overdue_goes_on_for_as_long_as_it_is_late() -> None:
    estimate = after(*[10.0] * 10)
    assert estimate.remaining(0.0) == 10.0
    assert 0 < estimate.remaining(10.0) < 1
    assert estimate.remaining(25.0) == 15.0


def test_a_pair_that_nobody_tried_is_guessed_from_the_backend_and_the_kind() -> None:
    speeds = Speeds()
    for _ in range(5):
        for kind, seconds in (("portrait", 2.0), ("film", 60.0)):
            speeds.rendered("fast", kind, 1.0, seconds)
        speeds.rendered("slow", "portrait", 1.0, 6.0)
    guessed = speeds.expected("slow", "film", 1.0)
    assert guessed is not None
    assert 150 < guessed.mean < 200
    assert speeds.expected("slow", "unheard of", 1.0) is None


def test_who_only_ever_got_the_heavy_work_is_not_taken_for_slow() -> None:
    speeds = Speeds()
    for _ in range(10):
        speeds.rendered("a", "light", 1.0, 1.0)
        speeds.rendered("b", "heavy", 1.0, 50.0)
        speeds.rendered("c", "light", 1.0, 1.0)
        speeds.rendered("c", "heavy", 1.0, 50.0)
    assert abs(speeds.pace("a") / speeds.pace("b") - 1) < 0.1


def test_what_a_backend_did_itself_outweighs_its_general_pace() -> None:
    speeds = Speeds()
    for _ in range(20):
        for name in ("a", "b"):
            speeds.rendered(name, "small", 1.0, 1.0)
        speeds.rendered("a", "big", 1.0, 10.0)
        speeds.rendered("b", "big", 1.0, 80.0)  # it does not fit into its memory
    own = speeds.expected("b", "big", 1.0)
    assert own is not None
    assert 65 < own.mean < 85
    small = speeds.expected("b", "small", 1.0)
    assert small is not None
    assert 0.8 < small.mean < 1.3


def test_another_size_is_counted_for_each_unit() -> None:
    speeds = Speeds()
    speeds.rendered("a", "portrait", 20.0, 4.0)
    assert speeds.seconds("portrait", 20.0) == 4.0
    assert speeds.seconds("portrait", 40.0) == 8.0
    speeds.rendered("a", "portrait", 40.0, 6.0)
    again = speeds.expected("a", "portrait", 40.0)
    assert again is not None
    assert abs(again.mean - 6.0) < 0.5


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), SECONDS), max_size=60))
def test_what_a_kind_takes_is_what_all_backends_that_did_it_say_less_their_pace(
    history: list[tuple[str, str, float]],
) -> None:
    speeds, seen, pace = Speeds(), defaultdict[str, dict[str, Estimate]](dict), defaultdict[str, float](float)
    for backend_id, kind, seconds in history:
        known = seen[kind].get(backend_id)
        seen[kind][backend_id] = known.seen(seconds) if known else Estimate.first(seconds)
        speeds.rendered(backend_id, kind, 1.0, seconds)
        pace[backend_id] = math.log(speeds.pace(backend_id))
        total = weight = 0.0
        for other, estimate in seen[kind].items():
            weight += min(estimate.count, MEMORY)
            total += min(estimate.count, MEMORY) * (math.log(estimate.mean) - pace[other])
        found = speeds.seconds(kind, 1.0)
        assert found is not None
        assert math.isclose(found, math.exp(total / weight), rel_tol=1e-9)


def test_to_learn_of_a_render_costs_the_same_on_a_large_farm() -> None:
    assert steps_to_learn_on(1_000) == steps_to_learn_on(10)


def steps_to_learn_on(backends: int) -> int:
    """Calls that learning of one more render takes, when every backend has done three."""
    speeds = Speeds()
    for _ in range(3):
        for number in range(backends):
            speeds.rendered(str(number), "portrait", 1.0, 20.0)
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    speeds.rendered("5", "portrait", 1.0, 20.1)
    sys.setprofile(before)
    return calls


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), SECONDS), max_size=60))
def test_any_history_gives_sound_figures(history: list[tuple[str, str, float]]) -> None:
    speeds = Speeds()
    for backend_id, kind, seconds in history:
        speeds.rendered(backend_id, kind, 1.0, seconds)
    for backend_id, kind, _ in history:
        found = speeds.expected(backend_id, kind, 1.0)
        assert found is not None
        assert 0 < found.mean < math.inf
        assert 0 < speeds.pace(backend_id) < math.inf


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0.9, 1.1)), max_size=30))
def test_what_was_learned_outlives_the_process(history: list[tuple[str, str, float]]) -> None:
    speeds = Speeds()
    for backend_id, kind, luck in history:
        seconds = {"a": 1.0, "b": 2.0, "c": 6.0}[backend_id] * {"x": 0.3, "y": 5.0, "z": 60.0}[kind] * luck
        speeds.rendered(backend_id, kind, 1.0, seconds)
        speeds.loaded(backend_id, kind, seconds)
    again = Speeds.from_json(speeds.to_json())
    for backend_id, kind, _ in history:
        before, after_ = speeds.expected(backend_id, kind, 1.0), again.expected(backend_id, kind, 1.0)
        assert before is not None
        assert after_ is not None
        assert 0.4 < after_.mean / before.mean < 2.5
        assert again.load(backend_id, kind) == speeds.load(backend_id, kind)
    assert again.to_json() == speeds.to_json()


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=3)),
            lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["renders", "loads"]), inner),
        ).map(json.dumps),
    )
)
def test_what_is_kept_is_not_trusted(text: str) -> None:
    assert Speeds.from_json(text).seconds("x", 1.0) is None
    Speeds.from_json('{"renders":[["a","k#0",1e400,1.0,1],["a","k#0",-1.0,1.0,1],[1],7],"loads":{}}')
