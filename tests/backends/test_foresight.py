"""What is known of the waiting lanes, around one decision."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator_mcp.backends.foresight import Decision
from orchestrator_mcp.domain.experience import Experience
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.outlook import Outlook
from orchestrator_mcp.domain.situation import Candidate, Lane

NOW = 10_000_000


class Everything:
    """A catalogue that has it all."""

    def has_class(self, name: str) -> bool:
        return True

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        return None


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
    free = Candidate(
        backend_id="a",
        epoch=1,
        unavailable=None,
        capabilities=frozenset(),
        slots=1,
        running=0,
        catalogue=Everything(),
    )
    decision = Decision(Experience().outlook([free], NOW))
    assert len(decision.choose(lanes, decision.outlook.candidates, NOW)) == 1
    assert looked_up == [1, 2]
