"""The listening socket, taken before anything else starts, and words for when it is not to be had."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator_mcp.errors import StartError

_OURS: Final = re.compile(rb"(?:^|/)orchestrator-mcp$|(?:^|/)orchestrator_mcp[./]")
BACKLOG: Final = 2048  # connections that may wait to be taken


def take_port(host: str, port: int, *, or_any: bool = False) -> socket.socket:
    """Listen on an address.

    Args:
        host: a name or address of this machine.
        port: 0 takes a free one.
        or_any: take a free port when this one is taken.

    Raises:
        StartError: taken, not allowed, or no address of this machine; the message says who has it if that is known.
    """
    try:
        return _listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and or_any:
            return _listen(host, 0)
        raise _cannot_listen(host, port, error) from error


def _listen(host: str, port: int) -> socket.socket:
    """Like `socket.create_server`, with the protocol named: asyncio turns Nagle's delay (40 ms) off only then."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def reachable_url(host: str, port: int) -> str:
    """Where this machine reaches a server of its own.

    Args:
        host: the address that the server listens on.
        port: the port that it listens on.
    """
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{near}]' if ':' in near else near}:{port}"


def _cannot_listen(host: str, port: int, error: OSError) -> StartError:
    if error.errno == errno.EADDRINUSE:
        owner = owner_of(port)
        return StartError(
            f"Port {port} on {host} is taken{f' by {owner}' if owner else ''}.",
            hint=f"Stop that program, or choose another port, for example --port {port + 1 if port < 65535 else 9801}.",
        )
    if error.errno == errno.EACCES:
        return StartError(
            f"Port {port} on {host} may not be used by this user.", hint="Choose one above 1023 with --port."
        )
    return StartError(
        f"Cannot listen on {host}:{port}: {error.strerror or error}.",
        hint="Give an address of this machine with --host (127.0.0.1, or 0.0.0.0 for the whole network).",
    )


def owner_of(port: int) -> str | None:
    """Which program listens on a TCP port, as `nginx (process 123)`; None where that cannot be known.

    Reads /proc, so it works on Linux, for the processes that this user may look at.
    """
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / table, port)}
    if not inodes:
        return None
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and _holds(folder / "fd", inodes):
            with suppress(OSError):
                return _called(folder)
    return None


def _called(process: Path) -> str:
    """What a person would call a process; the kernel's own name for it is cut off after 15 letters."""
    words = (process / "cmdline").read_bytes().split(b"\0")
    if any(_OURS.search(word) for word in words):
        return f"another orchestrator (process {process.name}, started in {os.readlink(process / 'cwd')})"
    name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return f"{name} (process {process.name})"


def _listening(table: Path, port: int) -> list[str]:
    """Inodes of the listening sockets of a port: state 0A, the port in hexadecimal behind the colon."""
    try:
        rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if len(row) > 9 and row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]


def _holds(descriptors: Path, inodes: set[str]) -> bool:
    try:
        return any(os.readlink(entry) in inodes for entry in descriptors.iterdir())
    except OSError:
        return False
