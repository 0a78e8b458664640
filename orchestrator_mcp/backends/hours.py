"""What a backend's opening hours say at a moment, and for how long: worked out once for all who have the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from orchestrator_mcp.domain.opening_hours import OpeningHours


@dataclass(frozen=True, kw_only=True)
class HoursNow:
    """What opening hours say.

    Attributes:
        available: the hours, as they are configured; None for at all times.
        since: from when on this is known to be so.
        until: when it changes; None when that is not in sight.
        closed: why nothing goes there now, in words; None while it is open.
    """

    available: str | None
    since: datetime
    until: datetime | None
    closed: str | None

    def holds(self, now: datetime) -> bool:
        """Whether it is still so; a calendar that was set back is a reason to look again."""
        return self.since <= now and (self.until is None or now < self.until)


@lru_cache(maxsize=1024)
def hours_at(available: str | None, moment: datetime) -> HoursNow:
    """Work out what opening hours say.

    Args:
        available: the hours, as they are configured and checked; None for at all times.
        moment: a full minute, so that many ask for the same.
    """
    if available is None:
        return HoursNow(available=None, since=moment, until=None, closed=None)
    hours = OpeningHours.parse(available)
    until = hours.next_change(moment)
    if hours.is_open(moment):
        return HoursNow(available=available, since=moment, until=until, closed=None)
    opens = f" until {until.astimezone(hours.zone):%a %H:%M}" if until is not None else ""
    words = f"it is outside of its opening hours ({available}){opens}"
    return HoursNow(available=available, since=moment, until=until, closed=words)
