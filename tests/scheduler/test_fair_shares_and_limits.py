"""Sources share the farm as it is configured, and named limits hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from orchestrator_mcp.settings.scheduling import NamedLimitSettings
from tests.scheduler.core import QUICK, Core, backend_for, core, render
from tests.submissions import submission

STEADY = SandboxOptions(step_ms=30, load_ms=0)


async def in_order(running: Core, jobs: dict[str, str]) -> list[str]:
    """Who got a backend, in the order in which they did."""
    ended = [await running.end_of(job_id) for job_id in jobs]
    assert {job.status for job in ended} == {"completed"}
    return [jobs[job.job_id] for job in sorted(ended, key=lambda job: job.attempts[0].started_at)]


async def submit_all(running: Core, field: str, *names: str, count: int) -> dict[str, str]:
    """So many jobs of each name, one name after the other."""
    jobs = {}
    for number, name in enumerate(names):
        for turn in range(count):
            graph = render(steps=2, seed=100 * number + turn)
            jobs[await running.submit(graph, metadata={field: name})] = name
    return jobs


def leads(order: list[str], one: str, two: str, weight: float = 1.0) -> list[float]:
    """By how many jobs one is ahead of the other after each, for as long as both have some."""
    last = min(len(order) - 1 - order[::-1].index(name) for name in (one, two))
    given = [order[: at + 1] for at in range(last)]
    return [some.count(one) / weight - some.count(two) for some in given]


async def test_two_sources_get_the_same_within_a_job_or_two_whoever_came_first(tmp_path: Path) -> None:
    async with Sandbox(STEADY).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        first = await running.submit(render(steps=10, seed=9_999))
        await running.until(first, "running")
        jobs = await submit_all(running, "source", "early", "late", count=6)
        order = await in_order(running, jobs)
    assert max(abs(lead) for lead in leads(order, "early", "late")) <= 2


async def test_shares_may_be_by_project_and_weighted(tmp_path: Path) -> None:
    scheduling = QUICK.model_copy(update={"share_by": "project", "weights": {"film": 3.0}})
    async with (
        Sandbox(STEADY).serve() as server,
        core(tmp_path, [backend_for(server, "one")], scheduling) as running,
    ):
        first = await running.submit(render(steps=10, seed=9_999))
        await running.until(first, "running")
        jobs = await submit_all(running, "project", "test", "film", count=9)
        order = await in_order(running, jobs)
    assert order[:8].count("film") >= 5
    assert order[:8].count("test") >= 1


async def watch(running: Core, held: set[int]) -> None:
    """Note how many jobs the whole farm holds at once."""
    while True:
        held.add(sum(backend.running for backend in running.service.backends()))
        await anyio.sleep(0.005)


async def test_limits_change_while_it_runs(tmp_path: Path) -> None:
    closed = NamedLimitSettings(name="closed", most=0, model="sd15*")
    scheduling = QUICK.model_copy(update={"limits": (closed,)})
    async with Sandbox(STEADY).serve() as one, core(tmp_path, [backend_for(one, "one")], scheduling) as running:
        job_id = await running.submit(render(steps=1))
        other = await running.submit(render(steps=1, model="sdxl.safetensors"))
        assert (await running.end_of(other)).status == "completed"
        assert (await running.service.job(job_id)).status == "queued"
        await running.service._parts.pool.change(running.settings.model_copy(update={"scheduling": QUICK}), {})
        assert (await running.end_of(job_id)).status == "completed"


async def test_a_limit_holds_and_a_job_that_waits_for_it_says_so(tmp_path: Path) -> None:
    limit = NamedLimitSettings(name="xl", most=1, model="sdxl*")
    scheduling = QUICK.model_copy(update={"limits": (limit,)})
    held: set[int] = set()
    async with (
        Sandbox(STEADY).serve() as one,
        Sandbox(STEADY).serve() as two,
        core(tmp_path, [backend_for(one, "one"), backend_for(two, "two")], scheduling) as running,
    ):
        steps = (60, 5, 5, 5)  # the first is at work for as long as anything is asked
        jobs = [
            await running.submit(render(steps=count, seed=seed, model="sdxl.safetensors"))
            for seed, count in enumerate(steps)
        ]
        await running.until(jobs[0], "running")
        reasons = {why.reason for why in (await running.service.job(jobs[3])).waiting_because}
        other = await running.submit(render(steps=1, seed=50))
        assert (await running.end_of(other)).status == "completed", "nobody else is held back"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, running, held)
            for job_id in jobs:
                assert (await running.end_of(job_id)).status == "completed"
            tasks.cancel_scope.cancel()
    assert reasons == {"the limit xl is reached: as many such jobs run as may"}
    assert held <= {0, 1}
    assert 1 in held


async def test_a_limit_by_workflow_holds_back_that_workflow_alone(tmp_path: Path) -> None:
    held = NamedLimitSettings(name="held", most=0, workflow="held_*")
    scheduling = QUICK.model_copy(update={"limits": (held,)})
    async with Sandbox(STEADY).serve() as one, core(tmp_path, [backend_for(one, "one")], scheduling) as running:
        waits = await running.submit(render(steps=1), workflow_id="held_back")
        passes = await running.submit(render(steps=1, seed=2), workflow_id="free")
        assert (await running.end_of(passes)).status == "completed"
        job = await running.service.job(waits)
        assert [why.reason for why in job.waiting_because] == [
            "the limit held is reached: as many such jobs run as may"
        ]


async def test_with_shares_by_token_what_a_job_says_of_itself_does_not_count(tmp_path: Path) -> None:
    scheduling = QUICK.model_copy(update={"share_by": "token"})
    graph: dict[str, Any] = render(steps=1)
    async with (
        Sandbox(STEADY).serve() as server,
        core(tmp_path, [backend_for(server, "one")], scheduling) as running,
    ):
        lanes = set()
        for source in ("a", "b"):
            accepted = await running.service.submit(submission(workflow=graph, metadata={"source": source}))
            lanes.add((await running.service._store.job(accepted.job_id)).lane.source)
    assert lanes == {"anonymous"}
