"""A program for the tests to start: MCP over stdio.

It prints to standard output on purpose, which must never reach the protocol.
"""

from __future__ import annotations

import subprocess
import sys

from orchestrator_mcp.domain.views import BackendView
from orchestrator_mcp.doors.mcp.stdio import serve_stdio
from orchestrator_mcp.doors.mcp.tools import build_server
from tests.doors.mcp.farm import ServiceDouble
from tests.doors.mcp.until_signal import run_until_signal


class NoisyFarm(ServiceDouble):
    def backends(self) -> list[BackendView]:
        sys.stdout.write("noise of the program\n")
        sys.stdout.flush()
        child = "import sys; print('noise of a child that read', repr(sys.stdin.read()))"
        subprocess.run([sys.executable, "-c", child], check=True)
        return super().backends()


async def serve() -> int:
    await serve_stdio(build_server(NoisyFarm(), version="1"))
    return 0


if __name__ == "__main__":
    sys.exit(run_until_signal(serve))
