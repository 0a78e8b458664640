"""Reading what a stranger left: never a link, a pipe, or half of a file."""

from __future__ import annotations

import errno
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from orchestrator_mcp.files.system import flags

_READ_STRANGER: Final = flags("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")


class NotRegularError(OSError):
    """A link, folder, pipe, socket or device stands where a plain file was expected."""


class FileTooLargeError(OSError):
    """The file has more bytes than may be read."""


class ChangedWhileReadError(OSError):
    """Somebody wrote to the file while it was read; what was read may be torn."""


class Signature(NamedTuple):
    """What tells one content of a file from the next without reading it; times in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Take it from a stat."""
        return cls(device=status.st_dev, inode=status.st_ino, size=status.st_size, modified=status.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The whole content of a file, and the signature it had before and after it was read."""

    content: bytes
    signature: Signature


def read_regular(path: Path, *, most: int) -> Reading:
    """Read a file that a stranger left: never follows a link, never waits for a pipe, never takes a torn one.

    Args:
        path: the file.
        most: largest size in bytes that is read.

    Raises:
        NotRegularError: it is no plain file.
        FileTooLargeError: it is larger; nothing was read.
        ChangedWhileReadError: its size or time changed meanwhile.
    """
    with open_regular(path) as source:
        return read_open(source, most=most)


def read_open(source: io.BufferedReader, *, most: int) -> Reading:
    """Read the whole of a file that `open_regular` opened; see `read_regular`.

    Args:
        source: nothing of it was read yet.
        most: largest size in bytes that is read.

    Raises:
        FileTooLargeError: it is larger; nothing was read.
        ChangedWhileReadError: its size or time changed meanwhile.
    """
    opened = source.fileno()
    before = Signature.of(os.fstat(opened))
    if before.size > most:
        reason = f"the file has {before.size:,} bytes, {most:,} are allowed"
        raise FileTooLargeError(errno.EFBIG, reason, str(source.name))
    content = source.read(before.size + 1)
    after = Signature.of(os.fstat(opened))
    if before != after or len(content) != before.size:
        raise ChangedWhileReadError(errno.EAGAIN, "the file changed while it was read", str(source.name))
    return Reading(content=content, signature=before)


def is_missing(path: Path) -> bool:
    """Whether nothing has this name. What may not be looked at counts as there: whoever opens it learns why.

    Args:
        path: a path that a person named.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file that a stranger left, to read parts of it; see `read_regular`.

    Args:
        path: the file.

    Raises:
        NotRegularError: it is no plain file.
    """
    return open(path, "rb", opener=lambda *_: open_descriptor(path))


def open_descriptor(path: Path) -> int:
    """Open a file that a stranger left, without a reader around it; who calls closes it. See `read_regular`.

    Args:
        path: the file.

    Raises:
        NotRegularError: it is no plain file.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise NotRegularError(errno.EINVAL, "not a plain file", str(path))
    try:
        opened = os.open(path, _READ_STRANGER)
    except OSError as failure:
        if failure.errno in (errno.ELOOP, errno.ENXIO):
            raise NotRegularError(errno.EINVAL, "not a plain file", str(path)) from failure
        raise
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotRegularError(errno.EINVAL, "not a plain file", str(path))
    return opened
