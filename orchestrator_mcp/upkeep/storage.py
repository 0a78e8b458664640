"""Looks after the disks: says why nothing may be taken in, before a full one breaks what is there.

It only looks (a stat, the free space, the permissions) and writes nothing, because people and programs watch these
folders. What a look cannot see, the store's own writes tell.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.files import free_space
from orchestrator_mcp.settings import Settings
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)

INTERVAL: Final = 2.0  # seconds between two looks at a folder
FIRST_LOOKS: Final = 2.0  # seconds that the start waits for them
HANGS_AFTER: Final = 20.0  # seconds without an answer of its file system


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder as it was at the start.

    Attributes:
        name: what people call it.
        folder: where it is.
        identity: device and inode that it must keep; None when a new folder of that name will do.
        mounted: whether a file system was mounted there.
    """

    name: str
    folder: Path
    identity: tuple[int, int] | None = None
    mounted: bool = False


@dataclass(kw_only=True)
class _Watch:
    place: Place
    asked_at: float | None = None
    trouble: str | None = None
    seen: anyio.Event = field(default_factory=anyio.Event)


class StorageWatch:
    """Looks at the folders that everything depends on, each in a task of its own: one that hangs stops no other.

    Args:
        settings: the folders, and how much room there must be.
        store: is tried again after a write that failed.
        clock: the time.
        interval: seconds between two looks.
    """

    def __init__(
        self, settings: Callable[[], Settings], store: JobStore, clock: Clock, *, interval: float = INTERVAL
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._interval = interval
        self._watches = [_Watch(place=place) for place in places(settings())]

    @property
    def trouble(self) -> str | None:
        """Why nothing can be taken in now; None when something can."""
        return next((said for watch in self._watches if (said := self._trouble_of(watch)) is not None), None)

    async def run(self) -> None:
        """Look, for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._try_store, name="storage: store")
            for watch in self._watches:
                tasks.start_soon(self._watch, watch, name=f"storage: {watch.place.name}")

    async def first_looks(self) -> None:
        """Wait a moment for each folder to be looked at."""
        with anyio.move_on_after(FIRST_LOOKS):
            for watch in self._watches:
                await watch.seen.wait()

    def _trouble_of(self, watch: _Watch) -> str | None:
        if watch.asked_at is not None:
            silent = self._clock.monotonic() - watch.asked_at
            if silent > HANGS_AFTER:
                return f"The {watch.place.name} {watch.place.folder} has not answered for {silent:.0f} s."
        return watch.trouble

    async def _watch(self, watch: _Watch) -> None:
        limiter = anyio.CapacityLimiter(1)
        while True:
            watch.asked_at = self._clock.monotonic()
            look = partial(trouble_with, watch.place, least=self._settings().limits.free_bytes)
            found = await to_thread.run_sync(look, limiter=limiter, abandon_on_cancel=True)
            watch.asked_at = None
            if _kind(found) != _kind(watch.trouble):
                log.log(
                    logging.WARNING if found else logging.INFO, "%s", found or f"{watch.place.folder} is well again."
                )
            watch.trouble = found
            watch.seen.set()
            await self._clock.sleep(self._interval)

    async def _try_store(self) -> None:
        """After a write that failed, find out when one goes well again: nobody else may write for a long time."""
        while True:
            await self._clock.sleep(self._interval)
            if self._store.trouble is None:
                continue
            try:
                await self._store.try_writing()
            except StorageError as error:
                log.debug("still nothing can be stored: %s", error)
            else:
                log.info("the database can be written again")


def places(settings: Settings) -> list[Place]:
    """The folders to look after, as they are now.

    A log folder that cannot be used from the start is left out: the log said so, and goes on without a file.

    Args:
        settings: names them.
    """
    status = settings.data_dir.stat()
    found = [Place(name="data dir", folder=settings.data_dir, identity=(status.st_dev, status.st_ino))]
    if os.path.isdir(settings.outbox_dir):
        found.append(Place(name="Outbox", folder=settings.outbox_dir, mounted=os.path.ismount(settings.outbox_dir)))
    if os.path.isdir(settings.log_dir) and os.access(settings.log_dir, os.W_OK | os.X_OK):
        found.append(Place(name="log dir", folder=settings.log_dir, mounted=os.path.ismount(settings.log_dir)))
    return found


def trouble_with(place: Place, *, least: int) -> str | None:
    """What keeps a folder from being written to now, in a sentence; None when nothing does.

    Args:
        place: the folder.
        least: bytes that must be free on its disk.
    """
    called = f"The {place.name} {place.folder}"
    try:
        status = place.folder.stat()
        if not stat.S_ISDIR(status.st_mode):
            return f"{called} is no folder any more. Put the folder back."
        if place.identity is not None and (status.st_dev, status.st_ino) != place.identity:
            return f"{called} was replaced by another folder. Put the former back, or start the orchestrator again."
        if place.mounted and not os.path.ismount(place.folder):
            return f"{called} is no longer mounted. Mount it again."
        if not os.access(place.folder, os.W_OK | os.X_OK):
            return f"{called} cannot be written: it, or its disk, is read-only. Mend the permissions or the disk."
        free = free_space(place.folder)
    except FileNotFoundError:
        return f"{called} is gone. Put it back where it was."
    except OSError as error:
        return f"{called} cannot be used: {error.strerror or error}."
    if free < least:
        return f"{called} has {_mb(free)} MB free; limits.free_bytes asks for {_mb(least)} MB. Free some space."
    return None


def _kind(trouble: str | None) -> str | None:
    """A sentence without its figures, which change all the time."""
    return re.sub(r"[\d,.]+ MB", "MB", trouble) if trouble else None


def _mb(count: int) -> str:
    return f"{count / 10**6:,.3g}" if count < 10**9 else f"{count / 10**6:,.0f}"
