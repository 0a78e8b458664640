"""The artifact store: files by the sha256 of their content, whole or not there.

Layout: `<root>/ab/abcdef…`, and `<root>/.incoming/` for what is still on its way. Names of backends and callers never
become paths here.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from orchestrator_mcp import files
from orchestrator_mcp.artifacts.structure import inspect
from orchestrator_mcp.errors import ArtifactError, NotFoundError, StorageError

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_INCOMING: Final = ".incoming"


@dataclass(frozen=True, kw_only=True)
class ArtifactLimits:
    """What the store allows itself.

    Attributes:
        free_space: bytes of the file system that stay free; below that nothing is received.
        buffer_size: bytes gathered before a thread writes them.
        threads: writes, checks and flushes at one time.
    """

    free_space: int = 64 << 20
    buffer_size: int = 1 << 20
    threads: int = 8


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
class _Arrival:
    path: Path
    target: BinaryIO
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    size: int = 0

    def write(self, piece: bytes) -> None:
        self.target.write(piece)
        self.digest.update(piece)
        self.size += len(piece)


class ArtifactStore:
    """Files by content under one folder, which nobody else writes to.

    Args:
        root: the folder; made by `sweep_temporaries` or the first file.
        limits: see `ArtifactLimits`.
    """

    def __init__(self, root: Path, limits: ArtifactLimits | None = None) -> None:
        self._root = root
        self._limits = limits or ArtifactLimits()
        self._run = secrets.token_hex(8)
        self._threads = CapacityLimiter(self._limits.threads)

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
        arrival: _Arrival | None = None
        try:
            async for piece in self._pieces(chunks, most):
                arrival = await self._in_thread(partial(self._write, arrival, piece))
            if arrival is None:
                raise ArtifactError("The file is empty.")
            stored = await self._in_thread(partial(_looked_at, arrival, declared_length, name_hint))
            if check is not None:
                await check(stored, arrival.path)
            await self._in_thread(partial(self._settle, arrival, stored))
            return stored
        except BaseException:
            with CancelScope(shield=True):
                await to_thread.run_sync(_discard, arrival)
            raise

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

    def path_of(self, sha256: str) -> Path:
        """Where a file of that content lies, or would lie.

        Raises:
            NotFoundError: that is no sha256 in lower-case hex.
        """
        if not _SHA256.fullmatch(sha256):
            raise NotFoundError("output", sha256)
        return self._root / sha256[:2] / sha256

    async def size_of(self, sha256: str) -> int | None:
        """Bytes of a file, or None when it is not here."""

        def look() -> int | None:
            try:
                return self.path_of(sha256).stat().st_size
            except FileNotFoundError:
                return None

        return await self._in_thread(look)

    async def renew(self, sha256: str) -> bool:
        """Spare a file for a while, see `remove`: it is about to be named again. False when it is not here."""

        def touch() -> bool:
            try:
                os.utime(self.path_of(sha256))
            except FileNotFoundError:
                return False
            return True

        return await self._in_thread(touch)

    async def remove(self, sha256: str, *, older_than: datetime | None = None) -> bool:
        """Delete a file.

        Args:
            sha256: its content.
            older_than: spare it when it was received again since: its new job may not be on record yet.

        Returns:
            Whether it was there and is gone.
        """
        path = self.path_of(sha256)

        def delete() -> bool:
            try:
                if older_than is not None and path.stat().st_mtime >= older_than.timestamp():
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
            return True

        return await self._in_thread(delete)

    async def sweep_temporaries(self) -> int:
        """Delete what runs before left unfinished; what arrives meanwhile stays.

        Returns:
            How many files there were.
        """

        def sweep() -> int:
            incoming = self._incoming()
            left = [path for path in incoming.iterdir() if not path.name.startswith(self._run)]
            for path in left:
                path.unlink(missing_ok=True)
            return len(left)

        return await self._in_thread(sweep)

    async def _pieces(self, chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
        waiting = bytearray()
        arrived = 0
        async for chunk in chunks:
            arrived += len(chunk)
            if arrived > most:
                raise ArtifactError(f"The file has more than the {most} bytes that are allowed.")
            waiting += chunk
            if len(waiting) >= self._limits.buffer_size:
                yield bytes(waiting)
                waiting.clear()
        if waiting:
            yield bytes(waiting)

    def _write(self, arrival: _Arrival | None, piece: bytes) -> _Arrival:
        arrival = arrival or self._begin()
        arrival.write(piece)
        return arrival

    def _begin(self) -> _Arrival:
        incoming = self._incoming()
        free = files.free_space(incoming)
        if free < self._limits.free_space:
            raise StorageError(
                f"Only {free >> 20} MB are free in {self._root}; outputs are not fetched.",
                hint="Free some space; the job goes on by itself.",
            )
        path = incoming / f"{self._run}-{secrets.token_hex(8)}.part"
        return _Arrival(path=path, target=files.write_new(path))

    def _incoming(self) -> Path:
        """Where files arrive. The folder above is never made: where it is gone, its disk may be."""
        incoming = self._root / _INCOMING
        self._root.mkdir(exist_ok=True)
        incoming.mkdir(exist_ok=True)
        return incoming

    def _settle(self, arrival: _Arrival, stored: StoredFile) -> None:
        files.flush(arrival.target)
        arrival.target.close()
        self._put(arrival.path, self.path_of(stored.sha256))

    def _put(self, arrived: Path, final: Path) -> None:
        if not final.parent.is_dir():
            final.parent.mkdir(exist_ok=True)
            files.sync_directory(self._root)
        os.replace(arrived, final)
        files.sync_directory(final.parent)

    async def _in_thread(self, deed: Callable[[], _Result]) -> _Result:
        try:
            return await to_thread.run_sync(deed, limiter=self._threads)
        except OSError as failure:
            raise StorageError(
                f"The artifact folder {self._root} cannot be used: {failure.strerror or failure}.",
                hint="Check that the disk has room and that the folder is writable.",
            ) from failure


def _looked_at(arrival: _Arrival, declared_length: int | None, name_hint: str) -> StoredFile:
    if declared_length is not None and arrival.size != declared_length:
        raise ArtifactError(f"The file has {arrival.size} bytes; {declared_length} were announced.")
    arrival.target.flush()
    return _inspected(arrival, name_hint)


def _inspected(arrival: _Arrival, name_hint: str) -> StoredFile:
    with open(arrival.path, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        seen = inspect(content, name_hint=name_hint)
    return StoredFile(
        sha256=arrival.digest.hexdigest(),
        size=arrival.size,
        media_type=seen.format.media_type,
        kind=seen.format.kind,
        extension=seen.format.extension,
        width=seen.width,
        height=seen.height,
    )


def _discard(arrival: _Arrival | None) -> None:
    if arrival is None:
        return
    try:
        arrival.target.close()
        arrival.path.unlink(missing_ok=True)
    except OSError as failure:
        logger.warning("A temporary file stayed behind until the next start: %s", failure)
