"""Many sandbox servers in one process, for benchmarks: `python -m benchmarks.farm --count 20 --step-ms 100`.

Prints the ports as one line of JSON when all of them answer, and stops when its standard input ends: it never outlives
whoever started it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator_mcp.sandbox import SandboxOptions, same_for_all, serve_many


async def serve(count: int, options: SandboxOptions) -> None:
    """Serve until standard input ends.

    Args:
        count: how many servers.
        options: what each is like.
    """
    async with serve_many([0] * count, same_for_all(options)) as servers:
        sys.stdout.write(json.dumps([server.port for server in servers]) + "\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.farm", description=__doc__)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--step-ms", type=float, default=0.0)
    parser.add_argument("--oracle", type=Path)
    given = parser.parse_args()
    options = SandboxOptions(step_ms=given.step_ms, oracle=given.oracle)
    anyio.run(serve, given.count, options, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
