"""A program for the tests to start: a bridge from stdio to the url that is its argument."""

from __future__ import annotations

import sys

from orchestrator_mcp.doors.mcp.bridge import bridge_stdio
from tests.doors.mcp.until_signal import run_until_signal


async def bridge() -> int:
    return await bridge_stdio(sys.argv[1], token=None)


if __name__ == "__main__":
    sys.exit(run_until_signal(bridge))
