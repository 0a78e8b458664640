"""The doctor's look at folders and at the database. Reads only; a write test leaves nothing behind."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from orchestrator_mcp.clock import format_time
from orchestrator_mcp.command.findings import Finding
from orchestrator_mcp.command.tables import size_text
from orchestrator_mcp.files import free_space, is_missing, is_network_filesystem
from orchestrator_mcp.logs import FILE_NAME as LOG_NAME
from orchestrator_mcp.machine.presence import LOCK_NAME
from orchestrator_mcp.machine.shipped import workflow_folders
from orchestrator_mcp.settings import Settings
from orchestrator_mcp.store.backups import list_backups
from orchestrator_mcp.store.schema import SCHEMA_REVISION
from orchestrator_mcp.upkeep.backups import FOLDER as BACKUPS

LITTLE_SPACE: Final = 5 * 10**9  # bytes
DATABASE: Final = "orchestrator.db"


def check_folders(settings: Settings) -> list[Finding]:
    """Look at every folder of the configuration.

    Args:
        settings: the configuration.
    """
    kept = [
        ("data dir", "data_dir", settings.data_dir),
        ("log dir", "log_dir", settings.log_dir),
        ("Inbox", "inbox_dir", settings.inbox_dir),
        ("Outbox", "outbox_dir", settings.outbox_dir),
    ]
    least = settings.limits.free_bytes
    found = [check_folder(subject, key, folder, least=least) for subject, key, folder in kept]
    if is_network_filesystem(_nearest_existing(settings.data_dir)):
        found.append(
            Finding(
                subject="data dir",
                verdict="warn",
                message=f"{settings.data_dir} lies on a network share, where a database is slower and less safe",
                mend="Set data_dir to a local disk; Inbox and Outbox may stay on the share.",
            )
        )
    return [*found, *_workflows(settings)]


def check_folder(subject: str, key: str, folder: Path, *, least: int) -> Finding:
    """Whether a folder can be written, or made at the start, and how much room there is.

    Args:
        subject: what it is, for people.
        key: its name in config.yaml.
        folder: the folder.
        least: bytes that must be free on its disk, or nothing is accepted.
    """
    found = partial(Finding, subject=subject)
    there = _nearest_existing(folder)
    if os.path.exists(there) and not os.path.isdir(there):
        return found(
            verdict="fail", message=f"{there} is no folder", mend=f"Set {key} to another folder, or move that file."
        )
    try:
        with tempfile.TemporaryFile(prefix=".doctor-", dir=there):
            free = free_space(there)
    except OSError as error:
        mend = f"Mend the permissions of {there}, or set {key} to another folder."
        return found(verdict="fail", message=f"{folder} cannot be written: {error.strerror or error}", mend=mend)
    if (closed := _closed_file(folder)) is not None:
        mend = "It may have been made by another user: mend its permissions, or start as that user."
        return found(verdict="fail", message=f"{closed} cannot be written", mend=mend)
    made = "" if there == folder else ", made at the start"
    message = f"{folder}{made}, {size_text(free)} free"
    if free < least:
        short = f"{message}; limits.free_bytes asks for {size_text(least)}, and nothing is accepted with less"
        return found(verdict="fail", message=short, mend="Free some space on that disk.")
    if free < LITTLE_SPACE:
        return found(verdict="warn", message=message, mend="Free some space on that disk.")
    return found(verdict="ok", message=message)


def _closed_file(folder: Path) -> Path | None:
    """A file of ours that this user may not write."""
    ours = (folder / name for name in (LOCK_NAME, DATABASE, LOG_NAME))
    return next((path for path in ours if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK)), None)


def check_database(data_dir: Path, *, held: bool) -> Finding:
    """Whether the database can be read, is of this program's schema, and is undamaged.

    Args:
        data_dir: where it lies.
        held: whether an orchestrator runs on it; then it is only named, not read through.
    """
    found = partial(Finding, subject="database")
    path = data_dir / DATABASE
    if is_missing(path):
        return found(verdict="ok", message=f"{path}, made at the first start")
    if not os.access(path, os.R_OK):
        return found(verdict="fail", message=f"{path} may not be read", mend="Mend its permissions.")
    if held:
        return found(verdict="ok", message=f"{path} is in use; read through only when no orchestrator runs")
    try:
        with closing(_open_to_read(path)) as database:
            schema = _schema_of(database)
            damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        mend = mend_for_damage(data_dir)
        return found(verdict="fail", message=f"{path} cannot be read: {error}", mend=mend)
    if damage != "ok":
        mend = mend_for_damage(data_dir)
        return found(verdict="fail", message=f"{path} is damaged: {damage}", mend=mend)
    return _weigh_schema(path, schema)


def mend_for_damage(data_dir: Path) -> str:
    """What to do about a damaged database.

    Args:
        data_dir: where it lies.
    """
    backups = list_backups(data_dir / BACKUPS)
    away = f"move {DATABASE} and the files beside it that begin with its name to another folder"
    if not backups:
        return f"There is no backup. Stop the orchestrator and {away}: the next start makes a new, empty one."
    return (
        f"Stop the orchestrator and run `orchestrator-mcp doctor --restore`: it keeps the damaged file, and puts back "
        f"the newest sound backup (there is one of {format_time(backups[0].at)})."
    )


def check_backups(data_dir: Path) -> Finding:
    """Which backups of the database there are.

    Args:
        data_dir: where it lies.
    """
    found = partial(Finding, subject="backups", verdict="ok")
    backups = list_backups(data_dir / BACKUPS)
    if not backups:
        return found(message="none yet: one is made each hour, and when the orchestrator stops")
    oldest = f", the oldest of {format_time(backups[-1].at)}" if len(backups) > 1 else ""
    return found(message=f"{len(backups)}, the newest of {format_time(backups[0].at)}{oldest}")


def _weigh_schema(path: Path, schema: str | None) -> Finding:
    found = partial(Finding, subject="database")
    size = size_text(path.stat().st_size)
    if schema == SCHEMA_REVISION:
        return found(verdict="ok", message=f"{path}, {size}, schema {schema}, undamaged")
    if schema is None or schema < SCHEMA_REVISION:
        brought = f"schema {schema or 'none'} is brought to {SCHEMA_REVISION} at the next start"
        return found(verdict="ok", message=f"{path}, {size}, undamaged; {brought}")
    return found(
        verdict="fail",
        message=f"{path} has schema {schema}, which is newer than this program knows ({SCHEMA_REVISION})",
        mend="Update orchestrator-mcp, or set another data_dir.",
    )


def _open_to_read(path: Path) -> sqlite3.Connection:
    """A database that was closed well is read without leaving the files of a write-ahead log beside it."""
    closed_well = not path.with_name(f"{path.name}-wal").exists()
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable={int(closed_well)}", uri=True, timeout=5)


def _schema_of(database: sqlite3.Connection) -> str | None:
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return None
    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _workflows(settings: Settings) -> list[Finding]:
    found = partial(Finding, subject="workflows")
    mend = "Mend its permissions, or set workflows_dir to another folder."
    wrong = [
        found(verdict="fail", message=f"{folder} {trouble}", mend=mend)
        for folder in settings.workflows_dirs
        if (trouble := _unreadable(folder, wanted="workflows_dirs" in settings.model_fields_set))
    ]
    folders = [folder for folder in workflow_folders(settings.workflows_dirs) if os.path.isdir(folder)]
    count = len({path.relative_to(folder) for folder in folders for path in folder.rglob("*.json")})
    where = ", ".join(map(str, folders or settings.workflows_dirs))
    if count:
        return [*wrong, found(verdict="ok", message=f"{count} in {where}")]
    none = found(
        verdict="warn",
        message=f"none in {where}; only manifests that bring their own graph can be run",
        mend="Put workflow files there, as <workflow_id>.json.",
    )
    return [*wrong, none]


def _unreadable(folder: Path, *, wanted: bool) -> str | None:
    """Why no workflow of a folder can be read; None when they can, or when it need not be there."""
    try:
        os.listdir(folder)
    except FileNotFoundError:
        return "is not there" if wanted else None
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if not is_missing(path))
