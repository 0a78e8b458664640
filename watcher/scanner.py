"""Looking at the Inbox and taking what is whole. Synchronous: all of it runs in one thread at a time."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from orchestrator_mcp.domain.documents import MAX_BYTES, MAX_DEPTH
from orchestrator_mcp.domain.manifests import Manifest, warnings_about
from orchestrator_mcp.errors import ManifestError, OrchestratorError
from orchestrator_mcp.files import ChangedWhileReadError, NotRegularError, Signature, printable
from watcher.claims import Claim, ClaimFolder, stem_of
from watcher.folders import FolderSighting, contents_of, document_in, has_writers
from watcher.leases import HeldFile
from watcher.reading import Document, manifest_in, read_document, read_picture
from watcher.rules import (
    RERENDER,
    Look,
    Patience,
    Ripeness,
    Sighting,
    Sort,
    is_document,
    ripeness,
    sort_entry,
)
from watcher.unusual import Unusual

logger = logging.getLogger(__name__)

_HINT_LINK: Final = "Put the manifest itself there; links are never followed."
_ARRIVING: Final = 2.0  # seconds without change in which a writer is taken to be at work


@dataclass(frozen=True, kw_only=True)
class ScanLimits:
    """What one step of a scan takes at most.

    Attributes:
        file_bytes: of one manifest.
        depth: levels of its JSON.
        batch: files.
        batch_bytes: of manifests in memory.
        picture_bytes: tells how many bytes a picture may have that carries a workflow.
    """

    file_bytes: int = MAX_BYTES
    depth: int = MAX_DEPTH
    batch: int = 500
    batch_bytes: int = 32 << 20
    picture_bytes: Callable[[], int] = lambda: 100 * 10**6


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something in the Inbox that is not passing.

    Attributes:
        name: where it lies below the Inbox.
        sort: what it is.
        modified: when it was, in nanoseconds.
    """

    name: str
    sort: Sort
    modified: int


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A claim with what was in it: either a manifest, or the reason why there is none.

    Attributes:
        stem: how the folder of its result is called, if it says so itself; else by the name of the file.
    """

    claim: Claim
    manifest: Manifest | None = None
    warnings: tuple[str, ...] = ()
    sha256: str = ""
    size: int = 0
    refusal: Exception | None = None
    stem: str | None = None

    @cached_property
    def key(self) -> tuple[str, str]:
        """Equal for files of one name and content."""
        return self.claim.file_name, self.sha256


@dataclass(kw_only=True)
class Batch:
    """What one step brought.

    Attributes:
        taken: claims that are settled: manifests and refusals.
        open: claims whose file changed while it was taken; looked at again later.
        left: entries that did not fit into this step.
    """

    taken: list[Taken] = field(default_factory=list)
    open: list[Claim] = field(default_factory=list)
    left: list[Entry] = field(default_factory=list)


class Scanner:
    """Looks at files, remembers what it saw, and claims those that are whole.

    Args:
        claims: the Inbox.
        patience: how long files are given.
        limits: see `ScanLimits`.
        leases: whether the system can be asked about writers here (not on network shares).
        unusual: is told of files that a person should hear of.
    """

    def __init__(
        self, claims: ClaimFolder, *, patience: Patience, limits: ScanLimits, leases: bool, unusual: Unusual
    ) -> None:
        self._claims = claims
        self._patience = patience
        self._limits = limits
        self._leases = leases
        self._seen: dict[str, Sighting] = {}
        self._folders: dict[str, FolderSighting] = {}
        self._waiting_claims: dict[str, Sighting] = {}
        self._unusual = unusual

    def entries(self) -> list[Entry]:
        """All that lies in the Inbox, oldest first, and forget what is gone."""
        inbox = self._claims.inbox
        found = [*_entries_in(inbox, "")]
        with suppress(FileNotFoundError, NotADirectoryError):  # it is made anew at the next start
            found += _entries_in(inbox / RERENDER, RERENDER)
        present = {entry.name for entry in found}
        self._seen = {name: sighting for name, sighting in self._seen.items() if name in present}
        self._folders = {name: sighting for name, sighting in self._folders.items() if name in present}
        self._unusual.forget_but(present)
        return sorted(found, key=lambda entry: (entry.modified, entry.name))

    def arriving(self, now: float) -> list[float]:
        """When each manifest that may be arriving just now was last seen to change."""
        both = (*self._seen.values(), *self._waiting_claims.values())
        wait = max(_ARRIVING, self._patience.second_look + 1)
        young = [sighting.since for sighting in both if not sighting.told and now - sighting.since < wait]
        return young + [sighting.since for sighting in self._folders.values() if now - sighting.since < wait]

    def take(self, entries: list[Entry], now: float, new_claim_id: Callable[[], str]) -> Batch:
        """Look at entries and claim what is whole or wrong for good.

        Args:
            entries: from `entries`; not more than fit into one step are looked at.
            now: the monotonic clock, in seconds.
            new_claim_id: makes one for each claim.
        """
        batch = Batch()
        size = 0
        for index, entry in enumerate(entries):
            if index >= self._limits.batch or size >= self._limits.batch_bytes:
                batch.left = entries[index:]
                break
            taken = self._within_bounds(entry.name, now, partial(self._take, entry, now, new_claim_id, batch))
            size += taken.size if taken else 0
        if batch.taken:
            self._claims.sync()
        return batch

    def retake(self, claims: Iterable[Claim], now: float) -> Batch:
        """Look again at claims that are not settled."""
        batch = Batch()
        size = 0
        for claim in claims:
            if size >= self._limits.batch_bytes or len(batch.taken) >= self._limits.batch:
                batch.open.append(claim)
                continue
            taken = self._within_bounds(claim.name, now, partial(self._retake, claim, now), claimed=True)
            if taken is None:
                batch.open += [claim] if os.path.lexists(claim.path) else []
                continue
            self._waiting_claims.pop(claim.claim_id, None)
            batch.taken.append(taken)
            size += taken.size
        return batch

    def _within_bounds(
        self, name: str, now: float, look: Callable[[], Taken | None], *, claimed: bool = False
    ) -> Taken | None:
        """The supervision boundary around one file: whatever it does, the others are looked at."""
        try:
            taken = look()
            self._unusual.freed(name)
            return taken
        except FileNotFoundError:
            self._unusual.freed(name)
            return None
        except OSError as failure:
            self._unusual.stuck(name, failure.strerror or str(failure), now, claimed=claimed)
            self._tell_once(name, "The Inbox file %r cannot be taken now and is tried again: %s", failure)
        except Exception:
            logger.exception("Looking at the Inbox file %r failed; it is tried again.", printable(name))
        return None

    def _take(self, entry: Entry, now: float, new_claim_id: Callable[[], str], batch: Batch) -> Taken | None:
        path: Path | None = self._claims.inbox / entry.name
        if entry.sort is Sort.FOLDER:
            path = document_in(self._claims.inbox / entry.name)
        if entry.sort is Sort.STRANGER or path is None:
            self._report_stranger(entry.name, now)
            return None
        if entry.sort is Sort.FOLDER and not self._is_quiet(entry.name, path, now):
            return None
        if entry.sort is Sort.LINK:
            return self._claimed(entry, _no_plain_file(path), None, new_claim_id, batch)
        try:
            with HeldFile(path, ask=self._leases) as file:
                document = self._examine(self._seen, entry.name, path, file, now, _label(entry))
                return self._claimed(entry, document, file, new_claim_id, batch)
        except NotRegularError:
            document = self._refused(self._seen, entry.name, path, now)
            return self._claimed(entry, document, None, new_claim_id, batch)

    def _claimed(
        self,
        entry: Entry,
        document: Document | Exception | None,
        file: HeldFile | None,
        new_claim_id: Callable[[], str],
        batch: Batch,
    ) -> Taken | None:
        """Take what is whole or wrong for good; writers may have gone on until then."""
        if document is None:
            return None
        claim = self._claims.claim(entry.name, new_claim_id(), folder=entry.sort is Sort.FOLDER)
        self._seen.pop(entry.name, None)
        self._folders.pop(entry.name, None)
        self._unusual.taken(entry.name)
        if isinstance(document, Document) and not (file is not None and file.is_still(claim.document)):
            batch.open.append(claim)
            return None
        taken = _settled(claim, document)
        batch.taken.append(taken)
        return taken

    def _is_quiet(self, name: str, document: Path, now: float) -> bool:
        """Whether the files beside a job folder's manifest have all arrived: none changes, and nobody writes to one."""
        contents = contents_of(document.parent, document)
        if not contents:
            return True
        before = self._folders.get(name)
        if before is None or before.contents != contents:
            before = self._folders[name] = FolderSighting(contents=contents, since=now)
        if self._leases and has_writers(document.parent, contents):
            return False
        return now - before.since >= self._patience.second_look

    def _retake(self, claim: Claim, now: float) -> Taken | None:
        if claim.path.is_symlink():
            return _settled(claim, _no_plain_file(claim.path))
        memory, document = self._waiting_claims, claim.document
        try:
            with HeldFile(document, ask=self._leases) as file:
                found = self._examine(memory, claim.claim_id, document, file, now, claim.stem)
        except NotRegularError:
            found = self._refused(memory, claim.claim_id, document, now)
        return None if found is None else _settled(claim, found)

    def _examine(
        self, memory: dict[str, Sighting], key: str, path: Path, file: HeldFile, now: float, label: str
    ) -> Document | Exception | None:
        """Read a manifest if it is time to.

        Returns:
            The document, the reason why it is refused, or None while it may still change.
        """
        sighting = _see(memory, key, file.signature, now)
        unchanged = now - sighting.since
        empty = sighting.signature.size == 0
        document: Document | None = None
        if empty:
            sighting.refusal = ManifestError.at(message="The file is empty.", code="empty")
        elif ripeness(Look(unchanged=unchanged, writer=file.writer, parses=True), self._patience) is Ripeness.WAIT:
            return None
        elif sighting.refusal is None:
            document = self._read(sighting, path, file, label)
            if document is None and sighting.refusal is None:
                return None
        look = Look(unchanged=unchanged, writer=file.writer, empty=empty, parses=document is not None)
        match ripeness(look, self._patience):
            case Ripeness.TAKE:
                return document
            case Ripeness.REFUSE:
                return sighting.refusal
            case Ripeness.WAIT:
                return None

    def _refused(self, memory: dict[str, Sighting], key: str, path: Path, now: float) -> Exception | None:
        """The reason why something that is no plain file is refused; None while a file may still come in its place."""
        sighting = _see(memory, key, Signature.of(os.lstat(path)), now)
        look = Look(unchanged=now - sighting.since, writer=None)
        return _no_plain_file(path) if ripeness(look, self._patience) is Ripeness.REFUSE else None

    def _read(self, sighting: Sighting, path: Path, file: HeldFile, label: str) -> Document | None:
        most, depth = self._limits.file_bytes, self._limits.depth
        try:
            if is_document(path.name):
                return read_document(file, label=label, most=most, depth=depth)
            return read_picture(file, label=label, most=self._limits.picture_bytes(), most_json=most, depth=depth)
        except ChangedWhileReadError:
            return None
        except OrchestratorError as refusal:
            sighting.refusal = refusal
        return None

    def _report_stranger(self, name: str, now: float) -> None:
        status = os.lstat(self._claims.inbox / name)
        sighting = self._seen.setdefault(name, Sighting(signature=Signature.of(status), since=now))
        if sighting.told or now - sighting.since < self._patience.stranger:
            return
        sighting.told = True
        self._unusual.stranger(name)
        logger.warning(
            "%r in the Inbox is neither a manifest (name.json) nor a folder with one in it; it stays there (%s). "
            "Pictures are rendered again from its folder rerender.",
            printable(name),
            stat.filemode(status.st_mode),
        )

    def _tell_once(self, name: str, message: str, failure: OSError) -> None:
        sighting = self._seen.get(name)
        if sighting is not None and sighting.told:
            return
        if sighting is not None:
            sighting.told = True
        logger.warning(message, printable(name), failure)


def _entries_in(folder: Path, place: str) -> Iterator[Entry]:
    with os.scandir(folder) as listing:
        for entry in listing:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            sort = sort_entry(entry.name, status.st_mode, rerender=bool(place))
            if sort is not Sort.PASSING:
                yield Entry(name=os.path.join(place, entry.name), sort=sort, modified=status.st_mtime_ns)


def _label(entry: Entry) -> str:
    name = printable(os.path.basename(entry.name))
    return name if entry.sort is Sort.FOLDER else stem_of(name)


def _no_plain_file(path: Path) -> ManifestError:
    message = f"{printable(path.name)} is a link, folder, pipe or device, not a file."
    return ManifestError.at(message=message, code="symlink" if path.is_symlink() else "not_a_file", hint=_HINT_LINK)


def _see(memory: dict[str, Sighting], key: str, signature: Signature, now: float) -> Sighting:
    sighting = memory.get(key)
    if sighting is None or sighting.signature != signature:
        sighting = memory[key] = Sighting(signature=signature, since=now)
    return sighting


def _settled(claim: Claim, document: Document | Exception) -> Taken:
    if isinstance(document, Exception):
        return Taken(claim=claim, refusal=document)
    try:
        manifest = manifest_in(document.content)
    except ManifestError as refusal:
        return Taken(claim=claim, refusal=refusal, size=document.size)
    return Taken(
        claim=claim,
        manifest=manifest,
        warnings=(*document.warnings, *warnings_about(document.content)),
        sha256=document.sha256,
        size=document.size,
        stem=document.stem,
    )
