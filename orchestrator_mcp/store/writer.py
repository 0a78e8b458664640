"""Group commit: every write of a moment goes into one transaction on the one store thread.

A thread hop and an fsync cost more than a hundred statements, so they are paid once per batch. What nobody waits for
stays for a moment, and mostly goes with what somebody waits for. The thread is the writer's own for as long as it runs:
one that was borrowed for each turn would be reached half as fast.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread

from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.store.known import Known
from orchestrator_mcp.store.sqlite import Database, Transaction, concerns_all, storage_errors

T = TypeVar("T")

LARGEST_BATCH: Final = 2_000  # operations in one transaction
LINGER: Final = 0.02  # seconds for which what nobody waits for stays, to be stored with what somebody waits for


@dataclass(kw_only=True, eq=False)
class _Turn:
    """What is committed together, whether somebody waits for it, and what there is to tell of it."""

    hurried: bool = False
    begun: bool = False
    writes: list[Written[Any]] = field(default_factory=list)
    told: list[JobChanged] = field(default_factory=list)
    done: anyio.Event = field(default_factory=anyio.Event)


class Written(Generic[T]):
    """A write that waits for its turn; await it to know that it is durable, and to have what came of it.

    Writes are stored in the order in which they were handed over, whether anybody awaits them or not.

    Args:
        operation: what to do in the transaction.
        then: called on the event loop once it is durable.
        turn: in which it is stored, or cannot be.

    Attributes:
        result: what the operation returned, once it had its turn.
        error: why it is not stored, once it had its turn.
    """

    __slots__ = ("_operation", "_turn", "error", "result", "then")

    def __init__(self, operation: Callable[[Transaction], T], then: Callable[[], None] | None, turn: _Turn) -> None:
        self._operation = operation
        self._turn = turn
        self.then = then
        self.result: T
        self.error: Exception | None = None

    def run(self, tx: Transaction) -> None:
        """Do it; on the store thread."""
        self.result = self._operation(tx)

    @property
    def waits(self) -> bool:
        """Its turn has not begun: what is written now is stored together with it, or after it."""
        return not self._turn.begun

    @property
    def failed(self) -> bool:
        """It had its turn, and is not stored."""
        return self.error is not None

    async def settled(self) -> None:
        """Wait until it had its turn."""
        await self._turn.done.wait()

    def __await__(self) -> Generator[Any, Any, T]:
        yield from self.settled().__await__()
        if self.error is not None:
            raise self.error
        return self.result


class Writer:
    """The only one who writes.

    Args:
        database: an open one.
        tell: called on the event loop with each event of a committed transaction, before its callers go on.

    Attributes:
        connection: who else uses the writing connection must hold it.
        trouble: why the last transaction could not be stored; None when it could.
    """

    def __init__(self, database: Database, *, tell: Callable[[JobChanged], None]) -> None:
        self._database = database
        self._tell = tell
        self._known = Known()
        self._turns: deque[_Turn] = deque()
        self._wake = anyio.Event()
        self._hurry = anyio.Event()
        self._to_store: SimpleQueue[_Turn | None] = SimpleQueue()
        self._back = anyio.Event()
        self.connection = anyio.CapacityLimiter(1)
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
        return await self.put(operation)

    def put(
        self, operation: Callable[[Transaction], T], *, then: Callable[[], None] | None = None, hurry: bool = True
    ) -> Written[T]:
        """Have an operation run in the next transaction, without waiting for it.

        Args:
            operation: see `write`.
            then: called on the event loop once it is durable, before anybody who awaits it goes on.
            hurry: False lets the next transaction be `LINGER` away, unless somebody else is in a hurry.

        Raises:
            StorageError: nothing is stored any more.
        """
        if self._closed:
            raise StorageError("The orchestrator is stopping and stores nothing more.")
        if not self._turns or len(self._turns[-1].writes) >= LARGEST_BATCH:
            self._turns.append(_Turn())
            self._wake.set()
        turn = self._turns[-1]
        written = Written(operation, then, turn)
        turn.writes.append(written)
        if hurry:
            turn.hurried = True
            self._hurry.set()
        return written

    async def write_each(self, operations: Sequence[Callable[[Transaction], T]]) -> list[T | Exception]:
        """Run several operations in a row, in one transaction if they fit, and wait until they are durable.

        Args:
            operations: see `write`; one that fails takes none of the others with it.

        Returns:
            For each what it returned, or what `write` would have raised.

        Raises:
            StorageError: nothing is stored any more.
        """
        together = [self.put(operation) for operation in operations]
        if together:
            await together[-1].settled()  # turns are taken in their order
        return [one.result if one.error is None else one.error for one in together]

    async def run(self) -> None:
        """Commit turn after turn until `close` is called."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._have_thread, name="store thread")
            try:
                while not (self._closed and not self._turns):
                    await self._wake.wait()
                    self._wake = anyio.Event()
                    while self._turns:
                        await self._linger()
                        self._tell_of(await self._stored())
            finally:
                self._to_store.put(None)

    async def _linger(self) -> None:
        """Wait until somebody is in a hurry, but not for long."""
        if not self._closed and not any(turn.hurried for turn in self._turns):
            self._hurry = anyio.Event()
            with anyio.move_on_after(LINGER):
                await self._hurry.wait()

    async def _stored(self) -> _Turn:
        """The next turn, as it comes back from the thread."""
        async with self.connection:
            with anyio.CancelScope(shield=True):
                turn, self._back = self._turns.popleft(), anyio.Event()
                turn.begun = True
                self._to_store.put(turn)
                await self._back.wait()
        return turn

    def _tell_of(self, turn: _Turn) -> None:
        for event in turn.told:
            self._tell(event)
        for written in turn.writes:
            if written.then is not None and written.error is None:
                written.then()
        turn.writes.clear()  # they know their turn: a circle stays in memory until all of that is looked at

    async def _have_thread(self) -> None:
        try:
            await anyio.to_thread.run_sync(self._work, asyncio.get_running_loop(), limiter=anyio.CapacityLimiter(1))
        finally:
            self._back.set()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """What the thread does: turn after turn until it is given none.

        It does not wait for the loop to have heard of a turn, as anyio's own way back does: that would wake the thread
        once more while the loop is busy with the answers.
        """
        while (turn := self._to_store.get()) is not None:
            self._commit(turn, turn.writes)
            loop.call_soon_threadsafe(self._is_back, turn)

    def _is_back(self, turn: _Turn) -> None:
        self._back.set()  # `run` is put in line first, so what there is to tell is told before callers go on
        turn.done.set()

    def close(self) -> None:
        """Take nothing more; `run` ends when what waits is committed."""
        self._closed = True
        self._wake.set()
        self._hurry.set()

    def _commit(self, turn: _Turn, batch: Sequence[Written[Any]]) -> None:
        """One transaction for all; when it fails, one for each, so that a bad one cannot fail its neighbours.

        Where the file itself refuses, nothing would fare better alone: all fail at once, and nobody waits again.
        """
        try:
            self._transact(turn, batch)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an operation raised belongs to its caller
            if len(batch) == 1 or concerns_all(error):
                for written in batch:
                    written.error = error
                return
            for written in batch:
                self._commit(turn, [written])

    def _transact(self, turn: _Turn, batch: Sequence[Written[Any]]) -> None:
        try:
            self._store(turn, batch)
        except StorageError as error:
            self.trouble = str(error)
            raise
        self.trouble = None

    def _store(self, turn: _Turn, batch: Sequence[Written[Any]]) -> None:
        with storage_errors(self._database):
            self._database.begin()
            cursor = self._database.writer.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                transaction = Transaction(cursor, self._database.statements, self._known)
                for written in batch:
                    written.run(transaction)
                transaction.settle()
                self._database.check_place()
                cursor.execute("COMMIT")
                turn.told += transaction.told
            except BaseException:
                self._known = Known()
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
