"""Deadlines: how they are read, and when they raise the priority of lanes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.deadlines import SHORTEST, is_late, raised_priorities, read_deadline
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.situation import Lane

NOW = 1_000_000_000
HOUR = 3_600_000
SIX = datetime(2026, 3, 1, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    ["2026-03-01T18:00:00Z", "2026-03-01T18:00Z", "2026-03-01T19:00:00+01:00", "2026-03-01 12:30:00.000-0530"],
)
def test_a_moment_with_its_zone_is_read(written: str) -> None:
    assert read_deadline(written) == SIX
    assert Manifest.model_validate({"workflow_id": "a", "deadline": written}).deadline == SIX


@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ("2026-03-01T18:00:00", "write 2026-03-01T18:00:00Z for UTC"),
        ("2026-03-01", "write 2026-03-01T00:00:00Z for UTC"),
        ("tomorrow", "as 2026-03-01T18:00:00Z"),
        ("", "as 2026-03-01T18:00:00Z"),
        (1_772_388_000, "as text"),
        (True, "as text"),
        ("0001-01-01T00:00:00+14:00", "outside the calendar"),
        ("9" * 65, "as text"),
    ],
)
def test_what_is_no_moment_is_refused_with_what_to_write(written: Any, mend: str) -> None:
    with pytest.raises(ValueError, match=mend.replace("+", r"\+")):
        read_deadline(written)
    with pytest.raises(ValueError, match="deadline"):
        Manifest.model_validate({"workflow_id": "a", "deadline": written})


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    try:
        assert read_deadline(text).tzinfo is UTC
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("done", "left", "late"),
    [(None, None, None), (None, 59, False), (None, 61, True), (61, None, True), (59, 99, False)],
)
def test_late_is_what_is_known_of_it(done: int | None, left: float | None, late: bool | None) -> None:
    ended = SIX + timedelta(seconds=done) if done is not None else None
    assert is_late(SIX + timedelta(seconds=60), ended, SIX, left) is late
    assert is_late(None, ended, SIX, left) is None
    assert is_late(SIX, None, SIX + timedelta(seconds=1), None) is True


def lane(number: int = 1, *, ahead: int, last: int | None = None, count: int = 1, **facts: Any) -> Lane:
    due = NOW + ahead
    known = {"priority": 0, "seconds": 10.0, **facts}
    last = due if last is None else NOW + last
    return Lane(id=number, spec=LaneSpec(dated=0), since=NOW, count=count, deadline=due, last_deadline=last, **known)


def test_one_job_is_raised_by_itself_and_lanes_without_a_deadline_are_left_alone() -> None:
    plain = Lane(id=9, spec=LaneSpec(), priority=3, since=NOW, count=1)
    soon, far = lane(1, ahead=2 * SHORTEST, priority=-5), lane(2, ahead=99 * SHORTEST)
    assert raised_priorities([plain, soon, far], NOW, 1.0) == {1: 195, 2: 0}


def test_many_jobs_that_are_due_together_begin_earlier_than_one_and_on_more_backends_later() -> None:
    batch = lane(ahead=HOUR, count=300)
    assert raised_priorities([batch], NOW, 1.0) == {1: 200}
    assert raised_priorities([batch], NOW, 4.0) == {1: 0}
    assert raised_priorities([lane(ahead=HOUR, last=100 * HOUR, count=300)], NOW, 1.0) == {1: 0}, "one an hour"


def test_what_others_have_that_is_due_no_later_counts() -> None:
    mine, before, after = lane(1, ahead=HOUR), lane(2, ahead=HOUR, count=300), lane(3, ahead=2 * HOUR)
    assert raised_priorities([after, mine, before], NOW, 1.0) == {1: 0, 2: 200, 3: 0}
    assert raised_priorities([lane(4, ahead=HOUR), before], NOW, 1.0)[4] == 200


def test_what_nobody_knows_the_length_of_is_raised_in_the_last_minutes() -> None:
    assert raised_priorities([lane(ahead=HOUR, seconds=None, count=99)], NOW, 1.0) == {1: 0}
    assert raised_priorities([lane(ahead=SHORTEST, seconds=None)], NOW, 0.0) == {1: 200}
