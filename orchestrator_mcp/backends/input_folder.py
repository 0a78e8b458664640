"""What of ours lies in one backend's input folder: each file goes there once, whoever needs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import anyio

MOST_REMEMBERED: Final = 10_000  # files; one that is forgotten is only looked for again


class Carrier(Protocol):
    """What brings files to a backend: its client."""

    async def input_size(self, name: str) -> int | None: ...

    async def upload(self, name: str, content: bytes | Path, media_type: str) -> str: ...


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file that a render begins with.

    Attributes:
        sha256: of its bytes.
        name: what it is to be called on the backend.
        path: where it lies here.
    """

    sha256: str
    name: str
    path: Path


class InputFolder:
    """The input folder of one backend, as far as we filled it. Used on the event loop only."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._under_way: dict[str, anyio.Lock] = {}
        self._falls = 0

    async def bring(self, carrier: Carrier, file: InputFile, *, falls: int) -> str:
        """See that a file is there; jobs that need it at the same time share one upload.

        A name made of the content's hash says what is in it. A file of that name and length that is there already is
        taken for it, so an upload is not repeated after a restart, here or there.

        Args:
            carrier: the backend's client.
            file: the file.
            falls: how often the backend was seen to go down; after another time nothing is sure to be there.

        Returns:
            The name to write into a loader's input.

        Raises:
            BackendError: it could not be brought there.
            OSError: our own file cannot be read.
        """
        if falls != self._falls:
            self._names.clear()
            self._falls = falls
        if (known := self._names.get(file.sha256)) is not None:
            return known
        lock = self._under_way.setdefault(file.sha256, anyio.Lock())
        try:
            async with lock:
                if (known := self._names.get(file.sha256)) is None:
                    known = await _brought(carrier, file)
                    self._remember(file.sha256, known)
        finally:
            if lock.statistics().tasks_waiting == 0 and not lock.locked():
                self._under_way.pop(file.sha256, None)
        return known

    def forget(self, hashes: Iterable[str]) -> None:
        """Some files are not there after all."""
        for sha256 in hashes:
            self._names.pop(sha256, None)

    def _remember(self, sha256: str, name: str) -> None:
        if len(self._names) >= MOST_REMEMBERED:
            self._names.pop(next(iter(self._names)))
        self._names[sha256] = name


async def _brought(carrier: Carrier, file: InputFile) -> str:
    size = (await anyio.Path(file.path).stat()).st_size
    if await carrier.input_size(file.name) == size:
        return file.name
    return await carrier.upload(file.name, file.path, "application/octet-stream")
