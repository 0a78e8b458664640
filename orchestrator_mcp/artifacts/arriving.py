"""Files on their way into the artifact store: written under a hidden name, hashed, measured and looked at."""

from __future__ import annotations

import hashlib
import logging
import mmap
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from orchestrator_mcp import files
from orchestrator_mcp.artifacts.structure import Inspection, inspect
from orchestrator_mcp.errors import ArtifactError, StorageError

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that is whole, checked and on disk.

    Attributes:
        sha256: of its content; also how it is asked for.
        size: bytes.
        media_type: by its content.
        kind: image, video, audio, text, model or file.
        extension: by its content, without the dot.
        width: pixels, for images that say so in their header.
        height: pixels.
    """

    sha256: str
    size: int
    media_type: str
    kind: str
    extension: str
    width: int | None = None
    height: int | None = None


Check = Callable[[StoredFile, Path], Awaitable[None]]
"""Refuses a file by raising."""


@dataclass(kw_only=True)
class Arrival:
    """A file that is being written, or waits to be kept.

    Attributes:
        path: where it lies for now.
        target: the open file.
        digest: of what was written so far.
        size: bytes of that.
    """

    path: Path
    target: BinaryIO
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    size: int = 0

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self.digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Add bytes. Raises OSError."""
        self.target.write(piece)
        self.digest.update(piece)
        self.size += len(piece)


class Gathering:
    """Files on their way in, whole and checked one by one; see `ArtifactStore.together`.

    Args:
        threads: bounds writes and looks at one time.
        root: the folder of the store, for words about trouble.
        begin: opens a new file in it.
        buffer_size: bytes gathered before a thread writes them.

    Attributes:
        arrived: those that are whole and wait to be kept.
    """

    def __init__(self, threads: CapacityLimiter, root: Path, begin: Callable[[], Arrival], buffer_size: int) -> None:
        self._threads = threads
        self._root = root
        self._begin = begin
        self._buffer_size = buffer_size
        self.arrived: list[Arrival] = []

    async def receive(
        self,
        chunks: AsyncIterator[bytes],
        *,
        declared_length: int | None,
        name_hint: str,
        most: int,
        check: Check | None = None,
    ) -> StoredFile:
        """Take in a file as it arrives.

        Args:
            chunks: its bytes.
            declared_length: what its sender announced, in bytes; must be met to the byte.
            name_hint: what its maker called it; only helps to tell kinds of text apart.
            most: largest size in bytes.
            check: awaited once the file is whole and recognised, with the place where it lies for now; what it raises
                comes out, and the file is not kept.

        Raises:
            ArtifactError: it is too large, torn, damaged, or shorter or longer than announced.
            StorageError: it cannot be written.
        """
        if declared_length is not None and declared_length > most:
            raise ArtifactError(f"The file would have {declared_length} bytes; {most} are allowed.")
        arrival: Arrival | None = None
        last = b""
        try:
            async for piece in self._pieces(chunks, most):
                if last:
                    arrival = await self.run(partial(self._write, arrival, last))
                last = piece
            if not last:
                raise ArtifactError("The file is empty.")
            whole, stored = await self.run(partial(self._finish, arrival, last, declared_length, name_hint))
            arrival = whole
            if check is not None:
                await check(stored, whole.path)
        except BaseException:
            with CancelScope(shield=True):
                await to_thread.run_sync(discard, [arrival] if arrival else [])
            raise
        self.arrived.append(whole)
        return stored

    async def receive_text(self, text: str) -> StoredFile:
        """Take in a text that a backend handed over as a value.

        Raises:
            ArtifactError: it is empty.
            StorageError: it cannot be written.
        """
        content = text.encode("utf-8", "replace")

        async def whole() -> AsyncIterator[bytes]:
            yield content

        return await self.receive(whole(), declared_length=len(content), name_hint="text.txt", most=len(content))

    async def run(self, deed: Callable[[], _Result]) -> _Result:
        """Do something with the files in a thread. Raises StorageError."""
        return await in_thread(deed, self._threads, self._root)

    async def _pieces(self, chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
        waiting = bytearray()
        arrived = 0
        async for chunk in chunks:
            arrived += len(chunk)
            if arrived > most:
                raise ArtifactError(f"The file has more than the {most} bytes that are allowed.")
            waiting += chunk
            if len(waiting) >= self._buffer_size:
                yield bytes(waiting)
                waiting.clear()
        if waiting:
            yield bytes(waiting)

    def _write(self, arrival: Arrival | None, piece: bytes) -> Arrival:
        arrival = arrival or self._begin()
        try:
            arrival.write(piece)
        except BaseException:
            discard([arrival])
            raise
        return arrival

    def _finish(
        self, arrival: Arrival | None, piece: bytes, declared_length: int | None, name_hint: str
    ) -> tuple[Arrival, StoredFile]:
        """The last bytes are written, the whole is looked at, and put on the disk."""
        alone = arrival is None
        arrival = self._write(arrival, piece)
        try:
            stored = _looked_at(arrival, piece if alone else None, declared_length, name_hint)
            files.flush(arrival.target)
            arrival.target.close()
            return arrival, stored
        except BaseException:
            discard([arrival])
            raise


async def in_thread(deed: Callable[[], _Result], threads: CapacityLimiter, root: Path) -> _Result:
    """Touch files of the store in a thread.

    Args:
        deed: what to do.
        threads: bounds how many do so at one time.
        root: the folder of the store.

    Raises:
        StorageError: the file system refuses.
    """
    try:
        return await to_thread.run_sync(deed, limiter=threads)
    except OSError as failure:
        raise StorageError(
            f"The artifact folder {root} cannot be used: {failure.strerror or failure}.",
            hint="Check that the disk has room and that the folder is writable.",
        ) from failure


def _looked_at(arrival: Arrival, content: bytes | None, declared_length: int | None, name_hint: str) -> StoredFile:
    """Recognise a file.

    Args:
        arrival: all of it is written.
        content: all of it, if it is here; else it is read again.
        declared_length: what its sender announced, in bytes.
        name_hint: what its maker called it.

    Raises:
        ArtifactError: it is damaged, or shorter or longer than announced.
    """
    if declared_length is not None and arrival.size != declared_length:
        raise ArtifactError(f"The file has {arrival.size} bytes; {declared_length} were announced.")
    seen = inspect(content, name_hint=name_hint) if content is not None else _inspected(arrival, name_hint)
    return StoredFile(
        sha256=arrival.sha256,
        size=arrival.size,
        media_type=seen.format.media_type,
        kind=seen.format.kind,
        extension=seen.format.extension,
        width=seen.width,
        height=seen.height,
    )


def _inspected(arrival: Arrival, name_hint: str) -> Inspection:
    arrival.target.flush()
    with open(arrival.path, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return inspect(content, name_hint=name_hint)


def discard(arrivals: Sequence[Arrival]) -> None:
    """Delete files that are not kept; one that was kept meanwhile stays."""
    for arrival in arrivals:
        try:
            arrival.target.close()
            arrival.path.unlink(missing_ok=True)
        except OSError as failure:
            logger.warning("A temporary file stayed behind until the next start: %s", failure)
