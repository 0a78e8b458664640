"""Which files below a folder are workflows, under which names; and what lies beside one to describe it.

An id is a key of the listing, never a path: nothing that a caller writes is ever joined to a folder.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from orchestrator_mcp.domain.manifests import MAX_TEXT
from orchestrator_mcp.workflows.declaration_file import SUFFIXES

MAX_FILES: Final = 10_000
MAX_ENTRIES: Final = 100_000
"""Names looked at below one folder; a `workflows_dir` that is a whole disk must not stop the work."""
MAX_FOLDERS_DEEP: Final = 8

DOCUMENTS: Final = frozenset({".json"})
CARRIERS: Final = frozenset(
    {".png", ".apng", ".webp", ".jpg", ".jpeg", ".avif"}
    | {".mp4", ".m4v", ".mov", ".webm", ".mkv"}
    | {".flac", ".ogg", ".opus", ".mp3", ".glb", ".svg"}
)
"""Endings of pictures, films, sounds and models that may carry the workflow by which they were made."""


def workflow_files(folder: Path, unreadable: set[Path]) -> dict[str, Path]:
    """Every file below a folder that is a workflow or may carry one, by id; folders that are links are not entered.

    Of equal ids a document goes before a picture: that shows what the document renders.

    Args:
        folder: where to look; one that does not exist is empty.
        unreadable: folders that could not be read are added to it.
    """
    documents: dict[str, Path] = {}
    carriers: dict[str, Path] = {}
    for key, path in islice(_files_in(folder, unreadable), MAX_FILES):
        (documents if is_document(path) else carriers).setdefault(key, path)
    return {**carriers, **documents}


def is_document(path: Path) -> bool:
    """Whether a file is a workflow by its name, rather than something that may carry one."""
    return path.suffix.casefold() in DOCUMENTS


def described_by(path: Path) -> Path | None:
    """What describes a workflow: its name with `.yaml` or `.yml`; a link out of the folder is none.

    Args:
        path: the workflow's own file.
    """
    for suffix in SUFFIXES:
        found = path.with_suffix(suffix)
        if found.exists() and (not found.is_symlink() or found.resolve().is_relative_to(path.parent.resolve())):
            return found
    return None


def _files_in(folder: Path, unreadable: set[Path]) -> Iterator[tuple[str, Path]]:
    """Every workflow file below a folder with its id; folders that are links are not entered."""
    try:
        root = folder.resolve(strict=True)
    except (OSError, RuntimeError):
        return
    for parts, entry in islice(_entries_below(root, unreadable), MAX_ENTRIES):
        stem, ending = os.path.splitext(entry.name)
        if ending.casefold() in DOCUMENTS | CARRIERS and _is_file_inside(entry, root):
            key = unicodedata.normalize("NFC", "/".join((*parts, stem)))
            if len(key) <= MAX_TEXT:
                yield key, Path(entry.path)


def _entries_below(root: Path, unreadable: set[Path]) -> Iterator[tuple[tuple[str, ...], os.DirEntry[str]]]:
    ahead: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    while ahead:
        here, parts = ahead.pop()
        try:
            with os.scandir(here) as scan:
                entries = sorted((entry for entry in scan if _is_plain(entry.name)), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            unreadable.add(here)
            continue
        for entry in entries:
            yield parts, entry
            if len(parts) < MAX_FOLDERS_DEEP and entry.is_dir(follow_symlinks=False):
                ahead.append((Path(entry.path), (*parts, entry.name)))


def _is_plain(name: str) -> bool:
    """Whether a name can be part of an id: visible, printable, without a separator of any system."""
    if name.startswith(".") or "\\" in name:
        return False
    return not any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name)


def _is_file_inside(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        if not entry.is_symlink():
            return entry.is_file(follow_symlinks=False)
        return Path(entry.path).resolve(strict=True).is_relative_to(root) and entry.is_file()
    except (OSError, RuntimeError):
        return False
