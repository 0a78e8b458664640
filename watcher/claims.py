"""Files that were taken out of the Inbox, and where they are put away.

`Inbox/.orch/claimed/<claim_id>-<name>` belongs to us and is not a job yet; in `accepted/` it is one. A claim is one
rename, so two watchers never take the same file; the artist's name stays in the path, byte for byte, so that a crash
at any point loses nothing.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from orchestrator_mcp import files
from orchestrator_mcp.clock import to_millis
from watcher.folders import DOCUMENTS, document_in
from watcher.rules import ERROR_SUFFIX, FAILED, MOST_NAME_BYTES, PROCESSED, RERENDER

_OWN: Final = ".orch"
_CLAIMED: Final = "claimed"
_ACCEPTED: Final = "accepted"
_CLAIM = re.compile(r"([0-9a-f]{24})-(.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A manifest file, picture or job folder that was taken.

    Attributes:
        claim_id: 24 hex digits, in the order of taking.
        name: what it is called in the Inbox, as `os` spells it; shortened when it was very long.
        path: where it lies now.
        folder: whether it is a job folder.
    """

    claim_id: str
    name: str
    path: Path
    folder: bool = False

    @property
    def file_name(self) -> str:
        """The name as it can be shown and stored."""
        return files.printable(self.name)

    @property
    def stem(self) -> str:
        """The readable beginning of result names."""
        return self.file_name if self.folder else stem_of(self.file_name)

    @property
    def document(self) -> Path:
        """The manifest itself, or the picture."""
        if not self.folder:
            return self.path
        return document_in(self.path) or self.path / DOCUMENTS[0]


def stem_of(name: str) -> str:
    """A file's name without its ending."""
    return name.rpartition(".")[0] or name


def new_claim_id(now: datetime) -> str:
    """A fresh claim id: nothing in it comes from the file."""
    return f"{to_millis(now):012x}{secrets.token_hex(6)}"


class ClaimFolder:
    """The Inbox as a place where files are taken and put away. Synchronous; call it in a thread."""

    def __init__(self, inbox: Path) -> None:
        self.inbox = inbox
        self._claimed = inbox / _OWN / _CLAIMED
        self._accepted = inbox / _OWN / _ACCEPTED
        self._processed = inbox / PROCESSED
        self._failed = inbox / FAILED
        self._rerender = inbox / RERENDER
        self._left: set[str] = set()

    @property
    def places(self) -> tuple[Path, Path]:
        """Where files are dropped: the Inbox itself, then its folder for pictures."""
        return self.inbox, self._rerender

    def make(self) -> None:
        """Make the Inbox and the folders in it, as a start does.

        Raises:
            OSError: one cannot be made, or something else (a link, too) has its name.
        """
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.prepare()
        files.sweep_unfinished(self._failed)

    def prepare(self) -> None:
        """Make the folders in the Inbox. One that went away is not made anew: its disk or share may come back.

        Raises:
            OSError: the Inbox is gone, a folder cannot be made, or something else (a link, too) has its name.
        """
        for folder in (self.inbox / _OWN, self._claimed, self._accepted, self._processed, self._failed, self._rerender):
            folder.mkdir(exist_ok=True)
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise NotADirectoryError(f"{folder} is a link; a folder is needed there")

    def claim(self, name: str, claim_id: str, *, folder: bool = False) -> Claim:
        """Take an entry of the Inbox.

        Args:
            name: where it lies below the Inbox.
            claim_id: a fresh one.
            folder: whether it is a job folder.

        Raises:
            FileNotFoundError: somebody else took or deleted it.
            OSError: it cannot be taken now.
        """
        short = _shortened(os.path.basename(name))
        source, target = os.path.join(self.inbox, name), os.path.join(self._claimed, f"{claim_id}-{short}")
        self._left.add(os.path.dirname(source))
        try:
            os.rename(source, target)
        except FileNotFoundError:
            if not os.path.lexists(source) or self._claimed.is_dir():
                raise
            self.prepare()
            os.rename(source, target)
        return Claim(claim_id=claim_id, name=short, path=Path(target), folder=folder)

    def sync(self) -> None:
        """Put all claims so far on the disk: a job must not outlive a claim that power loss would undo."""
        files.sync_directory(self._claimed)
        while self._left:
            files.sync_directory(Path(self._left.pop()))

    def claimed(self) -> list[Claim]:
        """What was taken and is not known to be a job, oldest first."""
        return _claims_in(self._claimed)

    def accepted(self) -> list[Claim]:
        """What became a job that has not ended, oldest first."""
        return _claims_in(self._accepted)

    def accept(self, claim: Claim) -> None:
        """Note that a claim is a job now. A claim that was put away meanwhile is left alone."""
        try:
            os.rename(claim.path, self._accepted / claim.path.name)
        except FileNotFoundError:
            return

    def find(self, claim_id: str, file_name: str) -> Claim | None:
        """Look for a claim wherever it lies; claims only ever go from claimed to accepted.

        Args:
            claim_id: as it was given out.
            file_name: as `Claim.file_name` gave it; saves reading the folders when it is an ordinary name.
        """
        entry = f"{claim_id}-{file_name}"
        if _CLAIM.fullmatch(entry) is None or "/" in file_name or os.sep in file_name or "\x00" in file_name:
            return None
        for folder in (self._claimed, self._accepted):
            try:
                mode = os.lstat(folder / entry).st_mode
            except OSError:
                continue
            return Claim(claim_id=claim_id, name=file_name, path=folder / entry, folder=stat.S_ISDIR(mode))
        both = [*self.claimed(), *self.accepted()]
        return next((claim for claim in both if claim.claim_id == claim_id), None)

    def put_away(self, claim: Claim) -> bool:
        """Move a manifest whose job completed to `processed/`. False when it is not where it was claimed to be."""
        return self._move(claim, self._processed, None)

    def refuse(self, claim: Claim, report: dict[str, Any]) -> bool:
        """Move a manifest that came to nothing to `failed/`, with the reason beside it.

        Args:
            claim: what was taken.
            report: for `<name>.error.json`; must carry the claim's id.

        Returns:
            False when the file is not where it was claimed to be.
        """
        return self._move(claim, self._failed, report)

    def _move(self, claim: Claim, folder: Path, report: dict[str, Any] | None) -> bool:
        folder.mkdir(exist_ok=True)
        for name in files.free_names(claim.name):
            reason = folder / f"{name}{ERROR_SUFFIX}"
            if os.path.lexists(folder / name) or (report is not None and _is_of_another(reason, claim.claim_id)):
                continue
            try:
                _place(claim, folder / name, report, reason)
            except FileExistsError:
                continue
            except FileNotFoundError:
                return False
            files.sync_directory(folder)
            return True
        return False


def _place(claim: Claim, target: Path, report: dict[str, Any] | None, reason: Path) -> None:
    """Put the reason there first: whoever sees the file in `failed/` finds out why."""
    os.lstat(claim.path)
    if report is not None:
        files.write_durably(reason, _encoded(report))
    try:
        files.rename_exclusively(claim.path, target)
    except (FileExistsError, FileNotFoundError):
        if report is not None:
            reason.unlink(missing_ok=True)
        raise


def _encoded(report: dict[str, Any]) -> bytes:
    return json.dumps(report, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"


def _is_of_another(reason: Path, claim_id: str) -> bool:
    """Whether a reason stands there already, other than one that this claim left before a crash."""
    if not os.path.lexists(reason):
        return False
    try:
        written = json.loads(files.read_regular(reason, most=1 << 20).content)
    except (OSError, ValueError, RecursionError):
        return True
    return not (isinstance(written, dict) and written.get("claim_id") == claim_id)


def _claims_in(folder: Path) -> list[Claim]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            parts = _CLAIM.fullmatch(entry.name)
            if parts is not None:
                of_folder = entry.is_dir(follow_symlinks=False)
                found.append(Claim(claim_id=parts[1], name=parts[2], path=folder / entry.name, folder=of_folder))
    return sorted(found, key=lambda claim: claim.claim_id)


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= MOST_NAME_BYTES:
        return name
    stem, _, extension = encoded.rpartition(b".")
    end = b"." + extension if stem and len(extension) < 16 else b""
    kept = encoded[: MOST_NAME_BYTES - len(end)].decode("utf-8", "ignore")
    return kept + os.fsdecode(end)
