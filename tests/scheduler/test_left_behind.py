"""Prompts that were given up while their backend was out of reach: stopped when it is back, by the next process too."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.sandbox import FaultProxy, Sandbox, SandboxOptions, SandboxServer
from tests.scheduler.core import backend_for, core, post_foreign, quick, render, rendered

FAST = SandboxOptions(step_ms=1, load_ms=0)
SLOW = SandboxOptions(step_ms=60, load_ms=0)
TIMES = quick(lost_after=0.4, probe_timeout=0.2, connect_timeout=0.2)


async def gone(server: SandboxServer, job_id: str) -> None:
    """Wait until a server holds nothing of a job."""

    def holds(seen: SandboxServer) -> bool:
        prompts = [*seen.queue.pending, *([seen.queue.running] if seen.queue.running else [])]
        return any(prompt.extra.get("orchestrator", {}).get("job_id") == job_id for prompt in prompts)

    with anyio.fail_after(20):
        await server.until(lambda seen: not holds(seen))


@pytest.mark.parametrize("stage", ["rendering", "waiting"])
async def test_a_prompt_that_an_earlier_process_lost_is_stopped_before_it_renders_beside_its_repeat(
    tmp_path: Path, stage: str
) -> None:
    async with (
        Sandbox(SLOW).serve() as cut,
        Sandbox(FAST).serve() as well,
        FaultProxy((cut.host, cut.port)).serve() as proxy,
    ):
        foreign = None
        if stage == "waiting":
            cut.set_fault("freeze")
            foreign = await post_foreign(cut)
        both = [backend_for(proxy, "cut"), backend_for(well, "well", enabled=False)]
        async with core(tmp_path, both, TIMES) as running:
            job_id = await running.submit(render(steps=500))
            await running.until(job_id, "running", stage=stage)
            proxy.set_fault("tcp-blackhole")
            lost = await running.until_so(job_id, lambda job: job.attempts[0].outcome is not None)
            assert lost.attempts[0].outcome == "lost"
        async with core(tmp_path, [backend_for(proxy, "cut"), backend_for(well, "well")], TIMES) as running:
            job = await running.end_of(job_id)
            assert (job.status, job.backend_id) == ("completed", "well")
            proxy.clear_faults()
            await gone(cut, job_id)
        assert rendered(cut) == {}
        if foreign is not None:
            cut.clear_faults()
            with anyio.fail_after(20):
                await cut.until_ended(foreign)
    assert rendered(well)[job_id] == 1


async def test_a_render_that_was_cancelled_out_of_reach_is_stopped_when_its_backend_is_back(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as cut, FaultProxy((cut.host, cut.port)).serve() as proxy:
        async with core(tmp_path, [backend_for(proxy, "cut")], TIMES) as running:
            job_id = await running.submit(render(steps=500))
            await running.until(job_id, "running", stage="rendering")
            proxy.set_fault("tcp-blackhole")
            await running.service.cancel(job_id)
            assert (await running.end_of(job_id)).status == "cancelled"
            proxy.clear_faults()
            await gone(cut, job_id)
        assert [line["outcome"] for line in cut.oracle.lines if line["event"] == "ended"] == ["interrupted"]
