"""How the tests' programs run: until their work ends, or SIGTERM cancels it."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

TOLD_TO_STOP = 7


def run_until_signal(work: Callable[[], Awaitable[int]]) -> int:
    """Run it; its own exit code, or `TOLD_TO_STOP`."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    return anyio.run(_run, work)


async def _run(work: Callable[[], Awaitable[int]]) -> int:
    code = TOLD_TO_STOP
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            tasks.start_soon(_cancel_on_signal, signals, tasks.cancel_scope)
            sys.stderr.write("listening\n")
            sys.stderr.flush()
            code = await work()
            tasks.cancel_scope.cancel()
    return code


async def _cancel_on_signal(signals: AsyncIterator[int], scope: anyio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
