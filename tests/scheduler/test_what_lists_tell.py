"""Lists and batches say where jobs stand and when they will be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.scheduler.core import Core, backend_for, core, render
from tests.submissions import submission

STEADY = SandboxOptions(step_ms=200, load_ms=0)


async def places(running: Core) -> list[int]:
    """The place of each queued job, in order."""
    jobs = (await running.service.jobs(status=["queued"])).jobs
    return sorted(job.queue_position for job in jobs if job.queue_position is not None)


async def learn(running: Core) -> None:
    """Have the usual graph rendered cold, and then warm."""
    for seed in (100, 101):
        await running.end_of(await running.submit(render(steps=3, seed=seed)))


async def test_a_list_tells_place_and_time_of_each_queued_job_as_its_own_view_does(tmp_path: Path) -> None:
    async with Sandbox(STEADY).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        await learn(running)
        jobs = [await running.submit(render(steps=3, seed=seed)) for seed in range(2, 7)]
        await running.until(jobs[0], "running")
        listed = {job.job_id: job for job in (await running.service.jobs(status=["queued"])).jobs}
        alone = {job_id: await running.service.job(job_id) for job_id in listed}
        places = [listed[job_id].queue_position for job_id in jobs if job_id in listed]
        times = [listed[job_id].eta_seconds for job_id in jobs if job_id in listed]
    assert places[-4:] == list(range(1, 5))
    known = [seconds for seconds in times if seconds is not None]
    assert len(known) == len(times) and known == sorted(known)
    assert all(alone[job_id].queue_position in (None, listed[job_id].queue_position) for job_id in jobs[3:])


async def test_the_place_of_a_job_counts_what_others_have_queued(tmp_path: Path) -> None:
    async with Sandbox(STEADY).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        busy = await running.submit(render(steps=9, seed=1))
        await running.until(busy, "running")
        for source in ("alice", "bob"):
            for seed in (2, 3):
                await running.submit(render(seed=seed), metadata={"source": source})
        urgent = await running.submit(render(seed=4), priority=9)
        with anyio.fail_after(10):
            while await places(running) != [1, 2, 3, 4, 5]:  # noqa: ASYNC110 - it may be half a second old
                await anyio.sleep(0.05)
        assert (await running.service.job(urgent)).queue_position == 1


async def test_a_batch_tells_when_its_last_job_will_be_done_and_whether_that_is_late(tmp_path: Path) -> None:
    async with Sandbox(STEADY).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        service = running.service
        fields: dict[str, Any] = {"workflow": render(steps=3), "batch": {"seed": [2, 3, 4, 5]}}
        unknown = await service.batches.submit(submission(**fields))
        assert (await service.batches.batch(unknown.batch_id)).eta_seconds is None, "nobody knows what it takes yet"
        await service.batches.cancel(unknown.batch_id)
        await learn(running)

        late = {**fields, "batch": {"seed": [6, 7, 8, 9]}, "deadline": "2020-01-01T00:00:00Z"}
        accepted = await service.batches.submit(submission(**late))
        jobs = list(accepted.job_ids)
        await running.until(jobs[0], "running")
        view = await service.batches.batch(accepted.batch_id)
        last = await service.job(jobs[-1])
        listed = (await service.batches.batches(limit=1)).batches[0]
    assert view.eta_seconds is not None and last.eta_seconds is not None
    assert abs(view.eta_seconds - last.eta_seconds) < 1
    assert listed.eta_seconds is not None
    assert view.late is True
