"""Workstations that render at night, and machines that somebody uses by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx
import pytest

from orchestrator_mcp.backends.sharing import Sharing
from orchestrator_mcp.domain.opening_hours import DAYS
from orchestrator_mcp.sandbox import SandboxServer
from tests.partners import SandboxFactory, sandboxes, text_to_image
from tests.scheduler.core import PICTURE, Core, backend_for, core, quick, render
from tests.world.house import CARD, ShiftedClock, backend, configured, house

__all__ = ["sandboxes"]


def another_day() -> str:
    """The day after tomorrow, as opening hours name it: not today, wherever midnight is near."""
    return DAYS[(datetime.now(UTC).weekday() + 2) % 7].capitalize()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(20):
        while not await condition():  # noqa: ASYNC110 - only asking tells
            await anyio.sleep(0.02)


async def test_a_closed_backend_gets_nothing_and_its_job_says_until_when(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    day = another_day()
    night = f"available: {day} 19:00-08:00"
    clock = ShiftedClock()
    async with house(tmp_path, configured(backend("one", await sandboxes(), night)), clock) as at:
        view = (await at.backends())["one"]
        assert (view["status"], view["available"]) == ("paused", f"{day} 19:00-08:00")
        assert f"until {day[:3]} 19:00" in view["reason"]
        job = await at.submit(CARD)
        told = await at.job(job)
        assert told["status"] == "queued"
        assert "outside of its opening hours" in told["waiting_because"][0]["reason"]
        opens = datetime.fromisoformat(view["opens_at"].replace("Z", "+00:00"))
        clock.shift = opens - datetime.now(UTC) + timedelta(minutes=1)
        assert (await at.ended(job))["status"] == "completed"
        assert (await at.backends())["one"]["opens_at"] is None


async def test_a_job_that_only_a_closed_backend_may_run_is_queued_not_refused(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    poor, closed = await sandboxes(without=("KSampler",)), await sandboxes()
    farm = [backend_for(poor, "poor"), backend_for(closed, "closed", available=another_day())]
    async with core(tmp_path, farm) as running:
        await running.until_backend("poor", "idle")
        job = await running.service.job(await running.submit(text_to_image()))
        reasons = {why.backend_id: why.reason for why in job.waiting_because}
        assert job.status == "queued" and "opening hours" in reasons["closed"]


async def test_what_stands_by_goes_elsewhere_when_a_backend_closes(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    slow = await sandboxes(step_ms=30)
    clock = ShiftedClock()
    hours = f"max_concurrent_jobs: 2, available: '{DAYS[datetime.now().astimezone().weekday()]}'"
    async with house(tmp_path, configured(backend("one", slow, hours)), clock) as at:
        first = await at.submit(render(steps=40))
        await until(lambda: _at(at.job, first, "rendering"))
        second = await at.submit(render(steps=1, seed=2))
        await until(lambda: _at(at.job, second, "waiting"))
        clock.shift = timedelta(days=1)
        assert (await at.ended(first))["status"] == "completed"
        told = await at.job(second)
        assert (told["status"], told["attempts"][0]["outcome"]) == ("queued", "revoked")
        assert "opening hours" in told["attempts"][0]["reason"]


async def _at(job: Callable[[str], Awaitable[dict[str, object]]], job_id: str, stage: str) -> bool:
    return (await job(job_id))["stage"] == stage


async def by_hand(server: SandboxServer, seed: int, steps: int = 1) -> None:
    """Queue a prompt as somebody does who sits before the machine."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        await client.post("/prompt", json={"prompt": render(steps=steps, seed=seed)})


async def seen(running: Core, foreign: int) -> None:
    async def shown() -> bool:
        return running.service.backend("one").foreign == foreign

    await until(shown)


async def test_somebody_who_uses_a_machine_by_hand_goes_first(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    server = await sandboxes(step_ms=20)
    farm = [backend_for(server, "one", max_concurrent_jobs=2)]
    async with core(tmp_path, farm, quick(foreign_patience=60.0)) as running:
        await running.until_backend("one", "idle")
        server.set_fault("freeze")
        await by_hand(server, 1)
        await by_hand(server, 2)
        await seen(running, 2)
        view = running.service.backend("one")
        assert view.status == "busy" and "somebody else uses it: 2 prompts of theirs" in (view.reason or "")
        job = await running.submit(PICTURE)
        waiting = await running.service.job(job)
        assert waiting.status == "queued" and "somebody else uses it" in waiting.waiting_because[0].reason
        server.clear_faults()
        assert (await running.end_of(job)).status == "completed"
        await seen(running, 0)


async def test_after_a_while_one_of_ours_stands_behind_theirs_and_no_more_than_one(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes(step_ms=20)
    farm = [backend_for(server, "one", max_concurrent_jobs=2)]
    async with core(tmp_path, farm, quick(foreign_patience=0.3)) as running:
        await running.until_backend("one", "idle")
        server.set_fault("freeze")
        await by_hand(server, 1)
        await seen(running, 1)
        first, second = await running.submit(PICTURE), await running.submit(render(steps=1))
        await running.until(first, "running", stage="waiting")
        told = await running.service.job(second)
        assert (told.status, told.waiting_because[0].reason) == ("queued", "it is busy with 1 of ours")
        assert running.service.backend("one").foreign == 1, "ours is not taken for theirs"
        server.clear_faults()
        assert (await running.end_of(second)).status == "completed"


async def test_behind_the_prompts_of_others_nobody_says_when_ours_will_be_done(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes(step_ms=20, load_ms=0)
    async with core(tmp_path, [backend_for(server, "one")], quick(foreign_patience=0.3)) as running:
        for seed in (100, 101):
            await running.end_of(await running.submit(render(steps=2, seed=seed)))
        server.set_fault("freeze")
        await by_hand(server, 1)
        await seen(running, 1)
        ours, next_one = [await running.submit(render(steps=2, seed=seed)) for seed in (2, 3)]
        await running.until(ours, "running", stage="waiting")
        told = [await running.service.job(job_id) for job_id in (ours, next_one)]
        assert [view.eta_seconds for view in told] == [None, None]
        server.clear_faults()
        assert (await running.end_of(next_one)).status == "completed"


async def test_before_the_prompts_of_others_it_is_said_when_ours_will_be_done(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes(step_ms=20, load_ms=0)
    async with core(tmp_path, [backend_for(server, "one")]) as running:
        for seed in (100, 101):
            await running.end_of(await running.submit(render(steps=2, seed=seed)))
        server.set_fault("freeze")
        ours = await running.submit(render(steps=2, seed=2))
        await running.until(ours, "running", stage="rendering")
        await by_hand(server, 1)
        await seen(running, 1)
        assert (await running.service.job(ours)).eta_seconds is not None
        server.clear_faults()
        assert (await running.end_of(ours)).status == "completed"


async def test_our_own_jobs_are_never_taken_for_somebody_elses(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    server = await sandboxes()
    farm = [backend_for(server, "one", max_concurrent_jobs=2)]
    async with core(tmp_path, farm, quick(foreign_patience=3600.0, probe_interval=0.01)) as running:
        jobs = [await running.submit(render(steps=2, seed=seed)) for seed in range(12)]
        for job in jobs:
            assert (await running.end_of(job)).status == "completed"


async def test_what_an_earlier_process_of_ours_left_running_is_not_taken_for_somebody_elses(
    sandboxes: SandboxFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = await sandboxes()
    farm = [backend_for(server, "one", max_concurrent_jobs=2)]
    times = quick(foreign_patience=3600.0, probe_interval=0.01)
    server.set_fault("freeze")
    async with core(tmp_path, farm, times) as running:
        left = await running.submit(render(steps=2))
        await running.until(left, "running", stage="rendering")
    caplog.set_level("INFO")
    async with core(tmp_path, farm, times) as running:
        standby = await running.submit(render(steps=1, seed=2))
        await running.until(standby, "running", stage="waiting")
        server.clear_faults()
        assert (await running.end_of(left)).status == (await running.end_of(standby)).status == "completed"
    assert "somebody else" not in caplog.text


@pytest.mark.parametrize("patience", [0.0, 10.0])
def test_their_turn_begins_when_they_come_and_again_after_each_of_ours(patience: float) -> None:
    sharing = Sharing()
    assert sharing.words(0.0, patience) is None
    assert sharing.seen(3, 100.0) and not sharing.seen(2, 105.0)
    assert sharing.wait(105.0, patience) == max(0.0, patience - 5.0)
    assert sharing.words(110.0, patience) is None
    sharing.had_a_turn(120.0)
    assert (sharing.words(121.0, patience) is None) == (patience == 0.0)
    assert sharing.seen(0, 122.0) and sharing.words(122.0, patience) is None
