"""One life of the orchestrator's process: from its start to its end, however that comes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

REPOSITORY = Path(__file__).parents[2]
STARTS_WITHIN = 60.0  # seconds; imports take two on a quiet machine


@dataclass(kw_only=True, eq=False)
class Life:
    """A running process.

    Attributes:
        url: where its doors are; empty until they are open.
        open: set when they are.
        over: set when it has ended.
    """

    process: Process
    url: str = ""
    open: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)

    def kill(self) -> None:
        """SIGKILL, if it still lives."""
        if self.process.returncode is None:
            self.process.kill()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end; its exit code, negative when a signal ended it."""
        code = await self.process.wait()
        self.over.set()
        return code

    async def opened(self) -> bool:
        """Wait for its doors; False when it died before they were open."""
        with anyio.fail_after(STARTS_WITHIN):
            async with anyio.create_task_group() as tasks:

                async def first(event: anyio.Event) -> None:
                    await event.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(first, self.open)
                tasks.start_soon(first, self.over)
        return self.open.is_set()

    async def watch(self) -> None:
        """Read the address that it prints, then wait for its end."""
        assert self.process.stdout is not None
        said = ""
        async for text in TextReceiveStream(self.process.stdout):
            said += text
            if "\n" in said and not self.open.is_set():
                self.url = said.partition("\n")[0]
                self.open.set()
        await self.ended()


@asynccontextmanager
async def life(
    config: Path, *, crash_at: str | None = None, nth: int = 1, under: Sequence[str] = ()
) -> AsyncIterator[Life]:
    """Start the orchestrator; it is killed at the end of the block if it still lives.

    Args:
        config: its configuration file; what it writes to stderr is appended beside it.
        crash_at: the step at which it kills itself.
        nth: at which time.
        under: a program that runs it, and remains apart from it: the process must be the orchestrator's own.
    """
    command = [*under, sys.executable, "-m", "tests.chaos.orchestrator", "--config", str(config)]
    if crash_at is not None:
        command += ["--crash-at", crash_at, "--nth", str(nth)]
    with (config.parent / "stderr.txt").open("ab") as errors:
        process = await anyio.open_process(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=REPOSITORY
        )
    async with process:
        running = Life(process=process)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(running.watch, name="watch the orchestrator")
                yield running
                running.kill()
        finally:
            running.kill()
