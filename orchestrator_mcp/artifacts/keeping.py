"""The artifact store: files by the sha256 of their content, whole or not there.

Layout: `<root>/ab/abcdef…`, and `<root>/.incoming/` for what is still on its way. Names of backends and callers never
become paths here.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from orchestrator_mcp import files
from orchestrator_mcp.artifacts.arriving import Arrival, Check, Gathering, StoredFile, discard, in_thread
from orchestrator_mcp.errors import NotFoundError, StorageError

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

    @asynccontextmanager
    async def together(self) -> AsyncIterator[Gathering]:
        """Take in the files of one job: what was received in the block is kept when it ends well, and only then.

        Each file is flushed as it comes, and each folder once: that is what takes the time of small files.

        Raises:
            StorageError: on leaving, when they cannot be kept.
        """
        gathering = Gathering(self._threads, self._root, self._begin, self._limits.buffer_size)
        try:
            yield gathering
            await gathering.run(partial(self._keep, gathering.arrived))
        except BaseException:
            with CancelScope(shield=True):
                await to_thread.run_sync(partial(discard, gathering.arrived))
            raise

    async def receive(
        self,
        chunks: AsyncIterator[bytes],
        *,
        declared_length: int | None,
        name_hint: str,
        most: int,
        check: Check | None = None,
    ) -> StoredFile:
        """Take in one file and keep it; see `Gathering.receive`."""
        async with self.together() as files_of_one:
            return await files_of_one.receive(
                chunks, declared_length=declared_length, name_hint=name_hint, most=most, check=check
            )

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

    def _begin(self) -> Arrival:
        incoming = self._root / _INCOMING
        try:
            free = files.free_space(incoming)
        except FileNotFoundError:
            free = files.free_space(self._incoming())
        if free < self._limits.free_space:
            raise StorageError(
                f"Only {free >> 20} MB are free in {self._root}; outputs are not fetched.",
                hint="Free some space; the job goes on by itself.",
            )
        path = incoming / f"{self._run}-{secrets.token_hex(8)}.part"
        return Arrival(path=path, target=files.write_new(path))

    def _incoming(self) -> Path:
        """Where files arrive. The folder above is never made: where it is gone, its disk may be."""
        incoming = self._root / _INCOMING
        self._root.mkdir(exist_ok=True)
        incoming.mkdir(exist_ok=True)
        return incoming

    def _keep(self, arrived: Sequence[Arrival]) -> None:
        for arrival in arrived:
            os.utime(arrival.path)  # the file may have arrived long before the last one of its job: see `remove`
        folders = {self.path_of(arrival.sha256).parent for arrival in arrived}
        if fresh := [folder for folder in folders if not folder.is_dir()]:
            for folder in fresh:
                folder.mkdir(exist_ok=True)
            files.sync_directory(self._root)
        for arrival in arrived:
            os.replace(arrival.path, self.path_of(arrival.sha256))
        for folder in folders:
            files.sync_directory(folder)

    async def _in_thread(self, deed: Callable[[], _Result]) -> _Result:
        return await in_thread(deed, self._threads, self._root)
