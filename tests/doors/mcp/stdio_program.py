"""A program for the tests to start: MCP over stdio (`serve`), or a bridge to a url (`bridge URL`).

It prints to standard output on purpose, which must never reach the protocol.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys

import anyio

from orchestrator_mcp.domain.views import BackendView
from orchestrator_mcp.doors.mcp.bridge import bridge_stdio
from orchestrator_mcp.doors.mcp.stdio import serve_stdio
from orchestrator_mcp.doors.mcp.tools import build_server
from tests.doors.mcp.farm import ServiceDouble


class NoisyFarm(ServiceDouble):
    def backends(self) -> list[BackendView]:
        sys.stdout.write("noise of the program\n")
        sys.stdout.flush()
        child = "import sys; print('noise of a child that read', repr(sys.stdin.read()))"
        subprocess.run([sys.executable, "-c", child], check=True)
        return super().backends()


async def main(arguments: list[str]) -> int:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, scope)
            if arguments[0] == "bridge":
                code = await bridge_stdio(arguments[1], token=os.environ.get("TEST_TOKEN"))
            else:
                await serve_stdio(build_server(NoisyFarm(), version="1"))
                code = 0
            tasks.cancel_scope.cancel()
        return code
    return 7  # told by signal


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        sys.stderr.write("listening\n")
        sys.stderr.flush()
        async for _ in signals:
            scope.cancel()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    sys.exit(anyio.run(main, sys.argv[1:]))
