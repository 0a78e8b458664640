from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from orchestrator_mcp.clock import to_millis
from orchestrator_mcp.domain.jobs import Stage
from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.errors import JobFinishedError
from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from orchestrator_mcp.scheduler import following
from orchestrator_mcp.scheduler.dispatcher import MOST_COLLECTING
from tests.scheduler.core import PICTURE, QUICK, backend_for, core, quick, render

FAST = SandboxOptions(step_ms=1, load_ms=0)
STORED_STAGES = {Step.ACCEPTED, Step.RENDERING, Step.COLLECTING, Step.PUBLISHING}
SLOW = SandboxOptions(step_ms=200, load_ms=0)


async def test_a_job_is_rendered_verified_and_published_once(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        job = await running.end_of(await running.submit(render()))
        assert (job.status, job.backend_id, job.progress) == ("completed", "one", 1.0)
        [attempt] = job.attempts
        assert attempt.outcome == "succeeded"
        [output] = job.outputs
        assert (output.media_type, output.node) == ("image/png", "7")
        file = await running.service.output_file(job.job_id, output.name)
        assert file.path.stat().st_size == output.size
    way = list(Step)
    steps = [
        step
        for step in way[way.index(Step.STORED) : way.index(Step.COPIED)]
        if step not in (Step.ADOPTED, Step.WITHDRAWN)
    ]
    for some in (STORED_STAGES, set(steps) - STORED_STAGES):  # stages are stored a moment after they are entered
        assert [step for step in running.steps if step in some] == [step for step in steps if step in some]


async def test_the_stages_of_a_quick_render_are_stored_with_its_end_and_its_history_has_them_all(
    tmp_path: Path,
) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        job = await running.end_of(await running.submit(PICTURE))
    with closing(sqlite3.connect(tmp_path / "data" / "orchestrator.db")) as database:
        told = database.execute("SELECT stage FROM history WHERE stage IS NOT NULL ORDER BY seq").fetchall()
    assert job.status == "completed"
    assert [stage for (stage,) in told] == [stage.value for stage in Stage]
    assert running.steps.index(Step.PUBLISHED) == running.steps.index(Step.PUBLISHING) + 1


async def test_a_thousand_small_steps_never_render_a_job_twice(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        jobs = [await running.submit(PICTURE) for _ in range(20)]
        ended = [await running.end_of(job_id) for job_id in jobs]
    assert {job.status for job in ended} == {"completed"}
    assert {len(job.attempts) for job in ended} == {1}


async def test_a_queued_job_says_why_it_waits_and_never_starts_when_it_is_cancelled(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        first = await running.submit(render(steps=50))
        await running.until(first, "running", stage="rendering")
        second = await running.submit(render(steps=1, seed=2))
        waiting = await running.service.job(second)
        assert (waiting.status, waiting.queue_position) == ("queued", 1)
        assert waiting.waiting_because[0].reason == "it is busy with 1 of ours"
        assert (await running.service.cancel(second)).status == "cancelled"
        await running.service.cancel(first)
        assert (await running.end_of(first)).status == "cancelled"
        assert (await running.service.job(second)).attempts == []


async def test_cancelling_a_render_stops_exactly_this_prompt(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        job_id = await running.submit(render(steps=100))
        await running.until(job_id, "running", stage="rendering")
        await running.service.cancel(job_id)
        job = await running.end_of(job_id)
        assert job.status == "cancelled"
        assert job.attempts[0].outcome == "cancelled"
        again = await running.service.cancel(job_id)
        assert again.status == "cancelled"


async def test_a_finished_job_cannot_be_cancelled(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        job = await running.end_of(await running.submit(PICTURE))
        with pytest.raises(JobFinishedError):
            await running.service.cancel(job.job_id)


async def test_a_standby_is_taken_back_when_another_backend_becomes_idle(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as busy, Sandbox(SLOW).serve() as other:
        backends = [backend_for(busy, "a", max_concurrent_jobs=2), backend_for(other, "b")]
        async with core(tmp_path, backends) as running:
            long = await running.submit(render(steps=100), backend_affinity="a")
            short = await running.submit(render(steps=10, seed=2), backend_affinity="b")
            await running.until(long, "running", stage="rendering")
            await running.until(short, "running", stage="rendering")
            standby = await running.submit(render(steps=1, seed=3))
            held = await running.until(standby, "running", stage="waiting")
            assert held.backend_id == "a"
            job = await running.end_of(standby)
            assert (job.status, job.backend_id) == ("completed", "b")
            assert [attempt.outcome for attempt in job.attempts] == ["revoked", "succeeded"]
            await running.service.cancel(long)
            await running.end_of(long)


async def test_a_job_goes_to_the_backend_that_has_its_model(tmp_path: Path) -> None:
    with_flux = SandboxOptions(step_ms=1, load_ms=0, models=("checkpoints/flux.safetensors",))
    async with (
        Sandbox(FAST).serve() as plain,
        Sandbox(with_flux).serve() as flux,
        core(tmp_path, [backend_for(plain, "plain"), backend_for(flux, "flux")]) as running,
    ):
        job = await running.end_of(await running.submit(render(model="flux.safetensors")))
        assert (job.status, job.backend_id, len(job.attempts)) == ("completed", "flux", 1)


async def test_a_node_that_raises_fails_the_job_with_comfyuis_words(tmp_path: Path) -> None:
    graph = {**PICTURE, "3": {"class_type": "ImageCrop", "inputs": {"image": ["1", 0], "width": 8, "height": 8}}}
    graph["3"]["inputs"] |= {"x": 0, "y": 0}
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        server.set_fault("runtime-error")
        job = await running.end_of(await running.submit(render()))
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == "node_error"
        assert len(job.attempts) == 1


async def test_a_graph_that_the_backend_refuses_fails_with_the_node_and_the_reason(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        await server.stop()  # one that is there would be asked, and the graph refused before it is queued
        await running.until_backend("one", "offline")
        graph = render()
        graph["4"]["inputs"]["width"] = 1
        job_id = await running.submit(graph)
        await server.start()
        job = await running.end_of(job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == "prompt_rejected"
        assert "width" in str(job.error.details)


async def test_a_backend_that_restarts_with_a_render_gives_the_job_back(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        job_id = await running.submit(render(steps=5))
        await running.until(job_id, "running", stage="rendering")
        await server.restart()
        job = await running.end_of(job_id)
        assert job.status == "completed"
        assert [attempt.outcome for attempt in job.attempts] == ["lost", "succeeded"]


@pytest.mark.parametrize("fault", ["prompt-500", "prompt-drop", "prompt-delay:200", "history-delay:200", "no-ws"])
async def test_a_backend_that_lies_renders_the_job_once(tmp_path: Path, fault: str) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        server.set_fault(fault)
        job = await running.end_of(await running.submit(render()))
        assert (job.status, len(job.attempts)) == ("completed", 1)


async def test_renders_that_go_on_without_us_are_adopted_by_the_next_start(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        backends = [backend_for(server, "one")]
        async with core(tmp_path, backends) as running:
            job_id = await running.submit(render(steps=8))
            await running.until(job_id, "running", stage="rendering")
        async with core(tmp_path, backends) as running:
            job = await running.end_of(job_id)
            assert job.status == "completed"
            assert [attempt.number for attempt in job.attempts] == [1]


async def test_stopping_cancels_nothing_and_is_quick(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        with anyio.fail_after(5):
            async with core(tmp_path, [backend_for(server, "one")]) as running:
                job_id = await running.submit(render(steps=1000))
                await running.until(job_id, "running", stage="rendering")
        assert server.queue.running


async def test_a_graph_on_which_a_backend_always_breaks_goes_elsewhere_and_at_last_fails(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as broken, Sandbox(SLOW).serve() as well:
        broken.set_fault("prompt-refuse-500")
        first = [backend_for(broken, "broken")]
        async with core(tmp_path, first, QUICK.model_copy(update={"quarantine": 0.0})) as running:
            job = await running.end_of(await running.submit(render()))
            assert job.status == "failed"
            assert job.error is not None
            assert job.error.code == "prompt_not_taken"
            assert "500" in job.error.message
        both = [*first, backend_for(well, "well")]
        async with core(tmp_path, both, QUICK.model_copy(update={"quarantine": 0.0})) as running:
            busy = await running.submit(render(steps=10, seed=3), backend_affinity="well")
            await running.until(busy, "running", stage="rendering")
            job = await running.end_of(await running.submit(render(seed=2)))
            assert (job.status, job.backend_id) == ("completed", "well")
            assert [(attempt.backend_id, attempt.outcome) for attempt in job.attempts] == [
                ("broken", "errored"),
                ("well", "succeeded"),
            ]


async def test_an_adopted_render_is_not_taken_for_stalled_because_its_events_go_to_nobody(tmp_path: Path) -> None:
    patient = QUICK.model_copy(update={"stall_timeout": 1.5})
    async with Sandbox(SLOW).serve() as server:
        backends = [backend_for(server, "one")]
        async with core(tmp_path, backends, patient) as running:
            job_id = await running.submit(render(steps=16))
            await running.until(job_id, "running", stage="rendering")
        async with core(tmp_path, backends, patient) as running:
            job = await running.end_of(job_id)
            assert (job.status, [attempt.outcome for attempt in job.attempts]) == ("completed", ["succeeded"])


async def test_a_render_that_stands_still_is_given_up(tmp_path: Path) -> None:
    async with (
        Sandbox(SLOW).serve() as server,
        core(tmp_path, [backend_for(server, "one")], QUICK.model_copy(update={"stall_timeout": 1.0})) as running,
    ):
        await running.end_of(await running.submit(PICTURE))
        job_id = await running.submit(render(steps=5))
        await running.until(job_id, "running", stage="rendering")
        server.set_fault("freeze")
        job = await running.until(job_id, "queued", "failed")
        assert job.attempts[0].outcome == "timed_out"
        await running.service.cancel(job_id)


async def test_a_prompt_is_never_sent_without_our_name_even_before_the_socket_stands(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server:
        server.set_fault("no-ws")
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            await running.end_of(await running.submit(PICTURE))
        [ended] = server.queue.history.values()
        assert len(ended["prompt"][3]["client_id"]) == 32


async def test_the_next_job_is_sent_while_the_proof_of_the_last_one_is_written(tmp_path: Path) -> None:
    options = SandboxOptions(step_ms=1, load_ms=0, faults=("history-delay:1500",))
    async with Sandbox(options).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        jobs = [await running.submit(render(seed=seed)) for seed in (1, 2)]
        ended = [await running.end_of(job_id) for job_id in jobs]
    assert [(job.status, len(job.attempts)) for job in ended] == [("completed", 1)] * 2
    second_sent = [place for place, step in enumerate(running.steps) if step is Step.POSTED][1]
    assert second_sent < running.steps.index(Step.RENDERED)


async def test_a_render_whose_events_are_heard_is_not_asked_about_while_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seldom = quick(poll_interval=5.0, poll_interval_max=5.0)
    async with Sandbox(SLOW).serve() as server, core(tmp_path, [backend_for(server, "one")], seldom) as running:
        await running.end_of(await running.submit(PICTURE))
        server.set_fault("html-502:/history")
        job_id = await running.submit(render(steps=3))
        await running.until(job_id, "running", stage="rendering")
        server.clear_faults("html-502")
        assert (await running.end_of(job_id)).status == "completed"
    assert "does not answer" not in caplog.text


async def test_a_render_beside_many_others_is_asked_about_seldom_until_its_end_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "MOST_POLLS", 0.01)  # as if there were thousands of them
    async with Sandbox(SLOW).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        await running.end_of(await running.submit(PICTURE))
        server.set_fault("html-502:/history")
        job_id = await running.submit(render(steps=5))
        with anyio.fail_after(20):
            while (await running.service.job(job_id)).progress < 0.5:  # noqa: ASYNC110 - not every step has an event
                await anyio.sleep(0.01)
        server.clear_faults("html-502")
        server.set_fault("history-forget")  # more than one look is needed to be sure
        assert (await running.end_of(job_id)).status == "completed"
    assert "does not answer" not in caplog.text


async def test_a_backend_whose_files_cannot_be_fetched_does_not_render_on_and_on(tmp_path: Path) -> None:
    options = SandboxOptions(step_ms=1, load_ms=0, faults=("view-404",))
    async with Sandbox(options).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        jobs = [await running.submit(PICTURE, metadata={"turn": turn}) for turn in range(20)]
        ended = [await running.end_of(job_id) for job_id in jobs]
        accepted = [line["at"] for line in server.oracle.lines if line["event"] == "accepted"]
    assert {job.status for job in ended} == {"failed"}
    first_end = min(to_millis(job.finished_at) for job in ended if job.finished_at is not None)
    assert 2 <= sum(at < first_end for at in accepted) <= MOST_COLLECTING + 1


async def test_a_job_that_was_collecting_when_we_died_goes_on_there_and_its_history_says_so(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server:
        server.set_fault("html-502:/view")
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            job_id = await running.submit(PICTURE)
            await running.until(job_id, "running", stage="collecting")
        server.clear_faults()
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            assert (await running.end_of(job_id)).status == "completed"
    with closing(sqlite3.connect(tmp_path / "data" / "orchestrator.db")) as database:
        told = database.execute("SELECT stage, reason FROM history WHERE stage IS NOT NULL ORDER BY seq").fetchall()
    order = [stage.value for stage in Stage]
    assert [order.index(stage) for stage, _ in told] == sorted(order.index(stage) for stage, _ in told)
    assert ("collecting", "found again on one: ended") in told


async def test_the_job_that_takes_a_free_slot_is_given_a_standby_before_it_ends(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        two = backend_for(server, "one", max_concurrent_jobs=2)
        async with core(tmp_path, [two]) as running:
            ids: dict[int, str] = {}

            async def submit(place: int) -> None:
                ids[place] = await running.submit(render(steps=8, seed=place), priority=-place)

            async with anyio.create_task_group() as tasks:  # at once, so that no later one wakes the dispatcher
                for place in range(3):
                    tasks.start_soon(submit, place)
            first, second, third = (ids[place] for place in range(3))
            await running.until(first, "completed")
            await running.until(third, "running", stage="waiting")
            assert (await running.service.job(second)).stage == "rendering"
            assert (await running.end_of(third)).status == "completed"
