"""A cancel stops exactly one prompt, whatever else is on the backend and however old that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, SandboxServer
from tests.partners import text_to_image
from tests.scheduler.core import backend_for, core, quick, render

OLD = ["0.3.40", "0.3.56"]
VERSIONS = [*OLD, "0.3.64", "0.26.0"]


class Stranger:
    """Another client of the same server."""

    def __init__(self, server: SandboxServer) -> None:
        self._server = server

    async def post(self, seed: int, steps: int = 3) -> str:
        graph: dict[str, Any] = text_to_image(seed=seed, steps=steps, prefix=f"stranger-{seed}")
        async with httpx.AsyncClient(base_url=self._server.url, trust_env=False) as client:
            return str((await client.post("/prompt", json={"prompt": graph})).json()["prompt_id"])

    async def gets(self, prompt_id: str) -> bool:
        """Whether the stranger's prompt came to a good end."""
        with anyio.fail_after(20):
            entry = await self._server.until_ended(prompt_id)
        return bool(entry["status"]["completed"])


def aged(version: str) -> SandboxOptions:
    return SandboxOptions(step_ms=60, load_ms=0, comfyui_version=version)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_queued_prompt_never_starts_and_strangers_keep_theirs(tmp_path: Path, version: str) -> None:
    async with Sandbox(aged(version)).serve() as server:
        stranger = Stranger(server)
        server.set_fault("freeze")
        before = await stranger.post(1)
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            job_id = await running.submit(render())
            await running.until(job_id, "running", stage="waiting")
            after = await stranger.post(2)
            await running.service.cancel(job_id)
            job = await running.end_of(job_id)
            assert job.status == "cancelled"
            server.clear_faults()
            assert await stranger.gets(before)
            assert await stranger.gets(after)
        ended = [line["prompt_id"] for line in server.oracle.lines if line["event"] == "ended"]
        assert sorted(ended) == sorted([before, after])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_running_prompt_is_stopped_where_the_server_can_be_told_which(tmp_path: Path, version: str) -> None:
    async with Sandbox(aged(version)).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        stranger = Stranger(server)
        server.set_fault("freeze")
        job_id = await running.submit(render())
        await running.until(job_id, "running", stage="rendering")
        after = await stranger.post(1)
        await running.service.cancel(job_id)
        if version in OLD:
            server.clear_faults()
        job = await running.end_of(job_id)
        server.clear_faults()
        assert await stranger.gets(after)
        stopped = [line["outcome"] for line in server.oracle.lines if line["event"] == "ended"]
    if version in OLD:
        assert (job.status, stopped[0]) == ("completed", "success")
    else:
        assert (job.status, stopped[0]) == ("cancelled", "interrupted")


async def test_a_render_that_ignores_the_interrupt_says_so_and_its_backend_is_suspect(tmp_path: Path) -> None:
    times = quick(interrupt_patience=0.4)
    async with (
        Sandbox(aged("0.3.64")).serve() as server,
        core(tmp_path, [backend_for(server, "one")], times) as running,
    ):
        server.set_fault("ignore-interrupt")
        job_id = await running.submit(render(steps=1000))
        await running.until(job_id, "running", stage="rendering")
        await running.service.cancel(job_id)
        view = await running.until_backend("one", "suspect")
        assert "cancelled" in (view.reason or "")
        warned = await running.until_so(job_id, lambda job: bool(job.warnings))
        assert "told to stop" in warned.warnings[0]
        assert (await running.service.job(job_id)).status == "running"
        server.clear_faults()
        job = await running.end_of(job_id)
        assert job.status == "cancelled"


async def test_an_old_server_that_cannot_be_told_is_no_suspect_and_the_job_says_why_it_goes_on(tmp_path: Path) -> None:
    async with (
        Sandbox(aged("0.3.56")).serve() as server,
        core(tmp_path, [backend_for(server, "one")], quick(interrupt_patience=0.2)) as running,
    ):
        server.set_fault("freeze")
        job_id = await running.submit(render())
        await running.until(job_id, "running", stage="rendering")
        await running.service.cancel(job_id)
        job = await running.until_so(job_id, lambda job: bool(job.warnings))
        assert "too old" in job.warnings[0]
        server.clear_faults()
        assert (await running.end_of(job_id)).status == "completed"
        assert running.service.backend("one").status != "suspect"
