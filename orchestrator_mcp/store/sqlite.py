"""The embedded database: one connection that writes and checkpoints, one that only reads.

SQLite before 3.51.3 can lose a WAL reset when two connections write or checkpoint, so there is never a second one
that does either. `synchronous=FULL`, because "accepted" has to survive a power cut.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import FromClause
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from orchestrator_mcp.domain.events import JobChanged
from orchestrator_mcp.errors import StartError, StorageError
from orchestrator_mcp.store.known import Known
from orchestrator_mcp.store.schema import SCHEMA_REVISION
from orchestrator_mcp.store.statements import Compiled, compile_statements

BUSY_TIMEOUT: Final = 5.0  # seconds to wait for an outsider who holds the file
CACHE_KIB: Final = 65_536
WAL_LIMIT: Final = 64 * 1024 * 1024  # bytes that a WAL keeps after a checkpoint


class _Compiler(SQLiteCompiler):
    """Writes hints (`INDEXED BY`) into statements, which SQLAlchemy leaves out for SQLite."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


class _Dialect(SQLiteDialect_pysqlite):
    statement_compiler = _Compiler


DIALECT: Final = _Dialect(paramstyle="qmark")


class Database:
    """One SQLite file, opened for one orchestrator.

    Args:
        path: the file; made when it is absent.
        exclusive: keep the file locked and read through the writing connection, as a network share needs it.
    """

    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        self.path = path
        self.statements: dict[str, Compiled] = compile_statements(DIALECT)
        self._exclusive = exclusive
        self._place: tuple[int, int] | None = None
        self._torn = False
        self.damage: str | None = None
        self.writer: sqlite3.Connection
        self.reader: sqlite3.Connection

    def open(self) -> None:
        """Open, bring the schema up to date.

        Raises:
            StartError: not a database, damaged, made by a newer version, or not to be opened.
        """
        try:
            self.writer = self._connect(self.path)
            try:
                self._prepare()
                self._place = _place_of(self.path)
            except BaseException:
                self.writer.close()
                raise
        except sqlite3.Error as error:
            raise StartError(
                f"The database {self.path} cannot be opened: {error}.",
                hint="Check the folder's permissions and free space, or run `orchestrator-mcp doctor`.",
            ) from error

    def _prepare(self) -> None:
        pragmas = ["journal_mode=wal", "synchronous=FULL", f"cache_size=-{CACHE_KIB}", "foreign_keys=ON"]
        if self._exclusive:
            pragmas.insert(0, "locking_mode=EXCLUSIVE")
        for pragma in [*pragmas, f"journal_size_limit={WAL_LIMIT}"]:
            self.writer.execute(f"PRAGMA {pragma}")
        self._upgrade()
        self.reader = self.writer if self._exclusive else self._open_reader()

    def close(self) -> None:
        """Close both connections; the writer's close makes the last checkpoint."""
        if self.reader is not self.writer:
            self.reader.close()
        self.writer.close()

    def check(self) -> str | None:
        """Look for damage (`PRAGMA quick_check`); the first fault found, or None."""
        try:
            verdict = self.reader.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            verdict = str(error)
        self.damage = None if verdict == "ok" else str(verdict)
        return self.damage

    def begin(self) -> None:
        """Make sure that a transaction will be where it belongs.

        Raises:
            StorageError: the file is not where it was opened, or an earlier write never reached the disk and what the
                log holds of it cannot be made good.
        """
        self.check_place()
        if not self._torn:
            return
        # What follows a write that failed must not build on pages that only the system's memory has: everything that
        # was committed is written and flushed once more, and the log begins anew.
        busy, _, _ = self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageError(
                f"A write to the database {self.path} failed, and it cannot be mended yet: somebody reads it.",
                hint="Close other programs that have it open.",
            )
        self._torn = False

    def check_place(self) -> None:
        """Refuse to store into a file that was deleted or moved: nobody would find it there.

        Raises:
            StorageError: another file, or none, has its name now.
        """
        if _place_of(self.path) != self._place:
            raise StorageError(
                f"The database {self.path} is no longer where it was opened.",
                retry_after=30.0,
                hint="Put the data dir back where it was; or stop the orchestrator and start it again.",
            )

    def note(self, error: sqlite3.Error) -> None:
        """Remember what a failure means for what follows."""
        if _primary(error) == sqlite3.SQLITE_IOERR:
            self._torn = True
        if is_damage(error):
            self.damage = self.damage or str(error)

    def _connect(self, target: Path | str, *, uri: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            target,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=uri,
        )
        connection.row_factory = sqlite3.Row
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        reader = self._connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
        reader.execute("PRAGMA query_only=ON")
        reader.execute("PRAGMA wal_autocheckpoint=0")
        return reader

    def _revision(self) -> str | None:
        known = self.writer.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        if known is None:
            return None
        row = self.writer.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None

    def _upgrade(self) -> None:
        if self._revision() == SCHEMA_REVISION:
            return
        from orchestrator_mcp.store.migrations.upgrade import upgrade  # Alembic takes 0.7 s to import

        upgrade(self.writer, self.path, self._revision())


class Transaction:
    """What an operation of the store may do inside a transaction; lives on the store's thread.

    Args:
        cursor: of the connection.
        statements: compiled ones, by name.
        known: what transactions before it knew; it goes with this one when it is taken back.

    Attributes:
        told: what is told once it is committed, in order.
        known: what need not be looked up.
        chained: whether any job waits for another; None until somebody has looked.
    """

    def __init__(self, cursor: sqlite3.Cursor, statements: dict[str, Compiled], known: Known | None = None) -> None:
        self._own_cursor = cursor
        self._statements = statements
        self._queued: Counter[int] = Counter()
        self._held: Counter[int] = Counter()
        self._new_jobs: list[tuple[Any, ...]] = []
        self._later: dict[str, dict[tuple[Any, ...], None]] = {}
        self.told: list[JobChanged] = []
        self.known = known or Known()
        self.chained: bool | None = None

    @property
    def _cursor(self) -> sqlite3.Cursor:
        """What every statement goes through; it finds the jobs that `add_job` left to be put down together."""
        if self._new_jobs:
            self._own_cursor.executemany(self._statements["add_job"].sql, self._new_jobs)
            self._new_jobs.clear()
        return self._own_cursor

    def add_job(self, **values: Any) -> int:
        """Put down a new job, in one call with those that come right after it; its row.

        Jobs that come together cost a third of what each would cost alone.
        """
        row = self.take_job_rows()
        self._new_jobs.append(self._statements["add_job"].bind({**values, "id": row}))
        return row

    def run(self, name: str, /, **values: Any) -> int:
        """Run a statement; the number of rows that it changed."""
        statement = self._statements[name]
        self._cursor.execute(statement.sql, statement.bind(values))
        return self._cursor.rowcount

    def many(self, name: str, rows: Iterable[Mapping[str, Any]], /) -> int:
        """Run a statement once for each of many rows of values, none of which is kept; the rows that it changed."""
        statement = self._statements[name]
        self._cursor.executemany(statement.sql, map(statement.bind, rows))
        return self._cursor.rowcount

    def many_alike(
        self, name: str, shared: Mapping[str, Any], names: Sequence[str], rows: Iterable[tuple[Any, ...]], /
    ) -> int:
        """Run a statement once for each of many rows that differ in some values only; the rows that it changed.

        See `Compiled.bind_alike`.
        """
        statement = self._statements[name]
        self._cursor.executemany(statement.sql, statement.bind_alike(shared, names, rows))
        return self._cursor.rowcount

    def later(self, name: str, /, **values: Any) -> None:
        """Run a statement when the transaction settles, together with all of its kind; the same one only once.

        For what nothing in the same transaction reads: many rows in one call cost a third of as many calls.
        """
        self._later.setdefault(name, {})[self._statements[name].bind(values)] = None

    def later_alike(
        self, name: str, shared: Mapping[str, Any], names: Sequence[str], rows: Iterable[tuple[Any, ...]], /
    ) -> None:
        """The same for many rows that differ in some values only, see `Compiled.bind_alike`."""
        bound = self._statements[name].bind_alike(shared, names, rows)
        self._later.setdefault(name, {}).update(dict.fromkeys(bound))

    def take_seqs(self, count: int = 1) -> int:
        """The number of the next history row; so many numbers from it on are the caller's."""
        if self.known.last_seq is None:
            self.known.last_seq = self._last("last_seq")
        self.known.last_seq += count
        return self.known.last_seq - count + 1

    def take_job_rows(self, count: int = 1) -> int:
        """The row of the next job; so many rows from it on are the caller's."""
        if self.known.last_job is None:
            self.known.last_job = self._last("last_job_row")
        self.known.last_job += count
        return self.known.last_job - count + 1

    def _last(self, name: str) -> int:
        found = self.one(name)
        return int(found[0]) if found else 0

    def one(self, name: str, /, **values: Any) -> sqlite3.Row | None:
        """The first row of a statement, or None."""
        statement = self._statements[name]
        row: sqlite3.Row | None = self._cursor.execute(statement.sql, statement.bind(values)).fetchone()
        return row

    def all(self, name: str, /, **values: Any) -> list[sqlite3.Row]:
        """Every row of a statement."""
        statement = self._statements[name]
        return self._cursor.execute(statement.sql, statement.bind(values)).fetchall()

    def query(self, sql: str, parameters: Sequence[Any]) -> list[sqlite3.Row]:
        """Every row of a statement that was put together for the occasion."""
        return self._cursor.execute(sql, parameters).fetchall()

    def count(self, lane_id: int, difference: int) -> None:
        """Note that a lane gains or loses queued jobs; written once, when the transaction ends."""
        self._queued[lane_id] += difference

    def hold(self, lane_id: int, difference: int) -> None:
        """Note that a lane gains or loses jobs that wait for a moment or for others; written as `count` is."""
        self._held[lane_id] += difference

    def settle(self) -> None:
        """Write what was left for later, and the differences of the lanes."""
        cursor = self._cursor
        for name, rows in self._later.items():
            cursor.executemany(self._statements[name].sql, rows)
        self._later.clear()
        self.settle_lanes()

    def settle_lanes(self) -> None:
        """Write the differences of the lanes."""
        for lane_id in self._queued.keys() | self._held.keys():
            self.run("count_lane", b_lane=lane_id, b_queued=self._queued[lane_id], b_held=self._held[lane_id])
        self._queued.clear()
        self._held.clear()


@contextmanager
def storage_errors(database: Database) -> Iterator[None]:
    """Turn the driver's errors into the product's.

    Args:
        database: where they come from.

    Raises:
        StorageError: the database could not do it.
    """
    try:
        yield
    except sqlite3.Error as error:
        database.note(error)
        retry_after, hint = _ADVICE.get(_primary(error), _OTHER_ADVICE)
        raise StorageError(
            f"The database {database.path} cannot be used now: {error}.", retry_after=retry_after, hint=hint
        ) from error


def concerns_all(error: BaseException) -> bool:
    """Whether a failure lies in the file or disk, so that no operation fares better alone.

    A full disk is left out: a small operation may still fit.
    """
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return _primary(cause) in _OF_THE_FILE
    return isinstance(error, StorageError) and cause is None


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is damaged."""
    return _primary(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _primary(error: sqlite3.Error) -> int:
    """The primary result code (https://sqlite.org/rescode.html); 0 when the error did not come from SQLite itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _place_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


_OF_THE_FILE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    }
)
_OTHER_ADVICE: Final = (5.0, "It is tried again; `orchestrator-mcp doctor` tells more.")
_ADVICE: Final = {
    sqlite3.SQLITE_FULL: (30.0, "Free space on its disk."),
    sqlite3.SQLITE_IOERR: (30.0, "Check the disk: a write or read of it failed."),
    sqlite3.SQLITE_READONLY: (30.0, "Check the permissions of the data dir, and whether its disk became read-only."),
    sqlite3.SQLITE_CANTOPEN: (30.0, "Check that the data dir is there and may be written."),
    sqlite3.SQLITE_BUSY: (5.0, "Another program holds it: close database browsers and backup programs."),
    sqlite3.SQLITE_CORRUPT: (60.0, "Stop the orchestrator and run `orchestrator-mcp doctor`."),
    sqlite3.SQLITE_NOTADB: (60.0, "Stop the orchestrator and run `orchestrator-mcp doctor`."),
}
