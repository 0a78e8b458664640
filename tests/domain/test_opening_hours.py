"""When a workstation may render."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_mcp.domain.opening_hours import LONGEST, OpeningHours

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def hours(text: str) -> OpeningHours:
    return OpeningHours.parse(text, UTC)


def at(day: int, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    nights = hours("Mon-Fri 19:00-08:00")
    assert not nights.is_open(at(0, "07:59")), "Sunday's night is not named"
    assert nights.is_open(at(0, "19:00"))
    assert nights.is_open(at(1, "07:59"))
    assert not nights.is_open(at(1, "08:00"))
    assert nights.is_open(at(5, "07:59")), "Friday's night ends on Saturday"
    assert not nights.is_open(at(5, "19:00"))


def test_ranges_add_up_and_whole_days_need_no_hours() -> None:
    both = hours("mon-fri 19:00-08:00, Sat-Sun")
    assert both.is_open(at(6, "12:00"))
    assert both.next_change(at(4, "12:00")) == at(4, "19:00")
    assert both.next_change(at(4, "20:00")) == at(7, "00:00"), "from Friday evening until Monday begins"
    assert hours("12:00-13:00").is_open(at(3, "12:30"))
    assert hours("Sunday 23:00 - 01:00").is_open(at(7, "00:59")), "over the end of the week"
    assert hours("Fri-Mon").is_open(at(0, "05:00"))
    assert not hours("Fri-Mon").is_open(at(1, "05:00"))


def test_what_never_closes_never_changes() -> None:
    assert hours("00:00-24:00").next_change(at(0, "12:00")) is None
    assert hours("12:00-24:00, 00:00-12:00").next_change(at(0, "12:00")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no range"),
        ("Mon-Fri 19-8", "no range"),
        ("Mon 25:00-26:00", "no clock"),
        ("Mon 08:60-09:00", "no clock"),
        ("Mon 24:00-09:00", "no clock"),
        ("Mon 08:00-08:00", "the same time"),
        ("Mon,,Tue", "no range"),
        ("Montag 08:00-09:00", "no day"),
        ("Mon-Fr 08:00-09:00", "no day"),
        ("Mon 08:00-09:00 x", "no range"),
        ("Mon " * LONGEST, "characters"),
        ("Mon\n19:00\u0661-08:00", "no range"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OpeningHours.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        found = OpeningHours.parse(text, UTC)
    except ValueError as error:
        assert len(str(error)) < 600
    else:
        assert found.spans


def test_the_clock_on_the_wall_counts_when_clocks_change() -> None:
    nights = OpeningHours.parse("22:00-06:00", BERLIN)
    before = datetime(2026, 3, 28, 23, 0, tzinfo=BERLIN)
    assert nights.next_change(before) == datetime(2026, 3, 29, 6, 0, tzinfo=BERLIN)
    gap = OpeningHours.parse("00:00-02:30", BERLIN)
    change = gap.next_change(datetime(2026, 3, 29, 1, 0, tzinfo=BERLIN))
    assert change == datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "at 02:00 it was 03:00"


ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), timezone(timedelta(hours=5, minutes=45))])
CLOCKS = st.tuples(st.integers(0, 23), st.integers(0, 59))
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=ZONES)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["", "Mon ", "Fri-Sun "]), CLOCKS, CLOCKS), min_size=1, max_size=3),
    ZONES,
    MOMENTS,
)
def test_it_changes_exactly_when_it_says(
    ranges: list[tuple[str, tuple[int, int], tuple[int, int]]], zone: ZoneInfo, moment: datetime
) -> None:
    parts = [f"{days}{a[0]:02}:{a[1]:02}-{b[0]:02}:{b[1]:02}" for days, a, b in ranges if a != b]
    found = OpeningHours.parse(", ".join(parts or ["Sat"]), zone)
    moment = moment.astimezone(UTC)
    change = found.next_change(moment)
    was = found.is_open(moment)
    until = change or moment + timedelta(days=9)
    for share in range(100):
        between = moment + (until - moment) * share / 100
        assert found.is_open(between) == was
    if change is not None:
        assert change > moment
        assert found.is_open(change) != was
        assert found.is_open(change - timedelta(seconds=1)) == was or change - moment < timedelta(seconds=1)
