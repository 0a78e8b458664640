"""What this system offers: flags of its calls, room on its disks, and what kind of disks they are."""

from __future__ import annotations

import functools
import os
import re
import shutil
from pathlib import Path
from typing import Final

_NETWORK: Final = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "afpfs", "9p", "ceph", "lustre", "beegfs"}
    | {"glusterfs", "davfs", "webdav", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.davfs2", "fuse.s3fs"}
    | {"fuse.ceph", "fuse.smbnetfs", "fuse.curlftpfs"}
)


def flags(*names: str) -> int:
    """Flags for `os.open`, without those that this system does not have.

    Args:
        names: as `os` calls them.
    """
    return functools.reduce(lambda flags, name: flags | int(getattr(os, name, 0)), names, 0)


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
