"""Batches as the rest of the house sees them."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from orchestrator_mcp.domain.jobs import JobFailure, JobState
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import NO_LIMITS, QueueLimits
from orchestrator_mcp.errors import NotFoundError
from orchestrator_mcp.store import batches
from orchestrator_mcp.store.batch_records import (
    BatchAcceptance,
    BatchEnd,
    BatchJob,
    BatchSpec,
    NewBatch,
    StoredBatch,
    batch_job,
    stored_batch,
)
from orchestrator_mcp.store.places import LEAST_NEAR, place
from orchestrator_mcp.store.records import Place, StoredJob
from orchestrator_mcp.store.schema import STATE_CODES
from orchestrator_mcp.store.sqlite import Transaction
from orchestrator_mcp.store.whole_jobs import whole_job
from orchestrator_mcp.store.writer import Writer

T = TypeVar("T")
AT_ONCE: Final = 500  # jobs cancelled in one transaction, so that others are not kept waiting
MOST_ENDS: Final = 8  # lanes of a batch that are looked at for saying when it will be done
_LAST: Final = 2**62


class Read(Protocol):
    """Asks the reading connection."""

    def __call__(self, question: Callable[[Transaction], T], /) -> Awaitable[T]: ...


class BatchStore:
    """Batches, in the same database as their jobs.

    Args:
        writer: the only one who writes.
        read: asks the reading connection.
    """

    def __init__(self, writer: Writer, read: Read) -> None:
        self._writer = writer
        self._read = read

    async def accept(self, new: NewBatch, *, limits: QueueLimits = NO_LIMITS) -> BatchAcceptance:
        """Store a batch durably and queue its jobs: all of them, or none.

        Raises:
            IdempotencyConflict: its key came before with another manifest.
            ManifestError: a parent cannot hand over what is wanted of it.
            TooLargeError: it has more jobs than may ever wait.
            QueueFullError: more jobs would wait than may.
            StorageError: it cannot be stored now.
        """
        return await self._writer.write(lambda tx: batches.accept(tx, new, limits=limits))

    async def retry(self, batch_id: str, now: datetime, *, limits: QueueLimits = NO_LIMITS) -> BatchAcceptance:
        """Do the failed and cancelled jobs again.

        Raises:
            NotFoundError: no such batch.
            NothingFailedError: there is nothing to do again.
            TooLargeError: it has more jobs than may ever wait.
            QueueFullError: more jobs would wait than may.
        """
        return await self._writer.write(lambda tx: batches.retry(tx, batch_id, now, limits=limits))

    async def cancel(self, row: int, now: datetime) -> int:
        """Cancel every job that has not ended, or flag it if it runs; how many there were.

        Args:
            row: the batch's row.
            now: the present moment.
        """
        cancelled = 0
        while True:
            count = await self._writer.write(lambda tx: batches.cancel_some(tx, row, now, AT_ONCE))
            cancelled += count
            if count < AT_ONCE:
                return cancelled

    async def knows(self, new: NewBatch) -> bool:
        """Whether it came before under the same claim, or by the same owner under the same idempotency key."""
        claim_id = new.claim.claim_id if new.claim else None

        def read(tx: Transaction) -> bool:
            if claim_id is not None and tx.one("batch_by_claim", b_claim=claim_id) is not None:
                return True
            key = new.idempotency_key
            return key is not None and tx.one("batch_by_idempotency_key", b_owner=new.owner, b_key=key) is not None

        return await self._read(read)

    async def batch(self, batch_id: str) -> StoredBatch:
        """A batch and where its jobs stand. Raises NotFoundError."""

        def read(tx: Transaction) -> StoredBatch | None:
            row = tx.one("batch_by_uid", b_uid=batch_id)
            return _whole(tx, row) if row is not None else None

        stored = await self._read(read)
        if stored is None:
            raise NotFoundError("batch", batch_id)
        return stored

    async def page(self, *, before: int | None, limit: int) -> list[StoredBatch]:
        """A page of batches, newest first.

        Args:
            before: only rows older than this one.
            limit: how many at the most.
        """

        def read(tx: Transaction) -> list[StoredBatch]:
            rows = tx.all("batches_page", b_before=_LAST if before is None else before, b_count=limit)
            return [_whole(tx, row) for row in rows]

        return await self._read(read)

    async def jobs(self, row: int) -> list[BatchJob]:
        """Every job of a batch that counts, in the order of their indices.

        Args:
            row: the batch's row.
        """

        def read(tx: Transaction) -> list[BatchJob]:
            artifacts: dict[int, list[Any]] = defaultdict(list)
            for item in tx.all("batch_artifacts", b_batch=row):
                artifacts[item["job_id"]].append(item)
            return [batch_job(one, artifacts[one["id"]]) for one in tx.all("batch_jobs", b_batch=row)]

        return await self._read(read)

    async def first_jobs(self, row: int, count: int) -> list[StoredJob]:
        """The first jobs of a batch that count, whole.

        Args:
            row: the batch's row.
            count: how many at the most.
        """

        def read(tx: Transaction) -> list[StoredJob]:
            return [whole_job(tx, one) for one in tx.all("batch_first_jobs", b_batch=row, b_count=count)]

        return await self._read(read)

    async def failures(self, row: int, count: int) -> list[tuple[str, JobFailure]]:
        """The first jobs of a batch that failed, and why.

        Args:
            row: the batch's row.
            count: how many at the most.
        """
        rows = await self._read(lambda tx: tx.all("batch_failures", b_batch=row, b_count=count))
        return [(one["uid"], JobFailure(**json.loads(one["failure"]))) for one in rows]

    async def undelivered(self, *, limit: int) -> list[str]:
        """Ended batches whose delivery is due and whose jobs are all delivered, oldest first."""
        rows = await self._read(lambda tx: tx.all("undelivered_batches", b_count=limit))
        return [str(row["uid"]) for row in rows]

    async def record_delivery(self, batch_id: str, path: str | None) -> None:
        """The result of a batch is delivered, unless it was begun again meanwhile."""
        await self._writer.write(lambda tx: tx.run("deliver_batch", b_uid=batch_id, b_path=path))


def _whole(tx: Transaction, row: sqlite3.Row) -> StoredBatch:
    tallies = tx.all("batch_tally", b_batch=row["id"])
    return stored_batch(row, tallies, tx.all("batch_running", b_batch=row["id"]), _ends(tx, row, tallies))


def _ends(tx: Transaction, row: sqlite3.Row, tallies: Sequence[sqlite3.Row]) -> list[BatchEnd]:
    """Where the last of its queued jobs stand: of a few lanes, those that it came to last."""
    queued = [tally for tally in tallies if tally["state"] == STATE_CODES[JobState.QUEUED]]
    due, found = BatchSpec.from_json(row["spec"]).due, []
    for tally in sorted(queued, key=lambda one: -int(one["last"]))[:MOST_ENDS]:
        lane = tx.one("lane_by_id", b_lane=tally["lane_id"])
        at = Place(row=tally["last"], lane_id=tally["lane_id"], rank=tally["rank"], due=due)
        if lane is not None:
            position = place(tx, at, near=LEAST_NEAR)
            found.append(BatchEnd(place=at, lane=LaneSpec.from_json(lane["spec"]), position=position))
    return found
