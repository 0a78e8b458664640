"""Many sandbox servers in one process, for benchmarks: `python -m benchmarks.farm --count 20 --step-ms 100`.

Prints the ports as one line of JSON when all of them answer, and stops when its standard input ends: it never outlives
whoever started it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator_mcp.sandbox import SandboxOptions, serve_many


async def serve(count: int, options: SandboxOptions, spread: float) -> None:
    """Serve until standard input ends.

    Args:
        count: how many servers.
        options: what each is like.
        spread: how far the steps of the slowest and the fastest are apart, as a share of the mean; with none, servers
            that begin together end together, which no farm does.
    """

    def options_for(place: int) -> SandboxOptions:
        pace = 1 + spread * (place / (count - 1) - 0.5) if count > 1 else 1.0
        return replace(options, step_ms=options.step_ms * pace)

    async with serve_many([0] * count, options_for) as servers:
        sys.stdout.write(json.dumps([server.port for server in servers]) + "\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.farm", description=__doc__)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--step-ms", type=float, default=0.0)
    parser.add_argument("--spread", type=float, default=0.0, help="of the steps, from 0 to 1")
    parser.add_argument("--oracle", type=Path)
    given = parser.parse_args()
    options = SandboxOptions(step_ms=given.step_ms, oracle=given.oracle)
    anyio.run(serve, given.count, options, given.spread, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
