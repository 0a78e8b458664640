"""The lane that a job stands in. Runs on the store thread only."""

from __future__ import annotations

import sqlite3
from typing import Final

from orchestrator_mcp.domain.jobs import JobState
from orchestrator_mcp.domain.lanes import LaneSpec, lane_key
from orchestrator_mcp.store.sqlite import Transaction

MOST_LANES: Final = 4_096  # callers choose their source freely, and every claim looks at each lane with work


def lane_for(tx: Transaction, spec: LaneSpec) -> int:
    """The lane of these needs; beyond `MOST_LANES`, sources that nobody has met share buckets."""
    if (known := tx.known.row(spec)) is not None:
        return known
    asked, row = spec, _known_lane(tx, spec)
    if row is None and (counted := tx.one("lane_count")) is not None and counted[0] >= MOST_LANES:
        spec = spec.bucketed()
        row = _known_lane(tx, spec)
    if row is None:
        tx.run("add_lane", key=lane_key(spec.to_json()), spec=spec.to_json(), source=spec.source)
        row = _known_lane(tx, spec)
    assert row is not None  # added a line above
    return tx.known.keep(asked, int(row["id"]))


def enters(tx: Transaction, lane_id: int, state: JobState, jobs: int = 1) -> None:
    """Jobs begin to wait in a lane: count them."""
    _count(tx, lane_id, state, jobs)


def leaves(tx: Transaction, lane_id: int, state: JobState, jobs: int = 1) -> None:
    """Jobs no longer wait in a lane as they did: count them no more.

    Args:
        tx: the transaction.
        lane_id: where they stood.
        state: how they waited.
        jobs: how many.
    """
    _count(tx, lane_id, state, -jobs)


def _count(tx: Transaction, lane_id: int, state: JobState, difference: int) -> None:
    if state is JobState.QUEUED:
        tx.count(lane_id, difference)
    elif state is JobState.WAITING:
        tx.hold(lane_id, difference)


def _known_lane(tx: Transaction, spec: LaneSpec) -> sqlite3.Row | None:
    return tx.one("lane_by_key", b_key=lane_key(spec.to_json()))
