"""Backends that forget, say too much or say it wrongly: no silent second render, and a clear word at the end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions
from orchestrator_mcp.settings import LimitSettings
from tests.scheduler.core import PICTURE, backend_for, core, quick, render, rendered

FAST = SandboxOptions(step_ms=1, load_ms=0)
SLOW = SandboxOptions(step_ms=100, load_ms=0)


async def test_outputs_that_the_websocket_told_make_up_for_a_forgotten_history(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server:
        server.set_fault("history-forget")
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            job = await running.end_of(await running.submit(render()))
        assert (job.status, len(job.outputs), len(job.attempts)) == ("completed", 1, 1)


async def test_a_render_of_which_nobody_knows_the_end_is_never_repeated(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        server.set_fault("no-ws")
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            await running.end_of(await running.submit(PICTURE))
            server.set_fault("history-forget")
            job = await running.end_of(await running.submit(render(steps=2)))
        assert (job.status, job.attention, len(job.attempts)) == ("failed", True, 1)
        assert job.error is not None
        assert job.error.code == "outcome_unknown"
        assert rendered(server)[job.job_id] == 1


async def test_a_waiting_prompt_that_somebody_deleted_there_is_queued_again(tmp_path: Path) -> None:
    async with Sandbox(SLOW).serve() as server:
        async with core(tmp_path, [backend_for(server, "one", max_concurrent_jobs=2)]) as running:
            server.set_fault("freeze")
            first = await running.submit(render())
            await running.until(first, "running", stage="rendering")
            second = await running.submit(render(seed=2))
            await running.until(second, "running", stage="waiting")
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as somebody:
                await somebody.post("/queue", json={"clear": True})
            await running.until_so(second, lambda job: job.attempts[0].outcome == "lost")
            server.clear_faults()
            job = await running.end_of(second)
        assert [attempt.outcome for attempt in job.attempts] == ["lost", "succeeded"]
        assert "before it began" in (job.attempts[0].reason or "")
        assert rendered(server)[second] == 1


async def test_a_history_that_is_over_the_limit_ends_the_job_with_a_clear_error(tmp_path: Path) -> None:
    limits = LimitSettings(backend_json_bytes=400_000)
    graph = render()
    graph["2"]["inputs"]["text"] = "a lighthouse " * 40_000
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")], limits=limits) as running:
        job = await running.end_of(await running.submit(graph))
        assert (job.status, len(job.attempts)) == ("failed", 1)
        assert job.error is not None
        assert job.error.code == "answer_too_large"
        assert "limits.backend_json_bytes" in (job.error.hint or "")
        assert (await running.end_of(await running.submit(PICTURE))).status == "completed"


async def test_outputs_with_impossible_names_are_left_out_and_told(tmp_path: Path) -> None:
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")]) as running:
        finish = server.queue.finish

        def with_a_strange_name(entry: dict[str, Any], *, forget: bool) -> None:
            for output in entry["outputs"].values():
                output["images"].append({"filename": "shot\x00.png", "subfolder": "", "type": "output"})
            finish(entry, forget=forget)

        server.queue.finish = with_a_strange_name  # type: ignore[method-assign]
        job = await running.end_of(await running.submit(PICTURE))
        assert (job.status, len(job.outputs)) == ("completed", 1)
        assert any("named 1 outputs" in warning for warning in job.warnings)


async def test_a_websocket_that_went_silent_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "orchestrator_mcp.backends.pool")
    async with Sandbox(SLOW).serve() as server:
        server.set_fault("ws-deaf")
        async with core(tmp_path, [backend_for(server, "one")], quick(probe_interval=0.2)) as running:
            deaf = await running.submit(render(steps=40))
            await running.until(deaf, "running")
            with anyio.fail_after(20):
                while "gone silent" not in caplog.text:  # noqa: ASYNC110 - the log is what tells it
                    await anyio.sleep(0.02)
            server.clear_faults()
            assert (await running.end_of(deaf)).status == "completed"
            heard = await running.submit(render(seed=2, steps=3))
            async with running.service.watch(heard) as events:
                kinds = {event.type async for event in events}
            assert "progress" in kinds


@pytest.mark.parametrize("version", ["0.3.40", "0.3.64"])
async def test_a_render_whose_acceptance_was_lost_and_that_ended_unseen_is_found_and_not_repeated(
    tmp_path: Path, version: str
) -> None:
    async with Sandbox(SandboxOptions(step_ms=1, load_ms=0, comfyui_version=version)).serve() as server:
        async with core(tmp_path, [backend_for(server, "one")], quick(post_timeout=0.5)) as running:
            await running.until_backend("one", "idle")
            for fault in ("prompt-drop", "html-502:/queue"):
                server.set_fault(fault)
            job_id = await running.submit(PICTURE)
            with anyio.fail_after(20):
                await server.until(lambda seen: bool(seen.queue.history))
            server.clear_faults()
            job = await running.end_of(job_id)
        assert (job.status, len(job.attempts)) == ("completed", 1)
        assert rendered(server) == {job_id: 1}
        assert job.attempts[0].prompt_id in server.queue.history


def half_done() -> dict[str, Any]:
    """A graph that saves a picture and then samples another one."""
    first = {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "first"}}
    return {"8": first, "9": PICTURE["1"], **render(steps=2)}


@pytest.mark.parametrize(("deaf", "code"), [(False, "out_of_memory"), (True, "outcome_unknown")])
async def test_a_render_that_failed_half_way_is_no_success_where_history_does_not_tell_its_end(
    tmp_path: Path, deaf: bool, code: str
) -> None:
    async with Sandbox(FAST).serve() as server:
        for fault in ("history-silent", "oom", *(["no-ws"] if deaf else [])):
            server.set_fault(fault)
        async with core(tmp_path, [backend_for(server, "one")]) as running:
            with anyio.fail_after(20):
                while not (deaf or server.hub.clients):  # noqa: ASYNC110 - the hub has no events
                    await anyio.sleep(0.01)
            job = await running.end_of(await running.submit(half_done()))
            (entry,) = server.queue.history.values()
            assert list(entry["outputs"]) == ["8"]
            assert (job.status, job.outputs, job.attention) == ("failed", [], deaf)
            assert job.error is not None
            assert job.error.code == code
            server.clear_faults("oom")
            job = await running.end_of(await running.submit(half_done()))
            assert (job.status, len(job.outputs)) == ("completed", 2)


async def test_a_backend_whose_node_list_is_over_the_limit_says_which_setting_lets_it_in(tmp_path: Path) -> None:
    limits = LimitSettings(backend_json_bytes=10_000)
    async with Sandbox(FAST).serve() as server, core(tmp_path, [backend_for(server, "one")], limits=limits) as running:
        with anyio.fail_after(20):
            while "limits.backend_json_bytes" not in (running.service.backend("one").reason or ""):  # noqa: ASYNC110 - views have no events
                await anyio.sleep(0.01)
        assert running.service.backend("one").status == "offline"
