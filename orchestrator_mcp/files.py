"""Primitives over files: safe names, reading what a stranger left, writing what must survive.

All of it is synchronous (call it in a thread) and fails with OSError. What one system cannot do (leases, folder
flushes, exclusive renames) is left out there, never an error.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import io
import os
import re
import secrets
import shutil
import stat
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def _flags(*names: str) -> int:
    """Flags for `os.open`, without those that this system does not have."""
    return functools.reduce(lambda flags, name: flags | int(getattr(os, name, 0)), names, 0)


_WRITE_NEW: Final = _flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
_READ_FOLDER: Final = _flags("O_RDONLY", "O_DIRECTORY", "O_CLOEXEC")
_READ_STRANGER: Final = _flags("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")

UNNAMED: Final = "unnamed"
_UNSAFE = re.compile(r"[^\w.-]")
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.part")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\.|$)", re.IGNORECASE)
_NETWORK: Final = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "afpfs", "9p", "ceph", "lustre", "beegfs"}
    | {"glusterfs", "davfs", "webdav", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.davfs2", "fuse.s3fs"}
    | {"fuse.ceph", "fuse.smbnetfs", "fuse.curlftpfs"}
)
_CANNOT_SYNC_FOLDER: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM})
_CANNOT_RENAME_EXCLUSIVELY: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_CANNOT_LINK: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EISDIR})
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1


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


def safe_stem(text: str, *, most_bytes: int = 80) -> str:
    """A file name, without extension, that every file system takes and that cannot point elsewhere.

    Args:
        text: any text, hostile or not.
        most_bytes: longest result in UTF-8 bytes, at least 8.

    Returns:
        Letters, digits, `_`, `-` and inner dots; never empty, hidden, an option, or a Windows device name.
    """
    stem = _UNSAFE.sub("_", unicodedata.normalize("NFC", text[: most_bytes * 4])).lstrip(".-")
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    return _shorten(stem, most_bytes).rstrip(". ") or UNNAMED


def _shorten(text: str, most_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def printable(name: str) -> str:
    """A file name as it can be shown and stored: bytes that are not UTF-8 become `\\xNN`.

    Args:
        name: as `os` gives it, with surrogates for such bytes.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def unique_names(names: Iterable[str]) -> list[str]:
    """The same names in the same order, with `-2`, `-3` … where two would be one file somewhere.

    Names are one when they differ only in case or in Unicode composition (macOS, Windows).
    """
    used: set[str] = set()
    last: dict[str, int] = {}
    found = []
    for name in names:
        key = _folded(name)
        chosen = name
        while _folded(chosen) in used:
            last[key] = last.get(key, 1) + 1
            chosen = numbered(name, last[key])
        used.add(_folded(chosen))
        found.append(chosen)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def numbered(name: str, number: int) -> str:
    """`name` for 1; `name-2.ext` and so on after that."""
    if number <= 1:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem}-{number}.{extension}" if dot and stem else f"{name}-{number}"


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


def free_names(name: str) -> Iterator[str]:
    """`name`, then `name-2`, `name-3` …: what to try where names may be taken."""
    return (numbered(name, number) for number in range(1, 100_000))


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


def free_space(path: Path) -> int:
    """Bytes that may still be written to the file system of an existing path."""
    return shutil.disk_usage(path).free


def is_network_filesystem(path: Path) -> bool:
    """Whether a path lies on a share, where file events and leases cannot be trusted; False when nobody can tell."""
    if str(path).startswith("\\\\"):
        return True
    try:
        mounts = Path("/proc/self/mounts").read_bytes()
        real = os.fsencode(os.path.realpath(path))
    except OSError:
        return False
    return mounted_type(mounts, real) in _NETWORK


def mounted_type(mounts: bytes, path: bytes) -> str:
    """The type of the file system that a path lies on.

    Args:
        mounts: `/proc/self/mounts`: blanks in names are octal there (proc(5)), later lines hide earlier ones.
        path: absolute, without links.
    """
    best = (-1, "")
    for line in mounts.splitlines():
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        point = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 255]), fields[1]).rstrip(b"/")
        if (path == point or path.startswith(point + b"/")) and len(point) >= best[0]:
            best = (len(point), fields[2].decode("ascii", "replace"))
    return best[1]
