"""A program for the tests to start: MCP over stdio, with everything in this process.

It prints to standard output on purpose, which must never reach the protocol.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from orchestrator_mcp.domain.views import BackendView
from orchestrator_mcp.doors.mcp.bridge import Target, bridge_to_nearest
from tests.doors.mcp.farm import ServiceDouble
from tests.doors.mcp.served import served
from tests.doors.mcp.until_signal import run_until_signal


class NoisyFarm(ServiceDouble):
    def backends(self) -> list[BackendView]:
        sys.stdout.write("noise of the program\n")
        sys.stdout.flush()
        child = "import sys; print('noise of a child that read', repr(sys.stdin.read()))"
        subprocess.run([sys.executable, "-c", child], check=True)
        return super().backends()


@asynccontextmanager
async def own() -> AsyncIterator[Target]:
    async with served(NoisyFarm()) as server:
        yield Target(url=server.url, token=None)


if __name__ == "__main__":
    sys.exit(run_until_signal(partial(bridge_to_nearest, own)))
