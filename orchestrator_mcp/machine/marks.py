"""Marks of what is posted: they outlive the process, not the machine, and cost no flush.

A mark is written right before the graph of an attempt leaves. What the process before this one claimed and did not mark
was never sent, if everything that it marked is still there: under the same boot of the same machine, and if it was the
last to dispatch. Of all else nobody can tell.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from orchestrator_mcp.errors import StorageError

log = logging.getLogger(__name__)

MARKS_NAME: Final = "orchestrator.marks"
LARGEST: Final = 64 * 1024 * 1024  # bytes: a million attempts that are open at one time
RECORD: Final = 37  # bytes: a prompt id and the end of its line
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")  # random(4)


@dataclass(frozen=True, kw_only=True)
class MarksLeft:
    """What the last process that marked anything left behind.

    Attributes:
        owner: the name under which it held its leases.
        prompts: those that may have been posted and had not ended.
    """

    owner: str
    prompts: frozenset[str]

    def never_sent(self, untold: Mapping[str, str | None]) -> set[str]:
        """The prompts that were certainly never posted.

        Args:
            untold: those of attempts that were open and that no backend is known to have taken -> who held the lease
                of its backend last.
        """
        return {prompt for prompt, owner in untold.items() if owner == self.owner and prompt not in self.prompts}


class Marks:
    """Marks the prompts that are posted, in a file no larger than what is open at one time.

    Args:
        path: the file; None where what is written and not flushed may not outlive the process, as on a share.
        host: this machine, a part of the owner's name.
        boot: which boot of it this is; None where nobody can tell, and nothing is marked then.

    Attributes:
        owner: a name that no other process ever had; to hold leases under.
    """

    def __init__(self, path: Path | None, *, host: str, boot: str | None) -> None:
        self.owner = f"{host} {uuid4()}"
        self._path = path if boot is not None else None
        self._boot = boot
        self._file: int | None = None
        self._header = b""
        self._places: dict[str, int] = {}
        self._free: list[int] = []

    def left(self) -> MarksLeft | None:
        """What the process before this one left; None when that cannot be told. Reads a file."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                text = file.read(LARGEST + 1)
            return _parsed(text, self._boot) if len(text) <= LARGEST else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            words = (
                "nobody can tell what was sent before the last end, and doubt takes its time: %s is not readable: %s"
            )
            log.warning(words, self._path, _told(error))
            return None

    def begin(self, prompts: Iterable[str]) -> None:
        """Take the place of the process before this one. Writes a file.

        Args:
            prompts: of which nobody can tell whether they were posted.
        """
        if self._path is None:
            return
        self._header = f"{self._boot}\n{self.owner}\n".encode()
        self._places = {prompt_id: place for place, prompt_id in enumerate(prompts)}
        coming = self._path.with_name(f".{self._path.name}.coming")
        try:
            coming.write_bytes(self._header + b"".join(_record(prompt_id) for prompt_id in self._places))
            self._file = os.open(coming, os.O_WRONLY)
            os.replace(coming, self._path)
        except OSError as error:
            self.close()
            words = "after a crash nobody will know what was sent: %s cannot be written: %s; is that folder writable?"
            log.warning(words, self._path, _told(error))

    def set(self, prompt_id: str) -> None:
        """A prompt is posted next. It takes some microseconds: nothing waits for the disk.

        Args:
            prompt_id: that of the attempt, as it was claimed.

        Raises:
            StorageError: it could not be marked, and must not be posted now.
        """
        if self._file is None or prompt_id in self._places:
            return
        place = self._free.pop() if self._free else len(self._places)
        try:
            written = os.pwrite(self._file, _record(prompt_id), len(self._header) + place * RECORD)
        except OSError as error:
            self._free.append(place)
            raise StorageError(f"{self._path} cannot be written: {_told(error)}.") from error
        if written != RECORD:
            self._free.append(place)
            raise StorageError(f"{self._path} cannot be written: the disk is full.")
        self._places[prompt_id] = place

    def clear(self, prompt_id: str) -> None:
        """An attempt is over, and that is durable: another mark may take the place of its own.

        Args:
            prompt_id: that of the attempt, as it was claimed; it may never have been marked.
        """
        place = self._places.pop(prompt_id, None)
        if place is not None:
            self._free.append(place)

    def close(self) -> None:
        """Mark nothing any more."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
        self._file = None


def boot_id() -> str | None:
    """Which boot of this machine this is; None on systems that do not tell it for certain."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _told(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _record(prompt_id: str) -> bytes:
    return f"{UUID(prompt_id)}\n".encode("ascii")


def _parsed(text: bytes, boot: str | None) -> MarksLeft | None:
    """The marks of a file, None if they are of another boot.

    Raises:
        ValueError: it is damaged.
    """
    of_boot, _, rest = text.partition(b"\n")
    owner, end, records = rest.partition(b"\n")
    if not end or len(records) % RECORD:
        raise ValueError("it is damaged")
    if of_boot.decode() != boot:
        return None
    prompts = (records[begin : begin + RECORD].decode("ascii") for begin in range(0, len(records), RECORD))
    return MarksLeft(owner=owner.decode(), prompts=frozenset(_prompt(record) for record in prompts))


def _prompt(record: str) -> str:
    if not record.endswith("\n"):
        raise ValueError("it is damaged")
    return str(UUID(record[:-1]))
