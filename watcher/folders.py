"""Job folders: which of their files is the manifest, and whether all of them have arrived. Synchronous."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_mcp.files import NotRegularError, Signature
from watcher.leases import has_writer
from watcher.rules import is_document

DOCUMENTS: Final = ("job.json", "manifest.json")
"""What the manifest of a job folder is called; else it is the only JSON file in it."""

_MOST_FILES: Final = 1_000  # looked at in one folder
_MOST_LEVELS: Final = 8

Contents = tuple[tuple[str, Signature], ...]


@dataclass(frozen=True, kw_only=True)
class FolderSighting:
    """What is remembered of a job folder between two looks.

    Attributes:
        contents: its files but for the manifest, as far as stats tell.
        since: when they were first seen so, in seconds of the monotonic clock.
    """

    contents: Contents
    since: float


def document_in(folder: Path) -> Path | None:
    """The manifest of a job folder; None while there is none, or when several files could be it.

    Args:
        folder: a folder, not a link.

    Raises:
        OSError: it cannot be looked into.
    """
    with os.scandir(folder) as listing:
        names = {entry.name for entry in listing if is_document(entry.name) and not entry.name.startswith(".")}
    known: list[str] = [name for name in DOCUMENTS if name in names]
    if not known and len(names) == 1:
        known = list(names)
    return folder / known[0] if known else None


def contents_of(folder: Path, document: Path) -> Contents:
    """The files of a job folder but for its manifest, at any depth; no link is followed.

    Args:
        folder: the folder.
        document: its manifest.

    Raises:
        OSError: it cannot be looked into.
    """
    found = [each for each in _walk(folder, "", _MOST_LEVELS) if each[0] != document.name]
    return tuple(sorted(found[:_MOST_FILES], key=lambda each: each[0]))


def has_writers(folder: Path, contents: Contents) -> bool:
    """Whether somebody is known to have one of these files open for writing."""
    for name, _ in contents:
        try:
            if has_writer(folder / name):
                return True
        except (NotRegularError, FileNotFoundError):
            continue
    return False


def _walk(folder: Path, place: str, levels: int) -> Iterator[tuple[str, Signature]]:
    with os.scandir(folder) as listing:
        entries = list(listing)
    for entry in entries:
        status = entry.stat(follow_symlinks=False)
        name = os.path.join(place, entry.name)
        if stat.S_ISREG(status.st_mode):
            yield name, Signature.of(status)
        elif stat.S_ISDIR(status.st_mode) and levels > 0:
            yield from _walk(folder / entry.name, name, levels - 1)
