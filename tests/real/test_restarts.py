"""A real ComfyUI that is killed in the middle of a render and comes back on the same port."""

from __future__ import annotations

from pathlib import Path

import anyio

from tests.partners import picture_graph
from tests.real.graphs import blurred, own_prefix
from tests.real.partner import WAIT, client_of, needs_command, own_server, real_core

pytestmark = needs_command


async def test_what_a_killed_server_held_is_rendered_once_by_the_one_that_follows(tmp_path: Path) -> None:
    async with own_server(tmp_path / "comfyui") as server:
        backend = server.backend.model_copy(update={"max_concurrent_jobs": 2})
        async with real_core(tmp_path, backend) as running:
            rendering = await running.submit(blurred(8, size=512))
            await running.until(rendering, "running", stage="rendering")
            standing_by = await running.submit(picture_graph(own_prefix()))
            await running.until(standing_by, "running", stage="waiting")
            await server.kill()
            await server.start()
            jobs = [await running.end_of(job_id) for job_id in (rendering, standing_by)]
            assert [job.status for job in jobs] == ["completed", "completed"]
            assert [[a.outcome for a in job.attempts] for job in jobs] == [["lost", "succeeded"]] * 2
            assert [len(job.outputs) for job in jobs] == [8, 1]
        async with client_of(backend) as client:
            entries = [await client.history(job.attempts[-1].prompt_id) for job in jobs]
            assert {entry.number for entry in entries if entry is not None} == {0, 1}


async def test_a_core_and_its_server_that_fall_together_repeat_the_render(tmp_path: Path) -> None:
    async with own_server(tmp_path / "comfyui") as server:
        async with real_core(tmp_path, server.backend) as running:
            job_id = await running.submit(blurred(8, size=512))
            await running.until(job_id, "running", stage="rendering")
        await server.kill()
        await server.start()
        with anyio.fail_after(WAIT):
            await server.answers()
        async with real_core(tmp_path, server.backend) as running:
            job = await running.end_of(job_id)
            assert (job.status, [a.outcome for a in job.attempts]) == ("completed", ["lost", "succeeded"])
