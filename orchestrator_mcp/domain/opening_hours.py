"""When an artist's workstation may render: `Mon-Fri 19:00-08:00, Sat-Sun 00:00-24:00`, in local time.

A range that ends before it begins goes over midnight and belongs to the day on which it begins. Days may be left out
(every day), and so may hours (the whole day). Clock changes are followed: what counts is what the clock on the wall
shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

LONGEST: Final = 500
"""Characters that a text may have."""

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY: Final = 24 * 60  # minutes
_WEEK: Final = 7 * _DAY
_PART: Final = re.compile(
    r"(?:([a-z]+)(?:\s*-\s*([a-z]+))?)?\s*(?:([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2}))?"
)
_EXAMPLE: Final = "write it like 'Mon-Fri 19:00-08:00, Sat-Sun 00:00-24:00'"


@dataclass(frozen=True, order=True)
class Span:
    """A stretch of the week.

    Attributes:
        start: minutes since Monday 00:00.
        length: minutes, above 0; it may go over the end of the week.
    """

    start: int
    length: int

    def holds(self, minute: float) -> bool:
        """Whether a minute of the week lies in it."""
        return (minute - self.start) % _WEEK < self.length


@dataclass(frozen=True)
class OpeningHours:
    """When something is open.

    Attributes:
        spans: of the week, local time.
        zone: whose clock counts; None for the machine's own.
    """

    spans: tuple[Span, ...]
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, text: str, zone: tzinfo | None = None) -> OpeningHours:
        """Read what somebody wrote.

        Args:
            text: one or more ranges, with commas between them.
            zone: whose clock counts; None for the machine's own.

        Raises:
            ValueError: what is wrong with it, and how to write it.
        """
        if len(text) > LONGEST:
            raise ValueError(f"opening hours of {len(text)} characters; at most {LONGEST} are read")
        spans = {span for part in text.split(",") for span in _spans(part.strip())}
        return cls(tuple(sorted(spans)), zone)

    def is_open(self, moment: datetime) -> bool:
        """Whether it is open.

        Args:
            moment: aware.
        """
        local = moment.astimezone(self.zone)
        minute = local.weekday() * _DAY + local.hour * 60 + local.minute
        return any(span.holds(minute) for span in self.spans)

    def next_change(self, moment: datetime) -> datetime | None:
        """When it opens, if it is closed, or closes, if it is open.

        Args:
            moment: aware.

        Returns:
            A moment after it, in UTC; None if it never closes.
        """
        moment = moment.astimezone(UTC)
        now = self.is_open(moment)
        changes = sorted(found for found in self._boundaries(moment) if found > moment)
        return next((found for found in changes if self.is_open(found) != now), None)

    def _boundaries(self, moment: datetime) -> Iterator[datetime]:
        """All beginnings and ends of the days around, and each half hour (a clock change may open or close)."""
        local = moment.astimezone(self.zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        monday = midnight - timedelta(days=local.weekday())
        for week in (-1, 0, 1):
            for span in self.spans:
                for minute in (span.start, span.start + span.length):
                    wall = monday + timedelta(minutes=minute, weeks=week)
                    for fold in (0, 1):
                        yield self._aware(wall.replace(fold=fold)).astimezone(UTC)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        for ahead in range(1, 8 * 48):
            yield hour + timedelta(minutes=30 * ahead)

    def _aware(self, wall: datetime) -> datetime:
        return wall.replace(tzinfo=self.zone) if self.zone is not None else wall.astimezone()


def _spans(part: str) -> Iterator[Span]:
    found = _PART.fullmatch(part.lower())
    if not part or found is None:
        raise ValueError(f"{part[:40]!a} is no range of opening hours; {_EXAMPLE}")
    first, last, *clock = found.groups()
    start, length = _hours(part, *clock) if clock[0] is not None else (0, _DAY)
    for day in _days(first, last):
        yield Span(day * _DAY + start, length)


def _hours(part: str, from_hour: str, from_minute: str, to_hour: str, to_minute: str) -> tuple[int, int]:
    start, end = int(from_hour) * 60 + int(from_minute), int(to_hour) * 60 + int(to_minute)
    if start >= _DAY or end > _DAY or int(from_minute) > 59 or int(to_minute) > 59:
        raise ValueError(f"{part[:40]!a} names an hour that no clock shows; {_EXAMPLE}")
    if start == end:
        raise ValueError(f"{part[:40]!a} begins and ends at the same time; write 00:00-24:00 for the whole day")
    return start, (end - start) % _DAY or _DAY


def _days(first: str | None, last: str | None) -> list[int]:
    if first is None:
        return list(range(7))
    start = _day(first)
    end = _day(last) if last is not None else start
    return [(start + ahead) % 7 for ahead in range((end - start) % 7 + 1)]


def _day(name: str) -> int:
    found = [number for number, day in enumerate(DAYS) if name in (day, day[:3])]
    if not found:
        raise ValueError(f"{name[:40]!a} is no day; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
    return found[0]
