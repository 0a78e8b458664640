"""The WebSocket broke while a job rendered: its events go to the old one, and silence means less than before."""

from __future__ import annotations

import re
from pathlib import Path

import anyio

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, SandboxServer
from tests.scheduler.core import backend_for, core, quick, render, rendered

SLOW = SandboxOptions(step_ms=100, load_ms=0)


async def lose_socket(server: SandboxServer) -> None:
    """Close the WebSocket that stands; those that come after it stay."""
    (lost,) = server.hub.clients
    server.set_fault("ws-drop:0")
    with anyio.fail_after(20):
        while lost in server.hub.clients:  # noqa: ASYNC110 - the server tells nobody of it
            await anyio.sleep(0.01)
    server.clear_faults("ws-drop")


async def test_a_render_whose_events_go_to_a_lost_websocket_is_not_taken_for_stalled(tmp_path: Path) -> None:
    async with (
        Sandbox(SLOW).serve() as server,
        core(tmp_path, [backend_for(server, "one")], quick(stall_timeout=0.8)) as running,
    ):
        job_id = await running.submit(render(steps=22))
        await running.until(job_id, "running", stage="rendering")
        await lose_socket(server)
        job = await running.end_of(job_id)
        assert (job.status, [attempt.outcome for attempt in job.attempts]) == ("completed", ["succeeded"])
        heard = await running.submit(render(seed=2, steps=3))
        async with running.service.watch(heard) as events:
            assert "progress" in {event.type async for event in events}
    assert set(rendered(server).values()) == {1}


async def test_a_frozen_render_whose_websocket_was_lost_is_given_up_too_only_later(tmp_path: Path) -> None:
    async with (
        Sandbox(SLOW).serve() as server,
        core(tmp_path, [backend_for(server, "one")], quick(stall_timeout=0.5, max_attempts=1)) as running,
    ):
        job_id = await running.submit(render(steps=5))
        await running.until(job_id, "running", stage="rendering")
        await lose_socket(server)
        server.set_fault("freeze")
        job = await running.end_of(job_id)
        assert (job.status, [attempt.outcome for attempt in job.attempts]) == ("failed", ["timed_out"])
        waited = re.search(r"for (\d+) s", job.attempts[0].reason or "")
        assert waited is not None and int(waited[1]) >= 2  # four times the patience with a render that is heard
