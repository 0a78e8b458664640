"""The same server with a watch on its event loop: `LOOP_WATCH=FILE python -m benchmarks.watched`, options as `serve`.

A task takes a turn each millisecond. How long it waited for one, and how much of that the loop's thread was at work, is
written to the file at the end, for all that took longer than a few milliseconds.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

import anyio

from orchestrator_mcp import app
from orchestrator_mcp.server import main

TURN: Final = 0.001  # seconds
NOTED: Final = 0.005  # seconds without a turn that are worth a line

serve = app.serve


async def watched_serve(*arguments: Any, **options: Any) -> None:
    """Serve, and watch."""
    holds: list[tuple[float, float, float]] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, holds)
        await serve(*arguments, **options)
        tasks.cancel_scope.cancel()
    _write(holds)


def _write(holds: list[tuple[float, float, float]]) -> None:
    Path(os.environ["LOOP_WATCH"]).write_text(json.dumps(holds), encoding="utf-8")


async def _watch(holds: list[tuple[float, float, float]]) -> None:
    while True:
        began, worked = time.monotonic(), time.thread_time()
        await anyio.sleep(TURN)
        held = time.monotonic() - began - TURN
        if held > NOTED:
            holds.append((began, held, time.thread_time() - worked))


if __name__ == "__main__":
    vars(app)["serve"] = watched_serve
    main()
