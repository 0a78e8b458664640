"""Writing what must survive."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from orchestrator_mcp.files.system import flags

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_WRITE_NEW: Final = flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
_READ_FOLDER: Final = flags("O_RDONLY", "O_DIRECTORY", "O_CLOEXEC")
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.part")
_CANNOT_SYNC_FOLDER: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM})


def write_new(path: Path) -> BinaryIO:
    """Open a file that does not exist yet for writing.

    Raises:
        FileExistsError: something has that name already, be it a dangling link.
    """
    return os.fdopen(os.open(path, _WRITE_NEW, 0o666), "wb")


def write_durably(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a whole file, or leave the one before as it was; on disk when this returns.

    Args:
        path: where; the folder must exist. What stands there is replaced in one step.
        content: all of it.
        mode: its permission bits, from its first byte on; None gives it those of every new file. Windows has none.
    """
    hidden = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with write_new(hidden) as target:
            if mode is not None and os.name == "posix":
                os.fchmod(target.fileno(), mode)
            target.write(content)
            flush(target)
        os.replace(hidden, path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sweep_unfinished(folder: Path) -> None:
    """Delete what `write_durably` left in a folder when its process died. Only its owner may: others may be writing.

    Args:
        folder: where.
    """
    with suppress(OSError):  # they take some bytes, and harm nobody
        for left in folder.glob(".*.part"):
            if _UNFINISHED.fullmatch(left.name):
                left.unlink(missing_ok=True)


def flush(target: BinaryIO) -> None:
    """Put what was written to an open file on the disk itself."""
    target.flush()
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(target.fileno(), full)
    else:
        os.fsync(target.fileno())


def sync_directory(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can."""
    if sys.platform == "win32":
        return
    opened = os.open(folder, _READ_FOLDER)
    try:
        os.fsync(opened)
    except OSError as failure:
        if failure.errno not in _CANNOT_SYNC_FOLDER:
            raise
    finally:
        os.close(opened)
