"""What runs, and in which order it starts and stops. `composition` builds the parts.

Start: data dir, port, store, recovery and dispatch, then the doors. Stop: the doors, then dispatch, then the store;
renders on the backends go on and are adopted at the next start. Heavy imports come after recovery.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.composition.choices import Choices, Orchestrator
from orchestrator_mcp.errors import DataDirInUseError, StartError
from orchestrator_mcp.machine.listening import take_port
from orchestrator_mcp.machine.presence import hold_data_dir
from orchestrator_mcp.machine.stop_signals import stop_signals
from orchestrator_mcp.settings import BackendSettings, Settings

if TYPE_CHECKING:
    from orchestrator_mcp.doors.mcp.bridge import Target

__all__ = ["Choices", "Orchestrator", "orchestrator", "serve", "serve_stdio"]

log = logging.getLogger(__name__)

SANDBOX_ID: Final = "sandbox"
SANDBOX_STEP_MS: Final = 40.0  # milliseconds of a sampler step: visible progress, quick pictures
SANDBOX_LOAD_MS: Final = 250.0


@asynccontextmanager
async def orchestrator(
    settings: Settings, choices: Choices | None = None, *, clock: Clock | None = None
) -> AsyncIterator[Orchestrator]:
    """Run everything for as long as the block lasts.

    Args:
        settings: the configuration.
        choices: see `Choices`.
        clock: the time; the machine's unless given.

    Raises:
        StartError: a port, a folder, the data dir or the database is not to be had.
    """
    await anyio.to_thread.run_sync(_load_core)  # whoever is greeted meanwhile is not kept waiting
    from orchestrator_mcp.composition.core import core

    choices = choices or Choices()
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        stack.enter_context(hold_data_dir(settings.data_dir))
        port = (settings.server.host, settings.server.port)
        listener = stack.enter_context(take_port(*port, or_any=choices.any_port))
        settings = settings.with_server(port=listener.getsockname()[1])
        _prepare_folders(settings)
        if not settings.backends:
            settings = settings.model_copy(update={"backends": (await stack.enter_async_context(_sandbox()),)})
        service = await stack.enter_async_context(core(settings, choices, clock))
        await anyio.to_thread.run_sync(_load_doors)
        from orchestrator_mcp.composition.doors import doors

        yield await stack.enter_async_context(doors(settings, choices, clock, service, listener))


async def serve(settings: Settings, choices: Choices | None = None, *, ready: Callable[[Orchestrator], None]) -> None:
    """Run until SIGTERM or Ctrl-C.

    Args:
        settings: the configuration.
        choices: see `Choices`.
        ready: called once, when every door is open.

    Raises:
        StartError: see `orchestrator`.
    """
    async with stop_signals() as stopped, orchestrator(settings, choices) as running:
        gc.collect()
        gc.freeze()  # what stands now stays: looking through it again and again would hold up a thousand listeners
        ready(running)
        await stopped.wait()
        log.info("stopping; renders on the backends go on")


async def serve_stdio(settings: Settings, choices: Choices) -> int:
    """MCP over stdin and stdout: join the orchestrator that runs on this configuration, else run everything here.

    When the one that was joined goes away, the next one is joined; when none comes, everything runs here. The client is
    greeted while that is being found out.

    Returns:
        The exit code.

    Raises:
        StartError: see `orchestrator`.
    """
    from orchestrator_mcp.doors.mcp.bridge import bridge_to_nearest

    patience = 0.0  # nobody is waited for at the start; one that goes away later may only be restarting

    @asynccontextmanager
    async def nearest() -> AsyncIterator[Target]:
        nonlocal patience
        async with _nearest(settings, choices, patience) as target:
            patience = choices.takeover_after
            yield target

    async with stop_signals() as stopped:
        return await bridge_to_nearest(nearest, stopped)


@asynccontextmanager
async def _nearest(settings: Settings, choices: Choices, patience: float) -> AsyncIterator[Target]:
    """The orchestrator that runs on this configuration; one of our own when there has been none for so many seconds."""
    from orchestrator_mcp.doors.mcp.bridge import Target
    from orchestrator_mcp.machine.presence import find_running, is_held

    clock, alone_since = SystemClock(), None
    async with AsyncExitStack() as stack:
        while (present := find_running(settings.data_dir)) is None:
            now = clock.monotonic()
            if is_held(settings.data_dir):
                alone_since = None  # the other one is just starting: its note is not written yet
            elif alone_since is None:
                alone_since = now
            if alone_since is not None and now - alone_since >= patience:
                with suppress(DataDirInUseError):
                    running = await stack.enter_async_context(orchestrator(settings, choices))
                    log.warning("no other orchestrator runs: this process has taken over, at %s", running.url)
                alone_since = None
            else:
                await clock.sleep(0.1)
        log.info("joined the orchestrator at %s", present.url)
        yield Target(url=present.url, token=present.token)


@asynccontextmanager
async def _sandbox() -> AsyncIterator[BackendSettings]:
    """The backend that is there when none is configured; spoken to over loopback like any other."""
    from orchestrator_mcp.sandbox import Sandbox, SandboxOptions

    options = SandboxOptions(step_ms=SANDBOX_STEP_MS, load_ms=SANDBOX_LOAD_MS, previews=True)
    async with Sandbox(options).serve() as server:
        log.warning("no backends are configured: the built-in sandbox renders slates instead of pictures")
        yield BackendSettings(
            id=SANDBOX_ID, name="Built-in sandbox", host="127.0.0.1", port=server.port, kind="sandbox"
        )


def _load_core() -> None:
    import orchestrator_mcp.composition.core
    import orchestrator_mcp.sandbox  # noqa: F401


def _load_doors() -> None:
    """Import the doors: a second of work that needs no event loop, and must not hold it up."""
    import orchestrator_mcp.composition.doors  # noqa: F401


def _prepare_folders(settings: Settings) -> None:
    """Make the folders that people are told to use.

    Raises:
        StartError: one cannot be made.
    """
    for key, folder in (("inbox_dir", settings.inbox_dir), ("outbox_dir", settings.outbox_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(
                f"The folder {folder} cannot be made: {error.strerror or error}.",
                hint=f"Check {key} in config.yaml and the permissions of the folder above.",
            ) from error
