"""What must begin now goes first, and views tell of deadlines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.scheduler.core import backend_for, core, render
from tests.submissions import submission

STEADY = SandboxOptions(step_ms=30, load_ms=0)


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


async def test_a_job_whose_deadline_is_near_goes_before_more_priority_and_one_that_has_time_does_not(
    tmp_path: Path,
) -> None:
    async with Sandbox(STEADY).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        first = await running.submit(render(steps=10, seed=9))
        await running.until(first, "running")
        later = await running.submit(render(steps=1, seed=1), deadline=in_seconds(7 * 86_400))
        urgent = await running.submit(render(steps=1, seed=2), priority=100)
        dated = await running.submit(render(steps=1, seed=3), metadata={"deadline": in_seconds(60)}, priority=-50)
        ended = [await running.end_of(job_id) for job_id in (dated, urgent, later)]
    begun = [job.attempts[0].started_at for job in ended]
    assert begun == sorted(begun)
    assert [job.late for job in ended] == [False, None, False]
    assert [job.deadline is None for job in ended] == [False, True, False]


async def test_a_deadline_that_passed_is_taken_and_told(tmp_path: Path) -> None:
    async with core(tmp_path, []) as running:
        accepted = await running.service.submit(submission(workflow=render(), deadline="2020-01-01T00:00:00Z"))
        job = await running.service.job(accepted.job_id)
    assert (
        "The deadline 2020-01-01T00:00:00.000Z has passed; the job is rendered as soon as it can be."
        in accepted.warnings
    )
    assert job.late is True


async def test_a_rerun_has_no_deadline_unless_it_is_given_one(tmp_path: Path) -> None:
    async with core(tmp_path, []) as running:
        service = running.service
        first = await running.submit(render(), metadata={"deadline": in_seconds(60), "shot": "7"}, priority=3)
        plain = await service.submit(submission(rerun_of=first))
        dated = await service.submit(submission(rerun_of=first, deadline=in_seconds(90)))
        jobs = [await service.job(one.job_id) for one in (plain, dated)]
    assert [job.deadline is None for job in jobs] == [True, False]
    assert [(job.metadata, job.priority) for job in jobs] == [({"shot": "7"}, 3)] * 2


async def test_a_batch_has_the_deadline_of_its_manifest(tmp_path: Path) -> None:
    async with core(tmp_path, []) as running:
        wanted = submission(workflow=render(), deadline=in_seconds(-5), batch={"seed": [1, 2]}, parameters={"steps": 1})
        accepted = await running.service.batches.submit(wanted)
        view = await running.service.batches.batch(accepted.batch_id)
        [*jobs] = (await running.service.jobs(batch_id=accepted.batch_id)).jobs
    assert view.deadline == wanted.manifest.deadline
    assert view.late is True
    assert {job.deadline for job in jobs} == {view.deadline}
    assert len([words for words in accepted.warnings if "has passed" in words]) == 1
