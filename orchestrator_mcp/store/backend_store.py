"""What is on record of backends: what operators want of them, and how fast they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from orchestrator_mcp.clock import from_millis, to_millis
from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.speeds import Learned
from orchestrator_mcp.domain.wishes import Wish, WishKind
from orchestrator_mcp.store.batch_store import Read
from orchestrator_mcp.store.sqlite import Transaction
from orchestrator_mcp.store.writer import Writer

MOST_SPEEDS: Final = 5_000  # kept; beyond that, what was seen longest ago is forgotten


class BackendStore:
    """What outlives the process about backends.

    Args:
        writer: the only one who writes.
        read: asks the reading connection.
    """

    def __init__(self, writer: Writer, read: Read) -> None:
        self._writer = writer
        self._read = read

    async def owners(self) -> dict[str, str | None]:
        """Who held the lease of each backend last. Raises StorageError."""
        return await self._read(lambda tx: {row["backend_id"]: row["owner"] for row in tx.all("lease_owners")})

    async def wishes(self) -> dict[str, Wish]:
        """What is wanted of each backend, also of those that are not configured now. Raises StorageError."""
        return await self._read(lambda tx: {row["backend_id"]: _wish(row) for row in tx.all("wishes")})

    async def keep_wish(self, backend_id: str, wish: Wish | None) -> None:
        """Put on record what is wanted of a backend; None for nothing. Raises StorageError."""

        def keep(tx: Transaction) -> None:
            tx.run("forget_wish", b_backend_id=backend_id)
            if wish is not None:
                at = to_millis(wish.at)
                tx.run("add_wish", backend_id=backend_id, kind=wish.kind.value, by=wish.by, at=at, note=wish.note)

        await self._writer.write(keep)

    async def speeds(self) -> list[Learned]:
        """What was learned of how fast backends are, the oldest first. Raises StorageError."""
        return await self._read(lambda tx: [_learned(row) for row in tx.all("speeds")])

    async def keep_speeds(self, news: Sequence[Learned], now: datetime) -> None:
        """Put on record what was learned; what was seen longest ago goes beyond `MOST_SPEEDS`. Raises StorageError."""

        def keep(tx: Transaction) -> None:
            for one in news[-MOST_SPEEDS:]:
                tx.run("forget_speed", b_sort=one.sort, b_backend_id=one.backend_id, b_subject=one.subject)
                tx.run(
                    "add_speed",
                    sort=one.sort,
                    backend_id=one.backend_id,
                    subject=one.subject,
                    mean=one.estimate.mean,
                    deviation=one.estimate.deviation,
                    count=one.estimate.count,
                    seen_at=to_millis(now),
                )
            if (oldest := tx.one("oldest_speed_to_keep", b_most=MOST_SPEEDS - 1)) is not None:
                tx.run("forget_old_speeds", b_before=oldest["seen_at"])

        await self._writer.write(keep)


def _wish(row: sqlite3.Row) -> Wish:
    return Wish(kind=WishKind(row["kind"]), by=row["by"], at=from_millis(row["at"]), note=row["note"])


def _learned(row: sqlite3.Row) -> Learned:
    estimate = Estimate(mean=row["mean"], deviation=row["deviation"], count=row["count"])
    sort: Literal["render", "load"] = "load" if row["sort"] == "load" else "render"
    return Learned(sort=sort, backend_id=row["backend_id"], subject=row["subject"], estimate=estimate)
