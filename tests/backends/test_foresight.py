"""What is known of the waiting lanes, around one decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator_mcp.backends.foresight import PART, Decision
from orchestrator_mcp.domain.experience import Experience
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.outlook import Outlook
from orchestrator_mcp.domain.placement import choose
from orchestrator_mcp.domain.situation import Candidate, Lane

NOW = 10_000_000


class Everything:
    """A catalogue that has it all."""

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


def idle(backend_id: str) -> Candidate:
    return Candidate(
        backend_id=backend_id,
        epoch=1,
        unavailable=None,
        capabilities=frozenset(),
        slots=1,
        running=0,
        catalogue=Everything(),
    )


def test_a_decision_that_gave_as_much_as_it_may_says_that_it_goes_on_and_that_nobody_was_left_idle() -> None:
    farm = [idle(f"g{number:03}") for number in range(PART + 1)]
    lane = Lane(id=1, spec=LaneSpec(source="x"), priority=0, since=NOW, count=PART + 1)
    decision = Decision(Experience().outlook(farm, NOW))
    assert len(decision.choose([lane], decision.outlook.candidates, NOW)) == PART
    assert decision.goes_on
    assert not decision.left_idle(lane.spec)
    assert len(decision.choose([lane], decision.outlook.candidates, NOW)) == 1
    assert not decision.goes_on
    few = Decision(Experience().outlook(farm[:2], NOW))
    assert len(few.choose([lane], few.outlook.candidates, NOW)) == 2
    assert not few.goes_on


def test_a_decision_looks_up_once_what_is_known_of_each_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up: list[int] = []
    known = Outlook.known

    def counted(self: Outlook, lanes: Sequence[Lane]) -> list[Lane]:
        looked_up.extend(lane.id for lane in lanes)
        return known(self, lanes)

    monkeypatch.setattr(Outlook, "known", counted)
    lanes = [Lane(id=number, spec=LaneSpec(source="x"), priority=0, since=NOW - number, count=3) for number in (1, 2)]
    decision = Decision(Experience().outlook([idle("a")], NOW))
    assert len(decision.choose(lanes, decision.outlook.candidates, NOW)) == 1
    assert looked_up == [1, 2]


def test_what_a_decision_hands_out_in_parts_is_what_it_would_give_at_once_but_for_who_has_no_room_any_more() -> None:
    farm = [idle(f"g{number:03}") for number in range(2 * PART)]
    lanes = [Lane(id=n, spec=LaneSpec(source=f"s{n}"), priority=0, since=NOW - n, count=PART) for n in range(3)]
    decision = Decision(Experience().outlook(farm, NOW))
    known = decision.outlook.candidates
    whole = choose(decision.outlook.known(lanes), known, NOW)
    first = decision.choose(lanes, known, NOW)
    assert decision.lanes is lanes
    gone = whole[PART].backend_id
    later = [replace(one, unavailable="it is offline") if one.backend_id == gone else one for one in known]
    second = decision.choose(lanes, later, NOW)
    assert [*first, *second] == [choice for choice in whole if choice.backend_id != gone]
    assert decision.goes_on
    assert decision.choose(lanes, later, NOW) == []
    assert not decision.goes_on
    assert decision.lanes is None
