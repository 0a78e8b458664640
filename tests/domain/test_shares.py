"""Fair shares, named limits and deadlines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.deadlines import SHORTEST, raised_priority
from orchestrator_mcp.domain.experience import Experience
from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile, Requirements
from orchestrator_mcp.domain.limits import Limit, rooms
from orchestrator_mcp.domain.placement import Candidate, choose
from orchestrator_mcp.domain.shares import MOST_SOURCES, Shares
from orchestrator_mcp.domain.situation import Lane
from tests.domain.test_nobody_starves import All

NOW = 10_000_000_000


def serve(shares: Shares, waiting: dict[str, float], turns: int, seconds: float = 1.0) -> Counter[str]:
    """Give turns to whoever is served least; weight of each source in `waiting`."""
    served: Counter[str] = Counter()
    for _ in range(turns):
        tags = shares.tags(waiting)
        source = min(waiting, key=lambda name: (tags[name], name))
        shares.charge(source, seconds, waiting[source])
        shares.saw(waiting)
        served[source] += 1
    return served


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=1), st.integers(1, 300)
)
def test_shares_follow_the_weights_within_one_job(weights: dict[str, float], turns: int) -> None:
    served = serve(Shares(), weights, turns)
    total = sum(weights.values())
    for source, weight in weights.items():
        assert abs(served[source] - turns * weight / total) <= 1 + max(weights.values()) / min(weights.values())


def test_nobody_saves_up_a_claim_by_staying_away() -> None:
    shares = Shares()
    serve(shares, {"early": 1.0}, 100)
    served = serve(shares, {"early": 1.0, "late": 1.0}, 20)
    assert served == {"early": 10, "late": 10}


def test_who_comes_back_has_lost_nothing_either() -> None:
    shares = Shares()
    serve(shares, {"a": 1.0, "b": 1.0}, 20)
    serve(shares, {"b": 1.0}, 50)
    assert serve(shares, {"a": 1.0, "b": 1.0}, 20) == {"a": 10, "b": 10}


def test_what_came_back_unrendered_is_not_charged() -> None:
    shares = Shares()
    shares.saw(["a", "b"])
    shares.charge("a", 10.0)
    shares.charge("b", 5.0)
    shares.settle("a", 10.0, 0.0)
    tags = shares.tags(["a", "b"])
    assert tags["a"] == 0.0
    assert tags["b"] == 5.0


def test_more_sources_than_are_remembered_forget_the_oldest() -> None:
    shares = Shares()
    for number in range(MOST_SOURCES + 10):
        shares.charge(f"source-{number}", 1.0)
    assert shares.tags(["source-0"])["source-0"] == 0.0
    assert shares.tags(["source-20"])["source-20"] == 1.0


def spec(label: str = "", model: str = "") -> LaneSpec:
    files = [ModelFile(class_type="UNETLoader", input="unet_name", name=model)] if model else []
    return LaneSpec(
        capabilities=frozenset({label} if label else ()), requirements=Requirements(models=frozenset(files))
    )


def test_a_limit_counts_jobs_by_label_or_by_model() -> None:
    limits = [Limit(name="video", most=2, label="WAN", model="*wan2*"), Limit(name="licence", most=1, label="houdini")]
    running = [spec("wan"), spec(model="video/Wan2.2_t2v.safetensors"), spec(model="sdxl.safetensors"), spec("wan")]
    assert rooms(limits, running[:1]) == {"video": 1, "licence": 1}
    assert rooms(limits, running) == {"video": 0, "licence": 1}


@pytest.mark.parametrize("seconds", [0.0, 600.0])
def test_a_deadline_raises_priority_early_enough_and_not_before(seconds: float) -> None:
    need = max(SHORTEST, 1000 * seconds)
    assert raised_priority(0, round(NOW + 17 * need), NOW, seconds) == 0
    steps = [raised_priority(-5, round(NOW + times * need), NOW, seconds) for times in (16, 8, 4, 2, 1, 0, -100)]
    assert steps == sorted(steps)
    assert steps[0] > 0
    assert steps[-1] == 195, "late is better than later"


def waiting(number: int, source: str, rooms: dict[str, int], since: int = NOW) -> Lane:
    return Lane(id=number, spec=LaneSpec(source=source), priority=0, since=since, count=9, rooms=rooms)


def test_a_limit_that_is_reached_holds_back_nobody_else_who_needs_the_same() -> None:
    full, other = waiting(1, "nightly", {"nightly": 0}, since=NOW - 9_000_000), waiting(2, "film", {})
    backend = Candidate(
        backend_id="one",
        epoch=1,
        unavailable=None,
        capabilities=frozenset(),
        slots=1,
        running=0,
        catalogue=All(),
    )
    assert [choice.lane_id for choice in choose([full, other], [backend], NOW)] == [2]
    urgent = replace(waiting(3, "b", {}), priority=1, spec=LaneSpec(source="b", model_key="sd"))
    chosen = choose([full, other, urgent], [backend], NOW)
    assert [choice.lane_id for choice in chosen] == [3], "what a limit holds back makes nobody urgent"


def test_a_limit_by_source_counts_that_source_alone_where_others_do_the_same() -> None:
    limit = Limit(name="nightly", most=1, source="nightly")
    known = Experience(limits=[limit]).outlook([], NOW).known([waiting(1, "film", {}), waiting(2, "nightly", {})])
    assert [lane.rooms for lane in known] == [{}, {"nightly": 1}]


def test_a_limit_by_workflow_counts_its_jobs_by_name() -> None:
    limits = [Limit(name="up", most=1, workflow="Upscale_*")]
    held = [LaneSpec(workflow="upscale_4x"), LaneSpec(workflow="card"), LaneSpec()]
    assert [limits[0].counts(spec) for spec in held] == [True, False, False]
    assert rooms(limits, held) == {"up": 0}
    assert held[0].kind == held[1].kind and held[0].to_json() != held[1].to_json()
