"""A job that no backend can run is refused at once, with each backend's reason; whatever is in doubt is queued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator_mcp.errors import NoBackendCanError
from orchestrator_mcp.settings import BackendSettings
from tests.partners import SandboxFactory, picture_graph, sandboxes, text_to_image
from tests.preflight.farm import count_looks, grow_old, look_again, named, until_known, with_models, without
from tests.scheduler.core import Core, backend_for, core, quick

__all__ = ["sandboxes"]

SD15 = "checkpoints/sd15.safetensors"


async def refusal(running: Core, graph: dict[str, Any], **fields: Any) -> dict[str, str]:
    """The table with which a graph is refused."""
    with pytest.raises(NoBackendCanError) as refused:
        await running.submit(graph, **fields)
    assert (await running.service.jobs()).jobs == []
    table: dict[str, str] = refused.value.details["backends"]
    assert all(backend_id in refused.value.message for backend_id in table)
    return table


async def test_it_is_refused_with_the_reason_of_each_backend(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    poor = await sandboxes(without=("KSampler",))
    other = await sandboxes(models=("checkpoints/sd15-pruned.safetensors",))
    async with core(tmp_path, named({"poor": poor, "other": other})) as running:
        await until_known(running)
        assert await refusal(running, text_to_image(seed=1)) == {
            "poor": "it lacks the node class KSampler (of another version of ComfyUI; other has it)",
            "other": "it lacks the model sd15.safetensors; it has sd15-pruned.safetensors",
        }


async def test_values_and_links_that_comfyui_refuses_are_refused_before(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    async with core(tmp_path, named({"one": await sandboxes()})) as running:
        await until_known(running)
        graph = text_to_image(width=1)
        told = {"one": "node 5 (EmptyLatentImage): width is 1; at least 16 is needed"}
        assert await refusal(running, graph) == told
        graph = text_to_image()
        graph["8"]["inputs"]["samples"] = ["4", 0]
        assert "samples takes LATENT" in (await refusal(running, graph))["one"]


async def test_a_refused_value_is_told_where_the_caller_wrote_it_with_what_is_allowed(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    servers = {"one": await sandboxes(), "other": await sandboxes()}
    async with core(tmp_path, named(servers)) as running:
        await until_known(running)
        with pytest.raises(NoBackendCanError) as refused:
            values = {"width": 1, "3.sampler_name": "eulr", "ckpt_name": "sd16.safetensors"}
            await running.submit(text_to_image(), parameters=values)
        places = {problem.path: problem for problem in refused.value.problems}
        assert set(places) == {("workflow",), *(("parameters", name) for name in values)}
        assert places["parameters", "width"].message == ("node 5 (EmptyLatentImage): width is 1; at least 16 is needed")
        assert "euler" in places["parameters", "3.sampler_name"].allowed
        model = places["parameters", "ckpt_name"]
        assert model.message.startswith("it lacks the model sd16.safetensors; it has sd15.safetensors")
        assert "sd15.safetensors" in model.allowed


async def test_one_backend_that_can_is_enough_and_gets_the_job(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    servers = {"poor": await sandboxes(without=("KSampler",)), "rich": await sandboxes()}
    async with core(tmp_path, named(servers)) as running:
        await until_known(running)
        ended = await running.end_of(await running.submit(text_to_image()))
        assert (ended.status, ended.backend_id) == ("completed", "rich")


@pytest.mark.parametrize("doubt", ["offline", "unknown"])
async def test_a_backend_that_nobody_knows_may_be_able_so_the_job_waits(
    doubt: str, sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    poor, away = await sandboxes(without=("KSampler",)), await sandboxes()
    if doubt == "unknown":
        await away.stop()
    async with core(tmp_path, named({"poor": poor, "away": away})) as running:
        await running.until_backend("poor", "idle")
        if doubt == "offline":
            await running.until_backend("away", "idle")
            await away.stop()
            await running.until_backend("away", "offline")
        job_id = await running.submit(text_to_image())
        reasons = {why.backend_id: why.reason for why in (await running.service.job(job_id)).waiting_because}
        assert "it lacks the node class" in reasons["poor"]
        assert "it is offline" in reasons["away"]
        await away.start()
        assert (await running.end_of(job_id)).backend_id == "away"


async def test_a_pinned_job_asks_only_its_backend(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    servers = {"poor": await sandboxes(without=("KSampler",)), "rich": await sandboxes()}
    async with core(tmp_path, named(servers)) as running:
        await until_known(running)
        assert list(await refusal(running, text_to_image(), backend_affinity="poor")) == ["poor"]
        await servers["rich"].stop()
        await running.until_backend("rich", "offline")
        assert list(await refusal(running, text_to_image(), backend_affinity="poor")) == ["poor"]
        await running.submit(text_to_image(), backend_affinity="rich")


async def test_labels_count_and_labels_alone_make_a_job_wait(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    poor, rich = await sandboxes(without=("KSampler",)), await sandboxes()
    backends = [backend_for(poor, "poor", capabilities=("fast",)), backend_for(rich, "rich")]
    async with core(tmp_path, backends) as running:
        await until_known(running)
        table = await refusal(running, text_to_image(), required_capabilities=["fast"])
        assert table["rich"] == "it lacks the capabilities fast"
        assert "KSampler" in table["poor"]
        job_id = await running.submit(text_to_image(), required_capabilities=["nobody-has-it"])
        assert (await running.service.job(job_id)).status == "queued"


async def test_a_backend_that_is_disabled_is_not_asked(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    poor, rich = await sandboxes(without=("KSampler",)), await sandboxes()
    async with core(tmp_path, [backend_for(poor, "poor"), backend_for(rich, "rich", enabled=False)]) as running:
        await running.until_backend("poor", "idle")
        assert list(await refusal(running, text_to_image())) == ["poor"]
        await running.submit(text_to_image(), backend_affinity="rich")


async def test_with_no_backend_at_all_jobs_wait(tmp_path: Path) -> None:
    none: list[BackendSettings] = []
    async with core(tmp_path, none) as running:
        job_id = await running.submit(text_to_image())
        assert (await running.service.job(job_id)).status == "queued"


async def test_a_picture_that_lies_on_no_backend_is_refused_with_the_nearest_before_it_is_queued(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes()
    loaded = {"class_type": "LoadImage", "inputs": {"image": "exampel.png"}}
    saved = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}}
    async with core(tmp_path, named({"one": server})) as running:
        await until_known(running)
        told = "node 1 (LoadImage): image: "
        told += "no file 'exampel.png' came with the job, and there is none in its input folder; near: example.png"
        assert await refusal(running, {"1": loaded, "2": saved}) == {"one": told}
        loaded["inputs"] = {"image": "example.png"}
        ended = await running.end_of(await running.submit({"1": loaded, "2": saved}))
        assert ended.status == "completed"


async def test_a_model_that_came_a_moment_ago_is_seen_before_anything_is_refused(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes(models=without(SD15))
    async with core(tmp_path, named({"one": server})) as running:
        await until_known(running)
        grow_old(running)
        with_models(server, SD15)
        ended = await running.end_of(await running.submit(text_to_image()))
        assert ended.status == "completed"


async def test_many_submissions_at_once_share_one_look(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    server = await sandboxes(models=without(SD15))
    async with core(tmp_path, named({"one": server})) as running:
        await until_known(running)
        grow_old(running)
        looks = count_looks(running, "one")
        tables = []

        async def submit(seed: int) -> None:
            with pytest.raises(NoBackendCanError) as refused:
                await running.submit(text_to_image(seed=seed))
            tables.append(refused.value.details["backends"])

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for seed in range(30):
                    tasks.start_soon(submit, seed)
        assert len(tables) == 30
        assert looks == ["one"]


async def test_a_backend_that_cannot_be_asked_now_is_in_doubt(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    server = await sandboxes(models=without(SD15))
    async with core(tmp_path, named({"one": server})) as running:
        await until_known(running)
        grow_old(running)
        server.set_fault("html-502:/object_info")
        job_id = await running.submit(text_to_image())
        assert (await running.service.job(job_id)).status == "queued"


async def test_what_was_accepted_before_under_the_same_key_is_answered_again(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes()
    async with core(tmp_path, named({"one": server})) as running:
        await until_known(running)
        first = await running.submit(text_to_image(), idempotency_key="k")
        await running.end_of(first)
        with_models(server, *without(SD15))
        await look_again(running)
        assert await running.submit(text_to_image(), idempotency_key="k") == first
        with pytest.raises(NoBackendCanError):
            await running.submit(text_to_image(), idempotency_key="another")


async def test_where_a_part_is_enough_a_part_that_fails_is_no_reason(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    graph = picture_graph()
    graph["9"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}}
    graph["8"] = {"class_type": "EmptyImage", "inputs": {"width": -1, "height": 64, "batch_size": 1, "color": 0}}
    async with core(tmp_path, named({"one": await sandboxes()}), quick(allow_partial=True)) as running:
        await until_known(running)
        ended = await running.end_of(await running.submit(graph))
        assert (ended.status, len(ended.outputs)) == ("completed", 1)


async def test_the_folders_of_windows_are_sent_as_the_backend_writes_them(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes(models=("checkpoints/xl\\base.safetensors",))
    async with core(tmp_path, named({"windows": server})) as running:
        await until_known(running)
        ended = await running.end_of(await running.submit(text_to_image(checkpoint="xl/base.safetensors")))
        assert ended.status == "completed", ended.error
