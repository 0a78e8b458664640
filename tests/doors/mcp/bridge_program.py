"""A program for the tests to start: a bridge from stdio to the url that is its argument."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from orchestrator_mcp.doors.mcp.bridge import Target, bridge_to_nearest
from tests.doors.mcp.until_signal import run_until_signal


@asynccontextmanager
async def fixed() -> AsyncIterator[Target]:
    yield Target(url=sys.argv[1], token=None)


if __name__ == "__main__":
    sys.exit(run_until_signal(partial(bridge_to_nearest, fixed)))
