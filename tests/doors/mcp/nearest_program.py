"""A program for the tests to start: a bridge from stdio to whatever url its argument, a file, holds."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


async def bridge() -> int:
    return await bridge_to_nearest(nearest)


if __name__ == "__main__":
    sys.exit(run_until_signal(bridge))
