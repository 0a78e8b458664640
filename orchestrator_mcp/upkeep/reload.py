"""The configuration changes while the program runs: noticed, checked whole, applied in one step, or not at all.

The file itself is looked at, not its events: editors replace it, shares send none, and a stat costs nothing. It is
read when it has been the same for two looks. What is wrong with it, and what of it needs a restart, health tells until
it is mended.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.errors import OrchestratorError, StorageError
from orchestrator_mcp.files import Signature
from orchestrator_mcp.scheduler.recalling import recall
from orchestrator_mcp.settings import BackendSettings, CurrentSettings, Settings, difference, load_settings, merged
from orchestrator_mcp.store import JobStore

log = logging.getLogger(__name__)

INTERVAL: Final = 1.0  # seconds between two looks at the file
STORE_PAUSE: Final = 5.0  # seconds until a change that could not be stored is tried again
TERMINAL: Final = "/dev/tty"
KEPT: Final = "The changed configuration is not taken, and the one before still holds."


class Reload:
    """Keeps the settings that hold in step with config.yaml.

    Args:
        settings: those that hold; replaced by the pool.
        pool: takes the backends.
        store: gives leases on new ones.
        owner: in whose name.
        instance: this orchestrator, as its prompts name it.
        clock: the time.
        interval: seconds between two looks at the file.
    """

    def __init__(
        self,
        settings: CurrentSettings,
        *,
        pool: BackendPool,
        store: JobStore,
        owner: str,
        instance: str,
        clock: Clock,
        interval: float = INTERVAL,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._store = store
        self._owner = owner
        self._instance = instance
        self._clock = clock
        self._interval = interval
        self._file = settings.now.config_file
        self._fallback: tuple[BackendSettings, ...] = ()
        self._asked = anyio.Event()
        self._written: Settings | None = None
        self._error: str | None = None
        self._fixed: tuple[str, ...] = ()

    @property
    def trouble(self) -> str | None:
        """What is wrong with the file, and that it does not hold; None when nothing is."""
        return self._error

    @property
    def notice(self) -> str | None:
        """Which keys need a restart to take effect; None when there are none."""
        if not self._fixed:
            return None
        return f"The configuration was changed; a restart is needed for {', '.join(self._fixed)}."

    def ask(self) -> None:
        """Read the file again at once, changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Apply changes of the file until cancelled."""
        if self._file is None:
            return
        seen = read = await self._look(self._file)
        with suppress(OrchestratorError):
            self._written = await anyio.to_thread.run_sync(partial(load_settings, self._file, environ={}))
            self._fallback = () if self._written.backends else self._settings.now.backends
        while True:
            asked = await self._pause()
            present = await self._look(self._file)
            if asked or (present != read and present == seen):
                log.info("reading %s again", self._file)
                if not await self._read(self._file):
                    await self._clock.sleep(STORE_PAUSE)
                    continue
                read = present
            seen = present

    async def _pause(self) -> bool:
        """Wait for the next look; whether somebody asked for it."""
        with anyio.move_on_after(self._interval):
            await self._asked.wait()
        asked, self._asked = self._asked.is_set(), anyio.Event()
        return asked

    async def _look(self, file: Path) -> Signature | None:
        def look() -> Signature | None:
            try:
                return Signature.of(file.stat())
            except OSError:
                return None

        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    async def _read(self, file: Path) -> bool:
        """Read and apply the file; whether that is done with, well or badly."""
        try:
            wanted = await anyio.to_thread.run_sync(partial(load_settings, file, environ={}))
            await self._apply(wanted)
        except StorageError as error:
            self._fail(f"{KEPT} {file} cannot be applied now: {error}")
            return False
        except OrchestratorError as error:
            self._fail(f"{KEPT} {error}")
            return True
        except OSError as error:
            self._fail(f"{KEPT} {file} cannot be read: {error.strerror or error}.")
            return True
        self._error = None
        return True

    def _fail(self, message: str) -> None:
        if message != self._error:
            log.error("%s", message)
        self._error = message

    async def _apply(self, wanted: Settings) -> None:
        # compared with what the file said at the start: the command line may have put other values over it
        self._fixed = difference(self._written or self._settings.now, wanted).fixed
        target = merged(self._settings.now, self._with_fallback(wanted))
        changed = difference(self._settings.now, target).changed
        if changed:
            added = {backend.id for backend in target.backends} - {backend.id for backend in self._pool}
            epochs = await self._store.take_leases(self._owner, sorted(added)) if added else {}
            await self._pool.change(target, epochs)
            new = [backend for backend in self._pool if backend.id in added]
            await recall(self._store, new, instance=self._instance, clock=self._clock)
        log.info("the configuration holds: %s", ", ".join(changed) if changed else "nothing in it changed")
        for warning in (*wanted.warnings, *([self.notice] if self.notice else [])):
            log.warning("%s", warning)

    def _with_fallback(self, wanted: Settings) -> Settings:
        """The built-in sandbox stays for as long as nothing takes its place; it never comes back."""
        if wanted.backends:
            self._fallback = ()
            return wanted
        return wanted.model_copy(update={"backends": self._fallback})


async def reload_on_hangup(ask: Callable[[], None]) -> None:
    """Call `ask` on each SIGHUP. When the terminal itself went away, stop as on SIGTERM instead.

    Args:
        ask: reads the configuration again.
    """
    if not hasattr(signal, "SIGHUP"):
        return
    in_terminal = _has_terminal()
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            if in_terminal and not _has_terminal():
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                ask()


def _has_terminal() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError as failure:
        return failure.errno not in (errno.ENXIO, errno.ENOENT, errno.EIO)
    return True
