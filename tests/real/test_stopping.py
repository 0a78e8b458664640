"""Cancel, standby and adoption on a real ComfyUI, while somebody else uses it too."""

from __future__ import annotations

from pathlib import Path

import anyio

from orchestrator_mcp.backends.history import chosen_outputs
from tests.backends.talk import ended, send
from tests.partners import picture_graph
from tests.real.graphs import blurred, long, own_prefix
from tests.real.partner import WAIT, client_of, needs_nodes_of, needs_server, real_core, standing

pytestmark = needs_server


async def test_cancelling_a_render_leaves_the_prompt_of_somebody_else_alone(tmp_path: Path, can_be_told: None) -> None:
    async with real_core(tmp_path, standing()) as running, client_of(standing()) as somebody:
        ours = await running.submit(long(0x110001))
        await running.until(ours, "running", stage="rendering")
        theirs = await send(somebody, blurred(2, colour=0x110002))
        await running.service.cancel(ours)
        job = await running.end_of(ours)
        assert (job.status, job.outputs) == ("cancelled", [])
        assert [attempt.outcome for attempt in job.attempts] == ["cancelled"]
        with anyio.fail_after(WAIT):
            entry = await ended(somebody, theirs)
        assert (entry.verdict, len(chosen_outputs(entry))) == ("succeeded", 2)
        assert (await somebody.queue()).find(job.attempts[0].prompt_id) is None


async def test_cancelling_a_waiting_prompt_leaves_the_one_that_renders_alone(tmp_path: Path, can_be_told: None) -> None:
    async with real_core(tmp_path, standing()) as running, client_of(standing()) as somebody:
        theirs = await send(somebody, long(0x120001))
        with anyio.fail_after(WAIT):
            while theirs not in [prompt.prompt_id for prompt in (await somebody.queue()).running]:
                await anyio.lowlevel.checkpoint()
        ours = await running.submit(picture_graph(own_prefix()))
        held = await running.until(ours, "running", stage="waiting")
        assert (await somebody.queue()).find(held.attempts[0].prompt_id) is not None
        await running.service.cancel(ours)
        job = await running.end_of(ours)
        assert [attempt.outcome for attempt in job.attempts] == ["cancelled"]
        queue = await somebody.queue()
        assert queue.find(job.attempts[0].prompt_id) is None
        assert [prompt.prompt_id for prompt in queue.running] == [theirs]
        with anyio.fail_after(WAIT):
            while await somebody.history(theirs) is None:
                await somebody.cancel_running(theirs)


async def test_one_prompt_stands_by_while_another_renders_and_never_more(tmp_path: Path, can_be_told: None) -> None:
    async with real_core(tmp_path, standing(max_concurrent_jobs=2)) as running, client_of(standing()) as beside:
        first = await running.submit(long(0x130001))
        await running.until(first, "running", stage="rendering")
        second = await running.submit(picture_graph(own_prefix(), colour=0x130002))
        held = await running.until(second, "running", stage="waiting")
        third = await running.submit(picture_graph(own_prefix(), colour=0x130003))
        queue = await beside.queue()
        assert [prompt.prompt_id for prompt in queue.pending] == [held.attempts[0].prompt_id]
        assert len(queue.running) == 1
        assert (await running.service.job(third)).status == "queued"
        await running.service.cancel(first)
        assert (await running.end_of(first)).status == "cancelled"
        for job_id in (second, third):
            job = await running.end_of(job_id)
            assert (job.status, [attempt.outcome for attempt in job.attempts]) == ("completed", ["succeeded"])


async def test_a_render_that_goes_on_without_us_is_adopted_by_the_next_start(tmp_path: Path) -> None:
    graph = blurred(6, size=512, colour=0x140001)
    await needs_nodes_of(graph)
    async with real_core(tmp_path, standing()) as running:
        job_id = await running.submit(graph)
        held = await running.until(job_id, "running", stage="rendering")
    async with real_core(tmp_path, standing()) as running:
        job = await running.end_of(job_id)
        assert (job.status, len(job.outputs)) == ("completed", 6)
        assert [(a.number, a.prompt_id) for a in job.attempts] == [(1, held.attempts[0].prompt_id)]


async def test_a_cancel_of_a_render_that_was_adopted_stops_it(tmp_path: Path, can_be_told: None) -> None:
    async with real_core(tmp_path, standing()) as running:
        job_id = await running.submit(long(0x150001))
        await running.until(job_id, "running", stage="rendering")
    async with real_core(tmp_path, standing()) as running:
        await running.service.cancel(job_id)
        job = await running.end_of(job_id)
        assert (job.status, [attempt.outcome for attempt in job.attempts]) == ("cancelled", ["cancelled"])


async def test_a_prompt_that_somebody_interrupts_fails_the_job_and_says_so(tmp_path: Path, can_be_told: None) -> None:
    async with real_core(tmp_path, standing()) as running, client_of(standing()) as somebody:
        job_id = await running.submit(long(0x160001))
        held = await running.until(job_id, "running", stage="rendering")
        with anyio.fail_after(WAIT):
            while await somebody.cancel_running(held.attempts[0].prompt_id):
                if (await somebody.queue()).find(held.attempts[0].prompt_id) is None:
                    break
        job = await running.end_of(job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == "interrupted"
