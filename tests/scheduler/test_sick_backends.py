"""Backends that hang, die or only seem to work: the job goes elsewhere, the sick one is shown, and comes back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from tests.scheduler.core import PICTURE, backend_for, core, post_foreign, quick, render, rendered

FAST = SandboxOptions(step_ms=1, load_ms=0)
SLOW = SandboxOptions(step_ms=100, load_ms=0)


def renders(attempt: int, job: JobView) -> bool:
    """Whether a job renders in that attempt."""
    return job.stage == "rendering" and len(job.attempts) == attempt


async def test_jobs_are_taken_back_from_a_server_whose_worker_died_and_strangers_prompts_stay(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as dead, Sandbox(FAST).serve() as well:
        dead.set_fault("zombie-a")
        foreign = await post_foreign(dead)
        backends = [backend_for(dead, "dead"), backend_for(well, "well")]
        async with core(tmp_path, backends, quick(zombie_after=0.3, suspect_pause=0.3)) as running:
            jobs = [await running.submit(render(seed=seed)) for seed in range(6)]
            ended = [await running.end_of(job_id) for job_id in jobs]
            assert {(job.status, job.backend_id) for job in ended} == {("completed", "well")}
            [moved] = [job for job in ended if len(job.attempts) > 1][:1]
            assert [attempt.outcome for attempt in moved.attempts] == ["revoked", "succeeded"]
            assert "has run none" in (moved.attempts[0].reason or "")
            view = await running.until_backend("dead", "suspect")
            assert "runs none" in (view.reason or "") or "run none" in (view.reason or "")
            assert [prompt.prompt_id for prompt in dead.queue.pending] == [foreign]
            dead.clear_faults()
            back = await running.end_of(await running.submit(PICTURE, backend_affinity="dead"))
            assert (back.status, back.backend_id) == ("completed", "dead")
            assert running.service.backend("dead").status == "idle"
    assert set(rendered(dead, well).values()) == {1}


async def test_a_job_that_waits_says_that_its_backend_is_suspect(tmp_path: Path) -> None:
    async with (
        Sandbox(FAST).serve() as dead,
        core(tmp_path, [backend_for(dead, "dead")], quick(zombie_after=0.2, suspect_pause=30)) as running,
    ):
        dead.set_fault("zombie-a")
        job_id = await running.submit(PICTURE)
        await running.until_backend("dead", "suspect")
        job = await running.until(job_id, "queued")  # and it stays so
        assert job.waiting_because[0].reason.startswith("it is suspect: dead holds prompts")


async def test_a_render_that_never_begins_is_suspect_first_and_then_goes_elsewhere(tmp_path: Path) -> None:
    times = quick(zombie_after=0.4, interrupt_patience=0.3, suspect_pause=0.2)
    async with Sandbox(FAST).serve() as dead, Sandbox(FAST).serve() as well:
        dead.set_fault("zombie-b")
        async with core(tmp_path, [backend_for(dead, "dead")], times) as running:
            job_id = await running.submit(render())
            await running.until(job_id, "running", stage="rendering")
        async with core(tmp_path, [backend_for(dead, "dead"), backend_for(well, "well")], times) as running:
            await running.service.cancel(job_id)  # of the process before; it hears no events any more
            other = await running.submit(render(seed=2))
            assert (await running.end_of(other)).backend_id == "well"
            dead.clear_faults()
            await running.end_of(job_id)
            trial = await running.submit(render(seed=6), backend_affinity="dead")  # it may be suspect by now
            assert (await running.end_of(trial)).status == "completed"
            await running.until_backend("dead", "idle")
            dead.set_fault("zombie-b")
            moved = await running.submit(render(steps=400, seed=3))  # longer than `fill` takes to come
            fill = await running.submit(render(seed=4))
            assert "has done nothing since" in str((await running.until_backend("dead", "suspect")).reason)
            jobs = [await running.end_of(moved), await running.end_of(fill)]
            assert {job.status for job in jobs} == {"completed"}
            [repeated] = [job for job in jobs if len(job.attempts) > 1]
            assert [attempt.outcome for attempt in repeated.attempts] == ["timed_out", "succeeded"]
            assert "does not stop" in (repeated.attempts[0].reason or "")
            assert (await running.until_backend("dead", "suspect")).reason is not None
            dead.clear_faults()
            back = await running.submit(render(seed=5), backend_affinity="dead")
            assert (await running.end_of(back)).status == "completed"


async def test_a_frozen_render_is_stopped_and_goes_elsewhere(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as frozen, Sandbox(FAST).serve() as well:
        frozen.set_fault("freeze")
        backends = [backend_for(frozen, "frozen"), backend_for(well, "well")]
        async with core(tmp_path, backends, quick(stall_timeout=0.5)) as running:
            jobs = [await running.submit(render(seed=seed)) for seed in range(4)]
            ended = [await running.end_of(job_id) for job_id in jobs]
        assert {(job.status, job.backend_id) for job in ended} == {("completed", "well")}
        outcomes = [[attempt.outcome for attempt in job.attempts] for job in ended]
        assert ["timed_out", "succeeded"] in outcomes
        assert frozen.queue.remaining() == 0
    assert set(rendered(frozen, well).values()) == {1}


async def test_a_job_that_took_two_backends_down_is_not_sent_to_a_third(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as one, Sandbox(SLOW).serve() as two, Sandbox(SLOW).serve() as three:
        servers = {"one": one, "two": two, "three": three}
        backends = [backend_for(server, name) for name, server in servers.items()]
        async with core(tmp_path, backends) as running:
            job_id = await running.submit(render(steps=100))
            for number in (1, 2):
                job = await running.until_so(job_id, partial(renders, number))
                await servers[job.backend_id or ""].stop()
            job = await running.end_of(job_id)
        assert (job.status, job.attention) == ("failed", True)
        assert job.error is not None
        assert job.error.code == "poison_suspected"
        assert [attempt.outcome for attempt in job.attempts] == ["lost", "lost"]
        assert all(attempt.reason for attempt in job.attempts)
        hit = [
            name for name, server in servers.items() if any(line["event"] == "accepted" for line in server.oracle.lines)
        ]
        assert len(hit) == 2


async def test_a_backend_that_fails_again_and_again_is_left_alone_and_tried_again(tmp_path: Path) -> None:
    times = quick(quarantine=0.0, post_timeout=0.2, suspect_after=2, suspect_pause=0.3)
    async with Sandbox(FAST).serve() as broken, Sandbox(FAST).serve() as well:
        broken_first = [backend_for(broken, "a-broken"), backend_for(well, "well")]
        async with core(tmp_path, broken_first, times) as running:
            await running.until_backend("a-broken", "idle")
            broken.set_fault("prompt-refuse-500")
            jobs = [await running.submit(render(seed=seed)) for seed in range(8)]
            view = await running.until_backend("a-broken", "suspect")
            assert "failures in a row" in (view.reason or "")
            assert {(await running.end_of(job_id)).status for job_id in jobs} == {"completed"}
            broken.clear_faults()
            back = await running.end_of(await running.submit(PICTURE, backend_affinity="a-broken"))
            assert back.status == "completed"
            assert running.service.backend("a-broken").status == "idle"
    assert set(rendered(broken, well).values()) == {1}


@pytest.mark.parametrize("fault", ["slow-http:300", "html-502:/history", "garbage-json:/queue", "no-ws", "ws-drop:2"])
async def test_the_others_go_on_at_full_speed_beside_a_sick_one(tmp_path: Path, fault: str) -> None:
    async with (
        Sandbox(FAST).serve() as sick,
        Sandbox(FAST).serve() as well,
        core(tmp_path, [backend_for(sick, "sick"), backend_for(well, "well")], quick(lost_after=60)) as running,
    ):
        await running.until_backend("sick", "idle")
        sick.set_fault(fault)
        jobs = [await running.submit(render(seed=seed)) for seed in range(20)]
        pinned = await running.submit(render(seed=99), backend_affinity="well")
        assert (await running.end_of(pinned)).status == "completed"
        sick.clear_faults()
        assert {(await running.end_of(job_id)).status for job_id in jobs} == {"completed"}
        assert set(rendered(sick, well).values()) == {1}


async def test_a_backend_that_restarted_while_nobody_watched_gives_its_job_back(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        backends = [backend_for(server, "one")]
        server.set_fault("freeze")
        async with core(tmp_path, backends) as running:
            job_id = await running.submit(render())
            await running.until(job_id, "running", stage="rendering")
        await server.restart()
        server.clear_faults()
        async with core(tmp_path, backends) as running:
            job = await running.end_of(job_id)
        assert [attempt.outcome for attempt in job.attempts] == ["lost", "succeeded"]
        assert "restarted" in (job.attempts[0].reason or "")
    assert rendered(server)[job_id] == 1


@pytest.mark.parametrize("rendered_before", [0, 1])
async def test_a_restart_within_a_moment_is_noticed_though_no_probe_missed(
    tmp_path: Path, rendered_before: int
) -> None:
    async with Sandbox(FAST).serve() as server:
        server.set_fault("no-ws")
        async with core(tmp_path, [backend_for(server, "one")], quick(probe_interval=30)) as running:
            for seed in range(rendered_before):
                await running.end_of(await running.submit(render(seed=10 + seed)))
            server.set_fault("freeze")
            job_id = await running.submit(render())
            await running.until(job_id, "running", stage="rendering")
            await server.restart()
            server.clear_faults("freeze")
            job = await running.end_of(job_id)
        assert [attempt.outcome for attempt in job.attempts] == ["lost", "succeeded"]
    assert rendered(server)[job_id] == 1
