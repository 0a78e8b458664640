"""A queue of ten thousand jobs; `python -m benchmarks.depth` measures what a deeper one costs."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from benchmarks.depth import fill
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.scheduler.core import PICTURE, backend_for, core

DEEP = 10_000


@pytest.mark.slow
async def test_a_start_on_ten_thousand_queued_jobs_accepts_and_renders_what_is_urgent_first(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with anyio.fail_after(60):
        await fill(data / "orchestrator.db", DEEP, ended=100)
    async with (
        Sandbox(SandboxOptions(step_ms=1, load_ms=0)).serve() as server,
        core(tmp_path, [backend_for(server, "one")]) as running,
    ):
        urgent = await running.submit(PICTURE, priority=100)
        assert (await running.end_of(urgent)).status == "completed"
        ended = [line for line in server.oracle.lines if line["event"] == "ended"]
        assert 0 < len(ended) < DEEP / 10
        assert (await running.service.health()).jobs_queued > DEEP / 2
