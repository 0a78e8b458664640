"""One orchestrator for each data dir: the lock that says so, and the note that tells others where it listens."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from orchestrator_mcp import __version__
from orchestrator_mcp.errors import DataDirInUseError, StartError
from orchestrator_mcp.files import sweep_unfinished, write_durably

LOCK_NAME: Final = "orchestrator.lock"
NOTE_NAME: Final = "orchestrator.json"
LARGEST_NOTE: Final = 64 * 1024  # bytes
PATIENCE: Final = 0.3  # seconds: whoever only looks whether the lock is held, holds it for a moment


@dataclass(frozen=True, kw_only=True)
class Presence:
    """Who runs on a data dir, and where it listens.

    Attributes:
        pid: its process.
        host: the machine that it runs on.
        url: where its HTTP door is, as this machine reaches it; empty while it is starting.
        token_file: where the token lies that it asks for, or None.
        version: of the program.
    """

    pid: int
    host: str
    url: str
    token_file: str | None
    version: str

    @property
    def token(self) -> str | None:
        """The token to send, if one is needed and may be read."""
        if self.token_file is None:
            return None
        try:
            return Path(self.token_file).read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None


@contextmanager
def hold_data_dir(data_dir: Path) -> Iterator[None]:
    """Own a data dir for as long as the block lasts; the note is removed afterwards.

    Raises:
        DataDirInUseError: another process owns it.
        StartError: it cannot be made.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is submitted lies there as it came
        lock = FileLock(data_dir / LOCK_NAME)
        lock.acquire(timeout=PATIENCE, poll_interval=0.01)
    except Timeout:
        raise DataDirInUseError(
            f"The data dir {data_dir} is in use by {_describe(_read_note(data_dir))}.",
            hint="Use that one, stop it first, or give this one another data_dir.",
        ) from None
    except OSError as error:
        raise StartError(
            f"The data dir {data_dir} cannot be used: {error.strerror or error}.",
            hint="Check data_dir in config.yaml and the folder's permissions.",
        ) from error
    try:
        sweep_unfinished(data_dir)
        with suppress(OSError):  # the note only helps; a disk that takes nothing is found by what needs it
            _write_note(data_dir, Presence(**_myself(), url="", token_file=None, version=__version__))
        yield
    finally:
        with suppress(OSError):
            (data_dir / NOTE_NAME).unlink(missing_ok=True)
        lock.release()


def announce(data_dir: Path, *, url: str, token_file: Path | None, version: str) -> None:
    """Tell others where we listen; only the owner of the data dir may."""
    token = str(token_file) if token_file else None
    _write_note(data_dir, Presence(**_myself(), url=url, token_file=token, version=version))


def _myself() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _write_note(data_dir: Path, note: Presence) -> None:
    write_durably(data_dir / NOTE_NAME, json.dumps(asdict(note), indent=2).encode())


def find_running(data_dir: Path) -> Presence | None:
    """Who listens for a data dir; None when nobody does, or not yet.

    A note without a held lock is what a killed process left behind.
    """
    note = _read_note(data_dir)
    return note if note is not None and note.url and is_held(data_dir) else None


def is_held(data_dir: Path) -> bool:
    """Whether some process owns the data dir, even one that does not listen yet."""
    if not os.path.exists(data_dir / LOCK_NAME):
        return False
    lock = FileLock(data_dir / LOCK_NAME, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _read_note(data_dir: Path) -> Presence | None:
    try:
        with (data_dir / NOTE_NAME).open("rb") as file:
            said = json.loads(file.read(LARGEST_NOTE))
        return Presence(**said)
    except (OSError, ValueError, TypeError):
        return None


def _describe(note: Presence | None) -> str:
    if note is None:
        return "another orchestrator that is just starting"
    if not note.url:
        return f"another orchestrator that is just starting: process {note.pid} on {note.host}"
    return f"another orchestrator: process {note.pid} on {note.host}, {note.url}, version {note.version}"
