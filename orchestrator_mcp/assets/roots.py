"""Opening a file that a manifest names by path: below one of the configured folders, or not at all.

No link is followed below such a folder, whatever changes there meanwhile: each name is opened in the folder before it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Final

from orchestrator_mcp.domain.references import PathReference
from orchestrator_mcp.files import NotRegularError, open_regular

_FOLDER: Final = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_ROOT: Final = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_BY_STEPS: Final = os.open in os.supports_dir_fd and _FOLDER != 0
_MOST_PARTS: Final = 64


class OutsideError(OSError):
    """The path leads out of the folders that files may come from, or over a link."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """An open file.

    Attributes:
        file: at its beginning; whoever gets it closes it.
        size: bytes.
        name: the last part of its path.
    """

    file: BinaryIO
    size: int
    name: str


def open_under_roots(roots: Sequence[Path], reference: PathReference) -> Found | None:
    """Open a file below the first root that has it.

    Args:
        roots: folders, absolute; each may itself be a link.
        reference: what the manifest says.

    Returns:
        None when no root has a relative path, nor the folder that it names: it may be a file on the backend.

    Raises:
        OutsideError: it leads out of the roots, or over a link.
        FileNotFoundError: an absolute path, or the folder of a relative one, lies below a root, and nothing is there.
        NotRegularError: it is a folder, pipe, socket or device.
        OSError: it cannot be read.
    """
    if not reference.absolute:
        found = _first(roots, reference.parts)
        if found is None and any(_has_folder(root, reference.parts[:-1]) for root in roots):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), reference.path)
        return found
    below = [(root, parts) for root in roots if (parts := _parts_below(root, reference.path)) is not None]
    if not below:
        raise OutsideError(errno.EACCES, "outside the folders that files may come from", reference.path)
    for root, parts in below[:-1]:
        try:
            return open_below(root, parts)
        except FileNotFoundError:
            continue
    return open_below(*below[-1])


def open_below(folder: Path, parts: Sequence[str]) -> Found:
    """Open a plain file below a folder, without following a link below it.

    Args:
        folder: where to begin; may be a link.
        parts: the names on the way.

    Raises:
        OutsideError: a part leads up, or is a link.
        FileNotFoundError: nothing is there.
        NotRegularError: it is a folder, pipe, socket or device.
        OSError: it cannot be read.
    """
    if not parts or len(parts) > _MOST_PARTS or not all(map(_plain, parts)):
        raise OutsideError(errno.EACCES, "no path below the folder", "/".join(parts)[:200])
    file = _open_by_steps(folder, parts) if _BY_STEPS else _open_looking(folder, parts)
    return Found(file=file, size=os.fstat(file.fileno()).st_size, name=parts[-1])


def _first(roots: Iterable[Path], parts: Sequence[str]) -> Found | None:
    for root in roots:
        try:
            return open_below(root, parts)
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            continue
    return None


def _has_folder(root: Path, parts: Sequence[str]) -> bool:
    """Whether a folder lies below a root, and no link on the way to it; the root itself is none."""
    here, mode = root, 0
    try:
        for part in parts:
            here /= part
            mode = here.lstat().st_mode
            if not stat.S_ISDIR(mode):
                return False
    except OSError:
        return False
    return stat.S_ISDIR(mode)


def _parts_below(root: Path, path: str) -> tuple[str, ...] | None:
    """The names that lead from a root to an absolute path; None when it does not lie below, by its spelling alone."""
    given, above = PurePath(path).parts, root.parts
    folded = [os.path.normcase(part) for part in given[: len(above)]]
    if len(given) <= len(above) or folded != [os.path.normcase(part) for part in above]:
        return None
    return given[len(above) :]


def _plain(part: str) -> bool:
    """Whether a name is one step down, by the rules of any system."""
    return part not in ("", ".", "..") and not any(character in part for character in "/\\\x00") and not _stream(part)


def _stream(part: str) -> bool:
    """Whether Windows would see a drive or a second stream of a file in a name."""
    return os.name == "nt" and ":" in part


def _open_by_steps(folder: Path, parts: Sequence[str]) -> BinaryIO:
    here = os.open(folder, os.O_RDONLY | _ROOT)
    try:
        for part in parts[:-1]:
            deeper = _step(part, _FOLDER, here)
            os.close(here)
            here = deeper
        if not stat.S_ISREG(os.stat(parts[-1], dir_fd=here, follow_symlinks=False).st_mode):
            _refuse(parts[-1], here)
        opened = _step(parts[-1], _FILE, here)
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotRegularError(errno.EINVAL, "not a plain file", parts[-1])
    return os.fdopen(opened, "rb")


def _step(part: str, flags: int, here: int) -> int:
    try:
        return os.open(part, os.O_RDONLY | flags, dir_fd=here)
    except OSError as failure:
        if failure.errno in (errno.ELOOP, errno.ENOTDIR):
            _refuse(part, here)
        if failure.errno == errno.ENXIO:
            raise NotRegularError(errno.EINVAL, "not a plain file", part) from failure
        raise


def _refuse(part: str, here: int) -> None:
    """Say what stands in the way under a name: a link, or no plain file."""
    mode = os.stat(part, dir_fd=here, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        raise OutsideError(errno.ELOOP, "a link", part)
    if not stat.S_ISREG(mode):
        raise NotRegularError(errno.EINVAL, "not a plain file", part)


def _open_looking(folder: Path, parts: Sequence[str]) -> BinaryIO:
    """The same where folders cannot be opened: each name is looked at before."""
    path = folder
    for part in parts:
        path /= part
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", None):
            raise OutsideError(errno.ELOOP, "a link", part)
    return open_regular(path)
