"""A PostgreSQL of its own for rivals that need one: made anew in a temporary folder, on a socket there, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds that its start may take
LOOK = 0.02  # seconds between two looks whether it is ready
USERS = ("postgres", "nobody")  # who runs it for root, which it refuses
NAME = "bench"
PLACES = "/usr/lib/postgresql"  # where Debian lays the programs, one folder for each version


class AbsentError(Exception):
    """A rival cannot be measured here; the message says why."""


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server with its own durable settings (`fsync`, `synchronous_commit`), on a Unix socket alone.

    Returns:
        The url that a client connects with.

    Raises:
        AbsentError: there are no programs for it, or it does not start.
    """
    programs = _programs()
    who = _somebody()
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        if who:
            shutil.chown(folder, who["user"], who["group"])
        _make(programs / "initdb", folder, who)
        server = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *_settings()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **who,
        )
        try:
            _wait(server, folder / "data" / "postmaster.pid")
            yield f"postgresql://{NAME}@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # clients are sent away, and it ends
            server.wait(PATIENCE)


def _settings() -> Sequence[str]:
    return ("-c", "listen_addresses=", "-c", "shared_buffers=256MB", "-c", "max_connections=100")


def _programs() -> Path:
    """The folder with `initdb` and `postgres`."""
    if os.name != "posix":
        raise AbsentError("PostgreSQL is started on POSIX systems only")
    if shutil.which("initdb") and (found := shutil.which("postgres")):
        return Path(found).parent
    versions = sorted(Path(PLACES).glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not versions:
        raise AbsentError(f"no PostgreSQL: neither initdb and postgres on PATH nor in {PLACES}/*/bin")
    return versions[-1].parent


def _somebody() -> dict[str, Any]:
    """As whom to run it: ourselves, unless that is root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in USERS:
        if name in known:
            return {"user": known[name].pw_uid, "group": known[name].pw_gid, "extra_groups": []}
    raise AbsentError(f"PostgreSQL does not run as root, and there is no user {' or '.join(USERS)}")


def _make(initdb: Path, folder: Path, who: dict[str, Any]) -> None:
    command = [str(initdb), "-D", str(folder / "data"), "-U", NAME, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **who)
    if made.returncode:
        raise AbsentError(f"initdb ended with {made.returncode}: {made.stderr.strip().splitlines()[-1:]}")


def _wait(server: subprocess.Popen[bytes], note: Path) -> None:
    """Until it says in its note that it is ready."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if server.poll() is not None:
            raise AbsentError(f"postgres ended with {server.returncode}")
        if note.exists() and "ready" in note.read_text(encoding="utf-8"):
            return
        time.sleep(LOOK)
    raise AbsentError(f"postgres was not ready within {PATIENCE:g} s")
