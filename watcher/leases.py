"""Who writes to a file: asked through a read lease, which Linux grants only when nobody does (fcntl(2)).

Elsewhere, on network shares and for files of another user nobody can tell. Synchronous.
"""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator_mcp.files import Signature, open_regular

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class HeldFile:
    """A plain file that is open, with a lease if there is one: who wants to write waits until it is closed.

    Args:
        source: the file; nothing of it was read yet.
        ask: whether to ask for a lease.

    Attributes:
        source: the file.
        signature: its content, as far as a stat tells.
        writer: whether somebody has it open for writing; None when that cannot be known.
    """

    def __init__(self, source: io.BufferedReader, *, ask: bool) -> None:
        self.source = source
        self.writer = _lease_refused(source.fileno()) if ask else None
        self.signature = Signature.of(os.fstat(source.fileno()))

    def is_still(self, path: Path) -> bool:
        """Whether a path leads to this very file, and nobody wrote to it, or came to, since it was opened."""
        try:
            if Signature.of(os.lstat(path)) != self.signature:
                return False
            return self.writer is None or fcntl.fcntl(self.source, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        except OSError:
            return False


@contextmanager
def hold(path: Path, *, ask: bool = True) -> Iterator[HeldFile]:
    """Open a file that a stranger left, and keep writers off meanwhile.

    Args:
        path: the file.
        ask: whether the system can be asked about writers there.

    Raises:
        NotRegularError: it is no plain file.
        OSError: it cannot be opened.
    """
    with open_regular(path) as source:
        yield HeldFile(source, ask=ask)


def has_writer(path: Path) -> bool | None:
    """Whether somebody has a plain file open for writing; None when that cannot be known.

    Raises:
        NotRegularError: it is no plain file.
        OSError: it cannot be opened.
    """
    with hold(path) as file:
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
