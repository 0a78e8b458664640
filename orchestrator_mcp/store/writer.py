"""Group commit: every write of a moment goes into one transaction on the one store thread.

A thread hop and an fsync cost more than a hundred statements, so they are paid once per batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.store.sqlite import Database, Transaction, concerns_all, storage_errors

log = logging.getLogger(__name__)
T = TypeVar("T")

LARGEST_BATCH: Final = 2_000  # operations in one transaction


@dataclass(kw_only=True, eq=False)
class _Pending:
    operation: Callable[[Transaction], Any]
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: Exception | None = None


class Writer:
    """The only one who writes.

    Args:
        database: an open one.
        committed: called on the event loop with the results of each committed batch, before their callers go on.

    Attributes:
        thread: who else uses the writing connection must hold it.
        trouble: why the last transaction could not be stored; None when it could.
    """

    def __init__(self, database: Database, *, committed: Callable[[Sequence[Any]], None]) -> None:
        self._database = database
        self._committed = committed
        self._pending: list[_Pending] = []
        self._wake = anyio.Event()
        self.thread = anyio.CapacityLimiter(1)
        self._closed = False
        self.trouble: str | None = None

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation in the next transaction and wait until it is durable.

        Args:
            operation: what to do; runs on the store thread, maybe twice (a batch that fails is replayed one by one).

        Raises:
            StorageError: it could not be stored.
            OrchestratorError: whatever the operation raised.
        """
        if self._closed:
            raise StorageError("The orchestrator is stopping and stores nothing more.")
        pending = _Pending(operation=operation)
        self._pending.append(pending)
        self._wake.set()
        await pending.done.wait()
        if pending.error is not None:
            raise pending.error
        result: T = pending.result
        return result

    async def run(self) -> None:
        """Commit batch after batch until `close` is called."""
        while not (self._closed and not self._pending):
            await self._wake.wait()
            self._wake = anyio.Event()
            while self._pending:
                batch, self._pending = self._pending[:LARGEST_BATCH], self._pending[LARGEST_BATCH:]
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._commit, batch, limiter=self.thread)
                self._committed([pending.result for pending in batch if pending.error is None])
                for pending in batch:
                    pending.done.set()

    def close(self) -> None:
        """Take nothing more; `run` ends when what waits is committed."""
        self._closed = True
        self._wake.set()

    def _commit(self, batch: list[_Pending]) -> None:
        """One transaction for all; when it fails, one for each, so that a bad one cannot fail its neighbours.

        Where the file itself refuses, nothing would fare better alone: all fail at once, and nobody waits again.
        """
        try:
            self._transact(batch)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an operation raised belongs to its caller
            if len(batch) == 1 or concerns_all(error):
                for pending in batch:
                    pending.error = error
                return
            for pending in batch:
                self._commit([pending])

    def _transact(self, batch: list[_Pending]) -> None:
        try:
            self._store(batch)
        except StorageError as error:
            self.trouble = str(error)
            raise
        self.trouble = None

    def _store(self, batch: list[_Pending]) -> None:
        with storage_errors(self._database):
            self._database.begin()
            cursor = self._database.writer.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                transaction = Transaction(cursor, self._database.statements)
                for pending in batch:
                    pending.result = pending.operation(transaction)
                transaction.settle()
                self._database.check_place()
                cursor.execute("COMMIT")
            except BaseException:
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
