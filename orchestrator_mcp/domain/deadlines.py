"""Deadlines raise priority in time: early enough that the job can still be done, and not before."""

from __future__ import annotations

from typing import Final

STEPS: Final = ((2.0, 200), (4.0, 100), (8.0, 50), (16.0, 25))
"""(how often the job could still be done one after the other, what is added to its priority), the tightest first."""

SHORTEST: Final = 60_000
"""Milliseconds that any job is taken to need, with the wait for a slot: none is begun in the last second."""


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
    need = _need(seconds)
    for times, rise in STEPS:
        if deadline - now <= times * need:
            return priority + rise
    return priority


def next_rise(deadline: int, now: int, seconds: float) -> int | None:
    """When `raised_priority` answers something else than now.

    Args:
        deadline: when it must be done, milliseconds since the Unix epoch.
        now: the same.
        seconds: how long it takes, 0.0 while unknown.

    Returns:
        A moment after `now`, or None when it rises no more.
    """
    need = _need(seconds)
    moments = [int(deadline - times * need) for times, _ in STEPS]
    return min((moment for moment in moments if moment > now), default=None)


def _need(seconds: float) -> float:
    return max(float(SHORTEST), 1000 * seconds)
