"""The calendar jumps; nothing that is measured does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.partners import SandboxFactory, text_to_image
from tests.world.house import ShiftedClock, backend, configured, house, until


@pytest.mark.parametrize("hours", [2, -2, 24 * 400, -24 * 400])
async def test_a_jump_of_the_calendar_disturbs_no_job(tmp_path: Path, sandboxes: SandboxFactory, hours: int) -> None:
    server, clock = await sandboxes(step_ms=100.0), ShiftedClock()
    async with house(tmp_path, configured(backend("one", server)), clock=clock) as at:
        running = await at.submit(text_to_image(steps=10))

        async def rendering() -> bool:
            return bool((await at.job(running))["stage"] == "rendering")

        await until(rendering)
        queued = await at.submit()
        clock.shift = timedelta(hours=hours)
        dropped = at.drop("after.json")
        later = await at.submit()
        for job_id in (running, queued, later):
            job = await at.ended(job_id)
            assert (job["status"], len(job["attempts"])) == ("completed", 1)

        async def processed() -> bool:
            return (at.settings.inbox_dir / "processed" / dropped.name).is_file()

        await until(processed)
        health = await at.health()
        assert (health["status"], health["problems"]) == ("ok", [])
        assert 0 <= health["uptime_seconds"] < 60
        listed = [job["job_id"] for job in (await at.api.get("/api/jobs")).json()["jobs"]]
        assert [job_id for job_id in listed if job_id in (running, queued, later)] == [later, queued, running]


async def test_a_job_that_waits_for_its_retry_when_the_calendar_is_set_back_does_not_wait_longer(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    server, clock = await sandboxes(step_ms=50.0, faults=("freeze",)), ShiftedClock()
    patience = "scheduling: {stall_timeout: 1s, retry_delay: 1h, retry_delay_max: 1h, probe_interval: 50ms}\n"
    async with house(tmp_path, configured(backend("one", server), more=patience), clock=clock) as at:
        job_id = await at.submit(text_to_image(steps=4))

        async def waiting() -> bool:
            return any("tried again in" in why["reason"] for why in (await at.job(job_id))["waiting_because"])

        await until(waiting, 40)
        clock.shift = timedelta(hours=-2)

        async def tried_again() -> bool:
            return len((await at.job(job_id))["attempts"]) == 2

        await until(tried_again)
