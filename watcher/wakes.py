"""File events: they only make the next scan come earlier. Lost, doubled or dead, they cost time and nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from watchfiles import Change, awatch

from orchestrator_mcp.clock import Clock

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1  # seconds before a dead watcher is started again; doubled each time
_LONGEST_PAUSE: Final = 10.0
_GATHER: Final = 10  # milliseconds in which events become one
_STEP: Final = 5  # milliseconds


async def wake_on_events(folders: Sequence[Path], wake: Callable[[], None], clock: Clock) -> None:
    """Call `wake` whenever something appears or changes in one of some folders; runs until cancelled.

    One odd file name ends the watcher under it (a name that is not UTF-8 does), and so does a folder that goes away:
    it is started again, after a pause that grows, and shrinks once events come again.
    """
    pause = _FIRST_PAUSE

    def woken() -> None:
        nonlocal pause
        pause = _FIRST_PAUSE
        wake()

    while True:
        try:
            await _watch(folders, woken)
        except Exception:
            # The supervision boundary around the watcher: scans go on without it.
            logger.warning("File events for %s stopped; scans go on, events in %.1f s.", folders[0], pause)
            logger.debug("Why file events stopped:", exc_info=True)
        wake()
        await clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _watch(folders: Sequence[Path], wake: Callable[[], None]) -> None:
    stop = anyio.Event()
    there = [folders[0], *(folder for folder in folders[1:] if folder.is_dir())]

    async def stop_its_thread_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_its_thread_when_cancelled)
        changes = awatch(*there, watch_filter=_matters, debounce=_GATHER, step=_STEP, recursive=False, stop_event=stop)
        async for _ in changes:
            wake()
        tasks.cancel_scope.cancel()


def _matters(change: Change, path: str) -> bool:
    return change is not Change.deleted and not os.path.basename(path).startswith(".")
