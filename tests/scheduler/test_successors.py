"""In the last moments of a render the next job is claimed, waits here, and is sent when the slot is free."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.domain.access import Caller, Scope
from orchestrator_mcp.domain.wishes import Action
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, SandboxServer
from orchestrator_mcp.settings import SchedulingSettings
from tests.scheduler.core import PICTURE, QUICK, Core, backend_for, core, post_foreign, quick, render, rendered

SLOW = SandboxOptions(step_ms=25, load_ms=0)
STEPS = 10
ALICE = Caller(name="alice", scope=Scope.ADMIN)


async def learned(running: Core, **fields: Any) -> None:
    """Have the orchestrator learn what such a render takes."""
    for seed in (1, 2, 3):
        await running.end_of(await running.submit(render(STEPS, seed=seed), **fields))


async def rendering_for_long(running: Core, server: SandboxServer, **fields: Any) -> str:
    """A render that goes on beyond its expected end, until the fault is cleared."""
    server.set_fault("freeze")
    job_id = await running.submit(render(STEPS, seed=10), **fields)
    await running.until(job_id, "running", stage="rendering")
    return job_id


@asynccontextmanager
async def one_that_waits(
    folder: Path, times: SchedulingSettings = QUICK
) -> AsyncIterator[tuple[Core, SandboxServer, str, str]]:
    """A render whose end is near and does not come, and its successor: the core, the server, and their jobs."""
    async with Sandbox(SLOW).serve() as server, core(folder, [backend_for(server, "one")], times) as running:
        await learned(running)
        first = await rendering_for_long(running, server)
        second = await running.submit(render(STEPS, seed=11))
        await running.until(second, "running", stage="dispatching")
        yield running, server, first, second
        server.clear_faults()


def arrived(server: SandboxServer) -> list[str]:
    """The jobs whose prompts came, in their order."""
    return [line["marker"]["orchestrator"]["job_id"] for line in server.oracle.lines if line["event"] == "accepted"]


async def test_a_successor_arrives_only_after_the_end_of_the_render_before_it(tmp_path: Path) -> None:
    async with one_that_waits(tmp_path) as (running, server, first, second):
        assert arrived(server)[-1] == first
        assert server.queue.remaining() == 1
        server.clear_faults()
        ends = [await running.end_of(job_id) for job_id in (first, second)]
        assert [(job.status, len(job.attempts)) for job in ends] == [("completed", 1), ("completed", 1)]
        assert arrived(server)[-2:] == [first, second]
        assert set(rendered(server).values()) == {1}


async def test_what_waits_behind_a_successor_is_told_when_it_will_be_done(tmp_path: Path) -> None:
    async with one_that_waits(tmp_path) as (running, _, _, second):
        third = await running.submit(render(STEPS, seed=12))
        with anyio.fail_after(20):
            while (told := await running.service.job(third)).eta_seconds is None:  # it may be half a second old
                assert (await running.service.job(second)).stage == "dispatching", "nothing was said all the while"
                await anyio.sleep(0.05)
        assert told.status == "queued"


async def test_a_successor_takes_no_slot_and_has_not_started_before_the_render_before_it_has_ended(
    tmp_path: Path,
) -> None:
    async with one_that_waits(tmp_path) as (running, server, first, second):
        waiting, [backend] = await running.service.job(second), running.service.backends()
        assert (waiting.status, waiting.started_at) == ("running", None)
        assert (backend.running, backend.slots) == (1, 1)
        cleared = datetime.now(UTC)
        server.clear_faults()
        ended = await running.end_of(second)
        assert ended.started_at is not None
        assert cleared < ended.attempts[0].started_at <= ended.started_at


async def test_what_waits_here_is_cancelled_like_a_job_that_was_never_sent(tmp_path: Path) -> None:
    async with one_that_waits(tmp_path) as (running, server, first, second):
        await running.service.cancel(second)
        ended = await running.end_of(second)
        assert (ended.status, ended.attempts[0].reason) == ("cancelled", "cancelled before it was sent")
        server.clear_faults()
        assert (await running.end_of(first)).status == "completed"
        assert second not in arrived(server)


@pytest.mark.parametrize("action", [Action.DRAIN, Action.PAUSE])
async def test_a_backend_that_is_to_get_nothing_new_gives_its_successor_back(tmp_path: Path, action: Action) -> None:
    async with one_that_waits(tmp_path) as (running, server, first, second):
        view = await running.service.operators.act("one", action, by=ALICE)
        told = await running.until(second, "queued")
        assert (told.attempts[0].outcome, told.attempts[0].reason) == ("revoked", f"taken back: {view.reason}")
        server.clear_faults()
        assert (await running.end_of(first)).status == "completed"
        assert second not in arrived(server)
        await running.service.operators.act("one", Action.RESUME, by=ALICE)
        assert (await running.end_of(second)).status == "completed"


async def test_a_backend_that_falls_gives_its_successor_back(tmp_path: Path) -> None:
    async with one_that_waits(tmp_path) as (running, server, first, second):
        await server.stop()
        told = await running.until(second, "queued")
        assert "offline" in (told.attempts[0].reason or "")
        server.clear_faults()
        await server.start()
        for job_id in (first, second):
            assert (await running.end_of(job_id)).status == "completed"
        assert {rendered(server)[job_id] for job_id in (first, second)} == {1}


async def test_a_successor_goes_back_when_the_render_takes_longer_than_was_thought(tmp_path: Path) -> None:
    async with one_that_waits(tmp_path) as (running, server, first, second):
        told = await running.until(second, "queued")
        assert told.attempts[0].reason == "taken back: the render before it takes longer than was thought"
        assert (await running.service.job(first)).status == "running"
        server.clear_faults()
        ended = await running.end_of(second)
        assert [attempt.outcome for attempt in ended.attempts] == ["revoked", "succeeded"]


async def test_a_successor_goes_to_another_backend_that_becomes_idle(tmp_path: Path) -> None:
    async with (
        Sandbox(SLOW).serve() as one,
        Sandbox(SLOW).serve() as other,
        core(tmp_path, [backend_for(one, "one"), backend_for(other, "other")]) as running,
    ):
        await learned(running, backend_affinity="one")
        other.set_fault("freeze")
        busy = await running.submit(render(4 * STEPS, seed=9), backend_affinity="other")
        await running.until(busy, "running", stage="rendering")
        long = await rendering_for_long(running, one, backend_affinity="one")
        moving = await running.submit(render(STEPS, seed=11))
        assert (await running.until(moving, "running", stage="dispatching")).backend_id == "one"
        other.clear_faults()
        ended = await running.end_of(moving)
        assert (ended.status, ended.backend_id) == ("completed", "other")
        assert [attempt.outcome for attempt in ended.attempts] == ["revoked", "succeeded"]
        one.clear_faults()
        assert (await running.end_of(long)).status == "completed"


async def test_nothing_is_claimed_ahead_that_an_idle_backend_can_take(tmp_path: Path) -> None:
    async with (
        Sandbox(SLOW).serve() as one,
        Sandbox(SLOW).serve() as other,
        core(tmp_path, [backend_for(one, "one"), backend_for(other, "other")]) as running,
    ):
        await learned(running, backend_affinity="one")
        long = await rendering_for_long(running, one, backend_affinity="one")
        ended = await running.end_of(await running.submit(render(STEPS, seed=11)))
        assert (ended.backend_id, len(ended.attempts)) == ("other", 1)
        one.clear_faults()
        await running.end_of(long)


async def test_a_successor_goes_back_when_somebody_else_s_prompt_is_seen(tmp_path: Path) -> None:
    times = quick(foreign_patience=60.0)
    async with one_that_waits(tmp_path, times) as (running, server, first, second):
        await post_foreign(server)
        told = await running.until(second, "queued")
        assert (told.attempts[0].reason or "").startswith("taken back: somebody else uses it")
        server.clear_faults()
        assert (await running.end_of(first)).status == "completed"
        assert (await running.end_of(second)).status == "completed"


async def test_nothing_is_claimed_ahead_while_nobody_knows_how_long_the_render_takes(tmp_path: Path) -> None:
    async with (
        Sandbox(SLOW).serve() as one,
        Sandbox(SLOW).serve() as other,
        core(tmp_path, [backend_for(one, "one"), backend_for(other, "other")]) as running,
    ):
        long = await rendering_for_long(running, one, backend_affinity="one")
        second = await running.submit(render(STEPS, seed=11), backend_affinity="one")
        beside = await running.submit(PICTURE, backend_affinity="other")
        assert (await running.end_of(beside)).status == "completed"
        assert (await running.service.job(second)).status == "queued"
        one.clear_faults()
        for job_id in (long, second):
            assert (await running.end_of(job_id)).status == "completed"


async def test_what_was_claimed_ahead_is_queued_again_when_the_orchestrator_stops(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            await learned(running)
            first = await rendering_for_long(running, server)
            second = await running.submit(render(STEPS, seed=11))
            await running.until(second, "running", stage="dispatching")
        server.clear_faults()
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            ended = await running.end_of(second)
            assert [attempt.outcome for attempt in ended.attempts] == ["revoked", "succeeded"]
            assert (await running.end_of(first)).status == "completed"
        assert set(rendered(server).values()) == {1}
