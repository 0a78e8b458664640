"""A program for the tests to start: a bridge from stdio to whatever url its argument, a file, holds."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio

from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.doors.mcp.bridge import Target, bridge_to_nearest
from tests.doors.mcp.until_signal import run_until_signal


@asynccontextmanager
async def nearest() -> AsyncIterator[Target]:
    place = anyio.Path(sys.argv[1])
    while not (url := await place.read_text(encoding="ascii")):
        await SystemClock().sleep(0.05)
    yield Target(url=url, token=None)


if __name__ == "__main__":
    sys.exit(run_until_signal(partial(bridge_to_nearest, nearest)))
