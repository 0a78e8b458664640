"""Who writes to a file: asked through a read lease, which Linux grants only when nobody does (fcntl(2)).

Elsewhere, on network shares and for files of another user nobody can tell. Synchronous.
"""

from __future__ import annotations

import errno
import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from orchestrator_mcp.files import ChangedWhileReadError, FileTooLargeError, Signature, open_descriptor

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class HeldFile:
    """A plain file that is open, with a lease if there is one: who wants to write waits until it is closed.

    Use it as a context manager; it closes the file.

    Args:
        path: the file; a stranger left it.
        ask: whether the system can be asked about writers there.

    Attributes:
        path: the file, where it was opened.
        signature: its content, as far as a stat tells.
        writer: whether somebody has it open for writing; None when that cannot be known.

    Raises:
        NotRegularError: it is no plain file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, *, ask: bool = True) -> None:
        self.path = path
        self._opened = open_descriptor(path)
        self.writer = _lease_refused(self._opened) if ask else None
        self.signature = Signature.of(os.fstat(self._opened))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._opened)

    def read(self, most: int) -> bytes:
        """The whole content. Whether it still holds, `is_still` says, for which there is time until it counts.

        Args:
            most: largest size in bytes that is read.

        Raises:
            FileTooLargeError: it is larger; nothing was read.
            ChangedWhileReadError: it is longer or shorter now.
        """
        size = self.signature.size
        if size > most:
            raise FileTooLargeError(
                errno.EFBIG, f"the file has {size:,} bytes, {most:,} are allowed", os.fspath(self.path)
            )
        content = os.read(self._opened, size + 1)
        while len(content) < size and (more := os.read(self._opened, size + 1 - len(content))):
            content += more
        if len(content) != size:
            raise ChangedWhileReadError(errno.EAGAIN, "the file changed while it was read", os.fspath(self.path))
        return content

    @contextmanager
    def reader(self) -> Iterator[io.BufferedReader]:
        """What reads parts of it."""
        with open(self._opened, "rb", closefd=False) as reader:
            yield reader

    def is_still(self, path: Path) -> bool:
        """Whether a path leads to this very file, and nobody wrote to it, or came to, since it was opened."""
        try:
            if Signature.of(os.lstat(path)) != self.signature:
                return False
            return self.writer is None or fcntl.fcntl(self._opened, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        except OSError:
            return False


def has_writer(path: Path) -> bool | None:
    """Whether somebody has a plain file open for writing; None when that cannot be known.

    Raises:
        NotRegularError: it is no plain file.
        OSError: it cannot be opened.
    """
    with HeldFile(path) as file:
        return file.writer


def _lease_refused(opened: int) -> bool | None:
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # A writer that comes while the lease is held has the kernel signal its holder: SIGIO, which would end us.
        fcntl.fcntl(opened, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
