"""How the tests' programs run: until their work ends, which SIGTERM asks for."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

TOLD_TO_STOP = 7

Work = Callable[[anyio.Event], Awaitable[int]]


def run_until_signal(work: Work) -> int:
    """Run it; its own exit code, or `TOLD_TO_STOP`."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    return anyio.run(_run, work)


async def _run(work: Work) -> int:
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            tasks.start_soon(_set_on_signal, signals, stopped)
            sys.stderr.write("listening\n")
            sys.stderr.flush()
            code = await work(stopped)
            tasks.cancel_scope.cancel()
    return TOLD_TO_STOP if stopped.is_set() else code


async def _set_on_signal(signals: AsyncIterator[int], stopped: anyio.Event) -> None:
    async for _ in signals:
        stopped.set()
