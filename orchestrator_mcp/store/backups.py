"""Copies of the database: made while it is in use, checked before they count, and put back by a person's wish alone.

`data_dir/backups/orchestrator-<UTC time>.db`: whole database files of their own, the newest three. A copy that is not
sound is thrown away, so that damage never drives out what was good.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from orchestrator_mcp.errors import StartError
from orchestrator_mcp.files import free_space, sync_directory
from orchestrator_mcp.store.schema import SCHEMA_REVISION
from orchestrator_mcp.store.sqlite import is_damage

KEPT: Final = 3
CLOSE: Final = timedelta(minutes=10)  # a backup takes the place of one that is as young
PROGRESS: Final = 100_000  # steps of SQLite's machine between two looks whether to go on
STEP_PAGES: Final = 1_000
STEP_PAUSE: Final = 0.005  # seconds between two steps: the disk is also wanted by others
_NAME = re.compile(r"orchestrator-(\d{8}T\d{6})(?:-\d+)?\.db")
_TIME: Final = "%Y%m%dT%H%M%S"
_BESIDE: Final = ("", "-wal", "-shm", "-journal")


class BackupError(OSError):
    """A backup could not be made, or is not sound."""


class DamageError(BackupError):
    """The copy shows that the database itself is damaged."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A copy of the database.

    Attributes:
        path: the file.
        at: when it was made.
        size: bytes.
    """

    path: Path
    at: datetime
    size: int


def list_backups(folder: Path) -> list[Backup]:
    """Every backup in a folder, the newest first; none when there is no folder."""
    found = []
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    for path in entries:
        if (named := _NAME.fullmatch(path.name)) is not None and path.is_file() and not path.is_symlink():
            at = datetime.strptime(named[1], _TIME).replace(tzinfo=UTC)
            found.append(Backup(path=path, at=at, size=path.stat().st_size))
    return sorted(found, key=lambda backup: (backup.at, backup.path.name), reverse=True)


def require_database(database: Path, folder: Path) -> None:
    """Refuse to begin anew where there was a database: jobs that were accepted must not be forgotten in silence.

    Args:
        database: the file; absent at the very first start only.
        folder: where backups lie.

    Raises:
        StartError: the file is gone or empty, and there are backups of it.
    """
    if _size_of(database) == 0 and (backups := list_backups(folder)):
        raise StartError(
            f"The database {database} is gone, and there are {len(backups)} backups of it.",
            hint=f"Run `orchestrator-mcp doctor --restore`; or, to begin anew, move {folder} away.",
        )


def make_backup(
    database: Path,
    folder: Path,
    now: datetime,
    *,
    spare: int,
    go_on: Callable[[], bool] = lambda: True,
    held: sqlite3.Connection | None = None,
) -> Backup:
    """Copy a database that may be in use, check the copy, and drop the oldest ones.

    It reads through a connection of its own that neither writes nor checkpoints; the copy is of one moment.

    Args:
        database: the file.
        folder: where backups lie; made if it is missing.
        now: the moment, for its name.
        spare: bytes that must stay free on the disk.
        go_on: asked between two steps; False ends it.
        held: the connection that has the file locked, where no other can be opened.

    Raises:
        DamageError: the database is damaged; no backup was touched.
        BackupError: there is too little room, or it was ended.
        OSError: the folder cannot be written.
        sqlite3.Error: the database cannot be read.
    """
    folder.mkdir(exist_ok=True)
    for left in folder.glob(".*.part*"):
        left.unlink(missing_ok=True)
    needed = sum(_size_of(database.with_name(database.name + end)) for end in ("", "-wal")) + spare
    if free_space(folder) < needed:
        raise BackupError(f"a backup needs {needed >> 20} MB free in {folder}")
    arriving = folder / f".{os.getpid()}.part"
    try:
        if held is not None:
            _copy_held(held, arriving, go_on)
        else:
            _copy(database, arriving, go_on)
        final = _free_name(folder, now)
        os.replace(arriving, final)
    finally:
        arriving.unlink(missing_ok=True)
    sync_directory(folder)
    _drop_old(folder, final, now)
    return Backup(path=final, at=now, size=final.stat().st_size)


def _drop_old(folder: Path, newest: Path, now: datetime) -> None:
    """Keep three, with some time between them: many stops in a row must not leave three copies of one moment."""
    others = [backup for backup in list_backups(folder) if backup.path != newest]
    close = [backup for backup in others if abs(now - backup.at) < CLOSE]
    for backup in [*close, *[backup for backup in others if backup not in close][KEPT - 1 :]]:
        backup.path.unlink(missing_ok=True)


def fault_in(path: Path) -> str | None:
    """What keeps a database file from being used, in words; None when it is sound and of a schema that is known."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            row = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        return str(error)
    if found != "ok":
        return str(found)
    if row is None or str(row[0]) > SCHEMA_REVISION:
        return f"its schema {row[0] if row else 'none'} is unknown to this program ({SCHEMA_REVISION})"
    return None


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore did.

    Attributes:
        backup: what stands in the place of the database now.
        aside: where the former file lies; None when there was none.
        passed_over: newer backups that are not sound, with the reason.
    """

    backup: Backup
    aside: Path | None
    passed_over: tuple[tuple[Path, str], ...]


def restore_newest(database: Path, folder: Path, now: datetime) -> Restored | None:
    """Put the newest sound backup in the place of a database; nobody may have that open.

    The former file is moved aside with everything that belongs to it, never deleted. The copy is complete under a
    hidden name before anything is moved.

    Args:
        database: the file.
        folder: where backups lie.
        now: the moment, for the name of what is put aside.

    Returns:
        None when there is no sound backup; nothing was changed then.

    Raises:
        OSError: the disk would not do it.
    """
    passed_over: list[tuple[Path, str]] = []
    for backup in list_backups(folder):
        if (fault := fault_in(backup.path)) is not None:
            passed_over.append((backup.path, fault))
            continue
        coming = database.with_name(f".{database.name}.restored")
        coming.unlink(missing_ok=True)
        _copy(backup.path, coming, lambda: True)
        aside = _put_aside(database, now)
        os.replace(coming, database)
        sync_directory(database.parent)
        return Restored(backup=backup, aside=aside, passed_over=tuple(passed_over))
    return None


def _put_aside(database: Path, now: datetime) -> Path | None:
    """Move a database out of the way, its log first: a log without its file is nothing, the reverse loses work."""
    folder = database.parent / "damaged"
    aside = folder / f"{database.stem}-{now.strftime(_TIME)}{database.suffix}"
    number = 1
    while any(os.path.lexists(aside.with_name(aside.name + end)) for end in _BESIDE):
        number += 1
        aside = folder / f"{database.stem}-{now.strftime(_TIME)}-{number}{database.suffix}"
    moved = False
    for end in reversed(_BESIDE):
        part = database.with_name(database.name + end)
        if os.path.lexists(part):
            folder.mkdir(exist_ok=True)
            os.rename(part, aside.with_name(aside.name + end))
            moved = True
    if moved:
        sync_directory(folder)
    return aside if moved else None


def _copy(source: Path, target: Path, go_on: Callable[[], bool]) -> None:
    """Copy a database of one moment into a file of its own, check it, and put it on the disk."""
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as origin:
        origin.execute("PRAGMA query_only=ON")
        origin.execute("PRAGMA wal_autocheckpoint=0")
        origin.execute("BEGIN")
        with _damage_told():
            origin.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it sees one moment
        _copy_held(origin, target, go_on)


def _copy_held(origin: sqlite3.Connection, target: Path, go_on: Callable[[], bool]) -> None:
    def check(_status: int, _remaining: int, _total: int) -> None:
        if not go_on():
            raise BackupError("the backup was ended before it was whole")

    with closing(sqlite3.connect(target, isolation_level=None)) as copy, _damage_told():
        origin.backup(copy, pages=STEP_PAGES, progress=check, sleep=STEP_PAUSE)
        copy.set_progress_handler(lambda: not go_on(), PROGRESS)
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DamageError(str(found))
        copy.set_progress_handler(None, 0)
        copy.execute("PRAGMA journal_mode=DELETE").fetchone()
    descriptor = os.open(target, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise DamageError(str(error)) from error
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise BackupError("the backup was ended before it was checked") from error
        raise


def _free_name(folder: Path, now: datetime) -> Path:
    stamp = now.astimezone(UTC).strftime(_TIME)
    candidates = (folder / f"orchestrator-{stamp}{end}.db" for end in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for path in candidates if not os.path.lexists(path))


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
