"""`orchestrator-mcp doctor --restore`: a sound backup takes the place of a damaged database, by a person's wish."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from orchestrator_mcp.clock import SystemClock, format_time
from orchestrator_mcp.command.check_files import DATABASE, mend_for_damage
from orchestrator_mcp.command.ending import ExitCode, say
from orchestrator_mcp.errors import StartError
from orchestrator_mcp.machine.presence import hold_data_dir
from orchestrator_mcp.settings import load_settings
from orchestrator_mcp.store.backups import Restored, restore_newest
from orchestrator_mcp.store.sqlite import is_damage
from orchestrator_mcp.upkeep.backups import FOLDER


def restore_database(config: Path | None) -> int:
    """Put the newest sound backup in the place of a database that is damaged or gone.

    Args:
        config: the configuration file, or None to look for it.

    Returns:
        The exit code: that nothing could be restored, too.

    Raises:
        SettingsError: the configuration is wrong.
        StartError: an orchestrator runs on the data dir, or the disk would not do it.
    """
    data_dir = load_settings(config).data_dir
    database = data_dir / DATABASE
    with hold_data_dir(data_dir):
        damage = _damage_of(database)
        if damage is None:
            say(f"{database} is undamaged: nothing was restored.")
            return ExitCode.OK
        say(f"{database}: {damage}.")
        try:
            done = restore_newest(database, data_dir / FOLDER, SystemClock().now())
        except OSError as error:
            raise StartError(
                f"The backup could not be put back: {error.strerror or error}.",
                hint=f"Nothing is lost: see {data_dir / FOLDER}, and {data_dir / 'damaged'} for what was put aside.",
            ) from error
        if done is None:
            say(f"There is no sound backup in {data_dir / FOLDER}; nothing was changed. {mend_for_damage(data_dir)}")
            return ExitCode.FAILED
        say(_told(done))
    return ExitCode.OK


def _damage_of(database: Path) -> str | None:
    """What is wrong with a database that nobody has open; None when it is sound.

    Raises:
        StartError: it cannot be looked at, which is not the same as damage.
    """
    if not database.exists() or database.stat().st_size == 0:
        return "the file is gone or empty"
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True, timeout=5)) as opened:
            verdict = opened.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        if is_damage(error):
            return str(error)
        raise StartError(
            f"The database {database} cannot be looked at: {error}.",
            hint="Check the folder's permissions and free space, and close other programs that have it open.",
        ) from error
    return None if verdict == "ok" else str(verdict)


def _told(done: Restored) -> str:
    lines = [f"Not sound, passed over: {path}: {fault}" for path, fault in done.passed_over]
    lines.append(f"Restored the backup of {format_time(done.backup.at)}.")
    if done.aside is not None:
        lines.append(f"The damaged file was kept: {done.aside}")
    lines += [
        "Jobs that came after that moment through HTTP or MCP are unknown now: hand them in again. Those from the",
        "Inbox are taken again by themselves. Jobs that ended after it are rendered once more; their results in Outbox",
        "stay as they are. Start the orchestrator as usual.",
    ]
    return "\n".join(lines)
