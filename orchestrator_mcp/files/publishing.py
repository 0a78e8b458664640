"""Showing a file or folder under its public name: in one step, and never over another."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator_mcp.files.writing import sync_directory

_CANNOT_RENAME_EXCLUSIVELY: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_CANNOT_LINK: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EISDIR})
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1


def rename_exclusively(source: Path, target: Path) -> None:
    """Rename a file or folder to a name that nobody has.

    One atomic step where the system can. Elsewhere a hard link does it for files, and for folders and file systems
    without links a look before.

    Raises:
        FileExistsError: the name is taken; nothing was moved.
    """
    if _rename_by_kernel(source, target) or _rename_by_link(source, target):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "the name is taken", str(target))
    os.rename(source, target)


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int, bytes, int, bytes, int], int] = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    return found


def _rename_by_kernel(source: Path, target: Path) -> bool:
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_RENAME_EXCLUSIVELY:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def _rename_by_link(source: Path, target: Path) -> bool:
    if not stat.S_ISREG(os.lstat(source).st_mode):
        return False
    try:
        os.link(source, target, follow_symlinks=False)
    except NotImplementedError:
        return False
    except FileExistsError:
        raise
    except OSError as failure:
        if failure.errno in _CANNOT_LINK:
            return False
        raise
    os.unlink(source)
    return True


def publish_directory(hidden: Path, final: Path) -> None:
    """Show a folder that was built under a hidden name, all of it in one step; durable when this returns.

    Args:
        hidden: complete, and each of its files flushed.
        final: its public name, in the same folder.

    Raises:
        FileExistsError: the name is taken; the hidden folder stands as it was.
    """
    sync_directory(hidden)
    try:
        rename_exclusively(hidden, final)
    except OSError as failure:
        if failure.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, "the name is taken", str(final)) from failure
        raise
    sync_directory(final.parent)
