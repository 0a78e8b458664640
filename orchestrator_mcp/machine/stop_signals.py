"""SIGTERM and Ctrl-C: the first asks for a clean stop, a second one ends the process."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio

from orchestrator_mcp.clock import Clock, SystemClock

log = logging.getLogger(__name__)

CTRL_C_ECHO: Final = 1.0
"""Seconds in which Ctrl-C counts once: a terminal tells it to us and to our parent, which may pass it on."""


@asynccontextmanager
async def stop_signals(clock: Clock = SystemClock()) -> AsyncIterator[anyio.Event]:
    """An event that SIGTERM or Ctrl-C sets; a second one ends the process at once.

    Args:
        clock: measures how soon after the first the second came.
    """
    stopped = anyio.Event()
    with _signal_source() as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen_for_stop, signals, stopped, clock, name="signals")
            yield stopped
            tasks.cancel_scope.cancel()


async def _listen_for_stop(signals: AsyncIterator[int], stopped: anyio.Event, clock: Clock) -> None:
    first = 0.0
    async for number in signals:
        if not stopped.is_set():
            log.info("received %s", signal.Signals(number).name)
            first = clock.monotonic()
            stopped.set()
        elif number != signal.SIGINT or clock.monotonic() - first > CTRL_C_ECHO:
            os._exit(128 + number)  # what is stored is whole at every moment, and nothing else may hold it up


@contextmanager
def _signal_source() -> Iterator[AsyncIterator[int]]:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            yield signals
    except NotImplementedError:  # asyncio on Windows has no signal receiver
        with _plain_signals() as signals:
            yield signals


@contextmanager
def _plain_signals() -> Iterator[AsyncIterator[int]]:
    send, receive = anyio.create_memory_object_stream[int](8)
    token = anyio.lowlevel.current_token()

    def put(number: int, _frame: object) -> None:
        anyio.from_thread.run_sync(send.send_nowait, number, token=token)

    before = {number: signal.signal(number, put) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield receive
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
