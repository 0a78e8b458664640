"""Whether more jobs may wait. Runs on the store thread only."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import QueueLimits
from orchestrator_mcp.errors import QueueFullError, ShareFullError, TooLargeError
from orchestrator_mcp.store.sqlite import Transaction


def require_room(tx: Transaction, wanted: Mapping[str, int], limits: QueueLimits) -> None:
    """Refuse jobs that would be too many. What it costs grows with lanes, never with jobs.

    Args:
        tx: the transaction that is to store them.
        wanted: how many more are to wait, by source.
        limits: how many may.

    Raises:
        TooLargeError: a batch alone has more jobs than may wait: it would never find room.
        QueueFullError: more would wait than may.
        ShareFullError: more of one source would.
    """
    bounds = {source: most for source in wanted if (most := limits.of(source)) is not None}
    if limits.total is None and not bounds:
        return
    tx.settle_lanes()
    if limits.total is not None:
        _require_of_all(tx, sum(wanted.values()), limits.total)
    for source, most in bounds.items():
        count = wanted[source]
        if count > most:
            raise _never(count, f" of {limits.called(source)}", f"scheduling.max_queued is {most}")
        if (waiting := _waiting_of(tx, source)) + count > most:
            raise ShareFullError(
                f"The queue has no room for {_more(count)} of {limits.called(source)}: {waiting} of them "
                f"{'waits' if waiting == 1 else 'wait'}, and scheduling.max_queued is {most}.",
                hint="Wait until some of them have finished"
                + ("." if count == 1 else ", or hand in a smaller batch.")
                + " The operator of the farm can allow more.",
            )


def _require_of_all(tx: Transaction, count: int, most: int) -> None:
    if count > most:
        raise _never(count, "", f"limits.queued_jobs is {most}")
    row = tx.one("waiting_total")
    waiting = int(row[0]) if row else 0
    if waiting + count <= most:
        return
    if count == 1:
        raise QueueFullError(f"The queue is full: limits.queued_jobs is {most}.", hint="Wait until jobs have finished.")
    raise QueueFullError(
        f"The queue has no room for {count} more jobs: {waiting} wait, and limits.queued_jobs is {most}.",
        hint="Wait until jobs have finished, or hand in a smaller batch.",
    )


def _never(count: int, whose: str, limit: str) -> TooLargeError:
    return TooLargeError(
        f"The queue never has room for {count} jobs at once{whose}: {limit}.",
        hint="Hand in smaller batches, one after the other. The operator of the farm can allow more.",
    )


def _waiting_of(tx: Transaction, source: str) -> int:
    """How many jobs of a source wait; with them those that share its bucket, where there are too many lanes."""
    bucket = LaneSpec(source=source).bucketed().source
    row = tx.one("waiting_of", b_source=source, b_bucket=bucket)
    return int(row[0]) if row else 0


def _more(count: int) -> str:
    return "one more job" if count == 1 else f"{count} more jobs"
