"""Why a job waits, in words that help; and what unblocks it is noticed without anybody asking."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator_mcp.domain.views import JobView, WaitingView
from orchestrator_mcp.doors.mcp.answers import job_answer
from tests.partners import SandboxFactory, sandboxes, text_to_image
from tests.preflight.farm import named, pool_of, with_models, without
from tests.scheduler.core import PICTURE, Core, core

__all__ = ["sandboxes"]

THEN = datetime(2026, 1, 1, tzinfo=UTC)
SD15 = "checkpoints/sd15.safetensors"
LACKING = "it lacks the model sd15.safetensors; it has sd15-pruned.safetensors"


async def reasons(running: Core, job_id: str) -> dict[str | None, str]:
    return {why.backend_id: why.reason for why in (await running.service.job(job_id)).waiting_because}


async def test_what_each_backend_lacks_is_told_with_what_it_has_instead(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    other = await sandboxes(models=("checkpoints/sd15-pruned.safetensors",))
    poor, away = await sandboxes(without=("KSampler",)), await sandboxes()
    await away.stop()
    async with core(tmp_path, named({"other": other, "poor": poor, "away": away})) as running:
        await running.until_backend("other", "idle")
        await running.until_backend("poor", "idle")
        job_id = await running.submit(text_to_image())
        told = await reasons(running, job_id)
        assert told["other"] == LACKING
        assert told["poor"] == "it lacks the node class KSampler (of another version of ComfyUI; other has it)"
        assert (told["away"] or "").startswith("it is offline")
        [listed] = (await running.service.jobs()).jobs
        assert {why.backend_id: why.reason for why in listed.waiting_because} == told


async def test_a_pinned_job_is_told_of_its_own_backend_alone(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    one, two = await sandboxes(), await sandboxes()
    await two.stop()
    async with core(tmp_path, named({"one": one, "two": two})) as running:
        await running.until_backend("one", "idle")
        job_id = await running.submit(text_to_image(), backend_affinity="two")
        assert list(await reasons(running, job_id)) == ["two"]


async def test_a_model_that_comes_while_the_farm_runs_unblocks_the_job_that_waits_for_it(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server, away = await sandboxes(models=without(SD15)), await sandboxes()
    await away.stop()
    async with core(tmp_path, named({"one": server, "away": away})) as running:
        await running.until_backend("one", "idle")
        job_id = await running.submit(text_to_image())
        assert "it lacks the model" in (await reasons(running, job_id))["one"]
        with_models(server, SD15)
        assert (await running.end_of(job_id)).backend_id == "one"


async def test_what_went_wrong_where_a_job_was_tried_is_told_with_the_backend(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server, away = await sandboxes(), await sandboxes()
    await away.stop()
    async with core(tmp_path, named({"one": server, "away": away})) as running:
        await running.until_backend("one", "idle")
        graph = {**PICTURE, "1": {"class_type": "LoadImage", "inputs": {"image": "nowhere.png"}}}
        job_id = await running.submit(graph)
        tried = await running.until_so(job_id, lambda job: job.status == "queued" and len(job.attempts) == 1)
        told = {why.backend_id: why.reason for why in tried.waiting_because}
        assert told["one"].startswith("an earlier attempt failed there: ") and "nowhere.png" in told["one"]
        assert told["away"].startswith("it is offline")


async def test_a_free_backend_is_not_said_to_be_passed_over_for_a_job_that_nobody_has_looked_at(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    async with core(tmp_path, named({"one": await sandboxes()})) as running:
        await running.until_backend("one", "idle")
        stuck = await running.submit(text_to_image(), required_capabilities=["nowhere"])
        assert await reasons(running, stuck) == {"one": "it lacks the capabilities nowhere"}
        await running.end_of(await running.submit(text_to_image()))
        foresight, waits = pool_of(running).foresight, (await running.service._store.job(stuck)).lane
        assert foresight.left_idle(waits) == {"one"}
        assert foresight.left_idle(replace(waits, capabilities=frozenset())) == frozenset()


def test_an_agent_is_told_in_one_sentence_why_a_job_waits() -> None:
    waiting = [
        WaitingView(backend_id="a", reason=LACKING),
        WaitingView(backend_id="b", reason=LACKING),
        WaitingView(backend_id="c", reason="it is offline: it has not answered yet"),
    ]
    view = JobView(job_id="1", status="queued", workflow_id="w", submitted_at=THEN, waiting_because=waiting)
    told = job_answer(view).next_step
    assert told.startswith(f"It waits: a, b: {LACKING}; c: it is offline: it has not answered yet. Call job_status")
