"""A farm that is idle as a whole is given its work a part at a time."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.backends import foresight
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.scheduler.core import backend_for, core, render, rendered

BRISK = SandboxOptions(step_ms=5, load_ms=0)


async def test_every_job_is_rendered_once_when_a_decision_is_handed_out_in_many_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "PART", 1)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Sandbox(BRISK).serve()) for _ in range(4)]
        backends = [backend_for(server, f"g{number}") for number, server in enumerate(servers)]
        running = await stack.enter_async_context(core(tmp_path, backends))
        jobs = [await running.submit(render(steps=2, seed=number)) for number in range(12)]
        with anyio.fail_after(30):
            ended = [await running.end_of(job_id) for job_id in jobs]
        assert {job.status for job in ended} == {"completed"}
        assert rendered(*servers).total() == len(jobs)
