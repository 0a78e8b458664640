"""Between us and a backend stands a network that delays, cuts, resets and swallows."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.sandbox import FaultProxy, Sandbox, SandboxOptions, SandboxServer
from tests.scheduler.core import PICTURE, backend_for, core, post_foreign, quick, render, rendered

FAST = SandboxOptions(step_ms=1, load_ms=0)
SLOW = SandboxOptions(step_ms=60, load_ms=0)


def accepted(server: SandboxServer, job_id: str) -> int:
    """How often a server took a prompt of a job."""
    lines = [line for line in server.oracle.lines if line["event"] == "accepted"]
    return sum(line["marker"].get("orchestrator", {}).get("job_id") == job_id for line in lines)


@pytest.mark.parametrize(
    "fault", ["tcp-latency:40", "tcp-reset:4000", "tcp-cut:3000", "tcp-garbage", "tcp-blackhole", "tcp-reset"]
)
async def test_a_render_outlives_a_network_that_fails_for_a_while_and_is_not_repeated(
    tmp_path: Path, fault: str
) -> None:
    async with Sandbox(SLOW).serve() as server, FaultProxy((server.host, server.port)).serve() as proxy:
        times = quick(lost_after=60, probe_timeout=0.3)
        async with core(tmp_path, [backend_for(proxy, "one")], times) as running:
            job_id = await running.submit(render(steps=8))
            await running.until(job_id, "running", stage="rendering")
            proxy.set_fault(fault)
            await server.until(lambda seen: seen.queue.remaining() == 0)
            proxy.clear_faults()
            job = await running.end_of(job_id)
        assert (job.status, len(job.attempts)) == ("completed", 1)
    assert rendered(server)[job_id] == 1


async def test_a_prompt_that_is_still_in_flight_is_waited_for_and_not_sent_twice(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, FaultProxy((server.host, server.port)).serve() as proxy:
        times = quick(post_timeout=0.3, quarantine=10.0)
        async with core(tmp_path, [backend_for(proxy, "one")], times) as running:
            proxy.set_fault("tcp-post-delay:1200")
            job = await running.end_of(await running.submit(PICTURE))
            after = await running.end_of(await running.submit(PICTURE))  # what was sent again would come before it
        assert (job.status, len(job.attempts)) == (after.status, len(after.attempts)) == ("completed", 1)
        assert [line["event"] for line in server.oracle.lines] == ["accepted", "ended"] * 2


async def test_an_event_stream_that_breaks_is_no_proof_that_a_prompt_in_flight_is_lost(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, FaultProxy((server.host, server.port)).serve() as proxy:
        times = quick(post_timeout=0.3, quarantine=10.0)
        async with core(tmp_path, [backend_for(proxy, "one")], times) as running:
            with anyio.fail_after(running.patience):
                while not server.hub.clients:  # noqa: ASYNC110 - the hub has no events
                    await anyio.sleep(0.01)
            proxy.set_fault("tcp-post-delay:2000")
            job_id = await running.submit(PICTURE)
            await running.until(job_id, "running", stage="dispatching")
            server.set_fault("ws-drop:0")
            await post_foreign(server)
            with anyio.fail_after(running.patience):
                while server.hub.clients:  # noqa: ASYNC110 - the hub has no events
                    await anyio.sleep(0.01)
            server.clear_faults()
            job = await running.end_of(job_id)
        assert (job.status, [attempt.outcome for attempt in job.attempts]) == ("completed", ["succeeded"])
        assert accepted(server, job_id) == 1


async def test_a_prompt_that_arrives_twice_after_all_is_rendered_once(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, FaultProxy((server.host, server.port)).serve() as proxy:
        server.set_fault("freeze")
        times = quick(post_timeout=0.3, quarantine=0.0)
        async with core(tmp_path, [backend_for(proxy, "one", max_concurrent_jobs=2)], times) as running:
            first = await running.submit(render())
            await running.until(first, "running", stage="rendering")
            proxy.set_fault("tcp-post-delay:1200")
            twice = await running.submit(render(seed=2))
            with anyio.fail_after(running.patience):
                await server.until(lambda seen: accepted(seen, twice) == 2)
                await server.until(lambda seen: len(seen.queue.pending) == 1)
            server.clear_faults()
            assert {(await running.end_of(job_id)).status for job_id in (first, twice)} == {"completed"}
    assert rendered(server) == {first: 1, twice: 1}


async def test_a_job_lost_to_the_network_goes_elsewhere_and_its_old_render_is_stopped_when_that_is_back(
    tmp_path: Path,
) -> None:
    async with (
        Sandbox(SLOW).serve() as cut,
        Sandbox(FAST).serve() as well,
        FaultProxy((cut.host, cut.port)).serve() as proxy,
    ):
        times = quick(lost_after=0.5, probe_timeout=0.2)
        async with core(tmp_path, [backend_for(proxy, "cut"), backend_for(well, "well")], times) as running:
            busy = await running.submit(render(steps=500, seed=9), backend_affinity="cut")
            await running.until(busy, "running", stage="rendering")
            proxy.set_fault("tcp-blackhole")
            lost = await running.until_so(busy, lambda job: job.attempts[0].outcome is not None)
            assert lost.attempts[0].outcome == "lost"
            assert "could not be reached" in (lost.attempts[0].reason or "")
            other = await running.end_of(await running.submit(render(seed=2)))
            assert other.backend_id == "well"
            await running.service.cancel(busy)
            proxy.clear_faults()
            await cut.until(lambda seen: seen.queue.remaining() == 0)
            assert [line["outcome"] for line in cut.oracle.lines if line["event"] == "ended"] == ["interrupted"]


@pytest.mark.parametrize("fault", ["truncated-view", "wrong-length-view", "view-404", "html-view"])
async def test_files_that_never_come_whole_end_the_job_with_a_clear_error(tmp_path: Path, fault: str) -> None:
    async with Sandbox(FAST).serve() as server:
        server.set_fault(fault)
        async with core(tmp_path, [backend_for(server, "one")], quick(lost_after=0.5, max_attempts=1)) as running:
            job = await running.end_of(await running.submit(PICTURE))
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code in ("output_invalid", "poison_suspected")
        assert job.outputs == []


async def test_a_download_that_is_cut_once_is_fetched_again(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        server.set_fault("wrong-length-view")
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            job_id = await running.submit(PICTURE)
            await running.until(job_id, "running", stage="collecting")
            server.clear_faults()
            job = await running.end_of(job_id)
        assert (job.status, len(job.attempts)) == ("completed", 1)
