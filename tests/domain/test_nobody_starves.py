"""Whatever arrives, every job is begun within a bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_mcp.domain.backlog import AGEING
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.placement import PATIENCE, STINT, TOGETHER, Candidate, Lane, choose
from orchestrator_mcp.domain.situation import Holding

START = 10_000_000_000


class All:
    """Has everything."""

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


ALL = All()
LOAD = 5.0  # seconds


@st.composite
def rivals(draw: st.DrawFn) -> list[tuple[int, str, str, float]]:
    """Lanes that never run dry: (priority, model, source, seconds of a job)."""
    return draw(
        st.lists(
            st.tuples(
                st.integers(-100, 100), st.sampled_from(["", "sd", "flux"]), st.sampled_from("xyz"), st.floats(1, 90)
            ),
            min_size=1,
            max_size=5,
        )
    )


def begun_after(
    victim: tuple[int, str], others: list[tuple[int, str, str, float]], paces: list[float], *, together: bool = False
) -> float:
    """Milliseconds until the victim's only job is begun, in a farm that others keep busy for ever.

    Theirs have just come, or came when the victim's did.
    """
    lanes = {
        0: Lane(
            id=0,
            spec=LaneSpec(source="v", model_key=victim[1]),
            priority=victim[0],
            since=START,
            count=1,
            seconds=1.0,
            load=LOAD,
        )
    }
    for number, (priority, model, source, seconds) in enumerate(others, 1):
        spec = LaneSpec(source=source, model_key=model, capabilities=frozenset())
        lanes[number] = Lane(
            id=number,
            spec=spec,
            priority=priority,
            since=START,
            count=99,
            seconds=seconds,
            load=LOAD,
            signature=str(number),
        )
    busy = [(float(START), "", START) for _ in paces]  # until when, with which model, since when
    served = dict.fromkeys(lanes, 0)
    shares = dict.fromkeys("vxyz", 0.0)
    now = START
    for _ in range(100_000):
        farm = [
            Candidate(
                backend_id=f"g{at}",
                epoch=1,
                unavailable=None,
                capabilities=frozenset(),
                slots=1,
                running=int(until > now),
                catalogue=ALL,
                warm=model,
                warm_since=since,
                pace=paces[at],
                holding=Holding(waiting=max(0.0, (until - now) / 1000)),
            )
            for at, (until, model, since) in enumerate(busy)
        ]
        fed = [
            Lane(
                **{
                    **vars(one),
                    "served": served[one.id],
                    "share": shares[one.spec.source],
                    "since": START if together or not one.id else now,
                }
            )
            for one in lanes.values()
        ]
        for choice in choose(fed, farm, now):
            if choice.lane_id == 0:
                return now - START
            one, at = lanes[choice.lane_id], int(choice.backend_id[1:])
            cold = bool(one.spec.model_key) and busy[at][1] != one.spec.model_key
            span = (one.seconds or 0) * paces[at] + (LOAD if cold else 0)
            model, since = (one.spec.model_key, now) if cold else busy[at][1:]
            busy[at] = (now + 1000 * span, model, since)
            served[one.id] = now
            shares[one.spec.source] += one.seconds or 0
        later = [until for until, _, _ in busy if until > now]
        now = round(min([*later, now + 5000]) + 0.5)
    raise AssertionError("it starved")


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(st.integers(-100, 100), st.sampled_from(["", "sd", "wan"])),
    rivals(),
    st.lists(st.floats(1, 6), min_size=1, max_size=3),
    st.booleans(),
)
def test_every_job_is_begun_within_a_bound_whatever_arrives(
    victim: tuple[int, str], others: list[tuple[int, str, str, float]], paces: list[float], together: bool
) -> None:
    longest = 1000 * (max(seconds for *_, seconds in others) * max(paces) + LOAD)
    steps = max(0, max(priority for priority, *_ in others) - victim[0]) + 1
    share = 1000 * len(others) * sum(seconds for *_, seconds in others) * max(paces)
    kept = (TOGETHER if together else 1) * (PATIENCE + STINT * 1000 * LOAD)
    bound = steps * AGEING + kept + 10 * longest + 2 * share
    assert begun_after(victim, others, paces, together=together) <= bound


@pytest.mark.parametrize("priority", [0, -5])
def test_ten_priorities_are_caught_up_in_ten_minutes(priority: int) -> None:
    waited = begun_after((priority, "sd"), [(priority + 10, "sd", "x", 2.0)], [1.0])
    assert 9 * AGEING <= waited <= 11 * AGEING
