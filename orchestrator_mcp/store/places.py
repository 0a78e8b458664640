"""Where a job stands in its lane, by a bounded look at both ends of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_mcp.store.records import Place
from orchestrator_mcp.store.sqlite import Transaction

NEAR: Final = 500  # jobs that are counted at each end; so a deep lane costs what a shallow one does
LEAST_NEAR: Final = 25
MOST_COUNTED: Final = 50_000  # jobs for a whole page
DIGITS: Final = 2  # of an estimate that stand; the rest are zeros


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What was counted round a job, at most so many of each.

    Attributes:
        queued: jobs in the lane, all of them.
        higher: those of a higher priority, or that are due earlier.
        lower: those of a lower one, or that are due later.
        ahead: those of its own that came earlier, the earliest first.
        behind: those of its own that came later, the latest first.
        ahead_to: the number of the last that was counted ahead; None without any.
        behind_to: the number of the last that was counted behind, likewise.
    """

    queued: int
    higher: int
    lower: int
    ahead: int
    behind: int
    ahead_to: int | None
    behind_to: int | None


def place_of(row: int, seen: Surroundings, near: int) -> int | None:
    """Its place, 1 for the next: exact near both ends of the lane, a round estimate between them.

    Args:
        row: the job's own number; a job that came later has a greater one.
        seen: what was counted.
        near: how many were counted of each at the most.

    Returns:
        None where so many of other priorities wait on both sides that it cannot be told.
    """
    if seen.higher < near and seen.ahead < near:
        return seen.higher + seen.ahead + 1
    if seen.lower < near and seen.behind < near:
        return max(seen.higher + seen.ahead + 1, seen.queued - seen.lower - seen.behind)
    if seen.higher >= near or seen.lower >= near or seen.ahead_to is None or seen.behind_to is None:
        return None
    share = (row - seen.ahead_to) / (seen.behind_to - seen.ahead_to)
    between = max(0, seen.queued - seen.higher - seen.lower - 2 * near)
    return _rounded(seen.higher + near + share * between)


def places(tx: Transaction, wanted: Sequence[Place]) -> dict[int, int | None]:
    """Where many queued jobs stand, by their numbers: the more they are, the less is counted for each.

    Args:
        tx: reads.
        wanted: what orders them.
    """
    near = max(LEAST_NEAR, min(NEAR, MOST_COUNTED // (4 * max(1, len(wanted)))))
    return {one.row: place(tx, one, near=near) for one in wanted}


def _rounded(value: float) -> int:
    whole = round(value)
    return round(whole, DIGITS - len(str(whole)))


def place(tx: Transaction, at: Place, *, near: int | None = None) -> int | None:
    """Look, and say where a queued job stands; see `place_of`.

    Args:
        tx: reads.
        at: what orders it in its lane.
        near: how many are counted at each end; `NEAR` unless given.
    """
    near = NEAR if near is None else near
    found = tx.one(
        "surroundings_dated" if at.due else "surroundings",
        b_lane=at.lane_id,
        b_rank=at.rank,
        b_due=at.due,
        b_id=at.row,
        b_count=near,
    )
    return place_of(at.row, Surroundings(**dict(found)), near) if found is not None else None
