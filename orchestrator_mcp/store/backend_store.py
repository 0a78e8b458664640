"""What operators want of backends, on record."""

from __future__ import annotations

import sqlite3

from orchestrator_mcp.clock import from_millis, to_millis
from orchestrator_mcp.domain.wishes import Wish, WishKind
from orchestrator_mcp.store.batch_store import Read
from orchestrator_mcp.store.sqlite import Transaction
from orchestrator_mcp.store.writer import Writer


class BackendStore:
    """What outlives the process about backends.

    Args:
        writer: the only one who writes.
        read: asks the reading connection.
    """

    def __init__(self, writer: Writer, read: Read) -> None:
        self._writer = writer
        self._read = read

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


def _wish(row: sqlite3.Row) -> Wish:
    return Wish(kind=WishKind(row["kind"]), by=row["by"], at=from_millis(row["at"]), note=row["note"])
