"""Deadlines raise priority in time: early enough that the jobs can still be done, and not before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator_mcp.domain.situation import Lane

STEPS: Final = ((2.0, 200), (4.0, 100), (8.0, 50), (16.0, 25))
"""(how often the job could still be done one after the other, what is added to its priority), the tightest first."""

SHORTEST: Final = 60_000
"""Milliseconds that any job is taken to need, with the wait for a slot: none is begun in the last second."""

CROWDED: Final = 1.5
"""When all that is due takes more than the time that is left divided by this, it goes before everything else."""

_LONGEST_TEXT: Final = 64  # characters


def read_deadline(value: Any) -> datetime:
    """A moment as people and programs write it.

    Args:
        value: ISO 8601 with a zone, such as `2026-03-01T18:00:00Z`.

    Raises:
        ValueError: it is none, or nobody can know which moment is meant; the message says what to write.
    """
    if isinstance(value, datetime):
        moment = value
    elif not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise ValueError("a moment as text is needed, such as 2026-03-01T18:00:00Z")
    else:
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(
                f"{value!r} is no moment; write it with its zone, as 2026-03-01T18:00:00Z or 2026-03-01T18:00:00+01:00"
            ) from None
    if moment.tzinfo is None:
        written = moment.isoformat()
        raise ValueError(f"{written} has no zone; write {written}Z for UTC, or with an offset: {written}+01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is outside the calendar") from None


def is_late(deadline: datetime | None, done: datetime | None, now: datetime, seconds_left: float | None) -> bool | None:
    """Whether something was done, or will likely be done, after its deadline.

    Args:
        deadline: when it must be done.
        done: when it was; None while it is not.
        now: the present moment.
        seconds_left: until it will be done; None while that is not known.

    Returns:
        None without a deadline, and while nobody can say.
    """
    if deadline is None:
        return None
    if done is not None:
        return done > deadline
    ahead = (deadline - now).total_seconds()
    if ahead < 0:
        return True
    return None if seconds_left is None else seconds_left > ahead


def raised_priority(priority: int, deadline: int, now: int, seconds: float) -> int:
    """The priority of a job at a moment, with what its deadline adds.

    Args:
        priority: its own, -100 to 100.
        deadline: when it must be done, milliseconds since the Unix epoch.
        now: the same.
        seconds: how long it takes, 0.0 while unknown.

    Returns:
        At most 200 more than its own. A deadline that has passed keeps its rise: late is better than later.
    """
    need = max(float(SHORTEST), 1000 * seconds)
    for times, rise in STEPS:
        if deadline - now <= times * need:
            return priority + rise
    return priority


def raised_priorities(lanes: Iterable[Lane], now: int, speed: float) -> Mapping[int, int]:
    """The present priority of each lane whose jobs have deadlines.

    The first job of a lane counts by itself. All of its jobs count together with what other lanes have that is due no
    later: many jobs begin earlier than one, and if they cannot be done in time by much, they go first.

    Args:
        lanes: all with work.
        now: milliseconds since the Unix epoch.
        speed: how many seconds of work the farm does in a second, in those of a backend of pace 1.

    Returns:
        lane -> priority.
    """
    found: dict[int, int] = {}
    due = [(max(lane.deadline, lane.last_deadline), lane.id, lane) for lane in lanes if lane.deadline is not None]
    work = 0.0
    for last, lane_id, lane in sorted(due, key=lambda entry: entry[:2]):
        each = lane.seconds or 0.0
        work += each * lane.count
        found[lane_id] = raised_priority(lane.priority, lane.deadline or 0, now, each)
        if speed > 0 and last - now <= CROWDED * 1000 * work / speed:
            found[lane_id] = lane.priority + STEPS[0][1]
    return found
