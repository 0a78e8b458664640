"""The agents' door in front of everything: a real store, a real scheduler, and the built-in sandbox."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from orchestrator_mcp.app import Orchestrator, orchestrator
from orchestrator_mcp.settings import load_settings

LIBRARY = Path(__file__).parents[3] / "workflows"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    """The whole orchestrator in a folder of its own."""
    shutil.copytree(LIBRARY, tmp_path / "workflows")
    config = tmp_path / "config.yaml"
    config.write_text("data_dir: ./data\n", encoding="utf-8")
    settings = load_settings(config, port=0, environ={})
    with anyio.fail_after(60):
        async with orchestrator(settings) as running:
            yield running


def told(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error and isinstance(result.structured_content, dict), result.content
    return result.structured_content


def refused(result: CallToolResult) -> str:
    assert result.is_error and isinstance(result.content[0], TextContent)
    return result.content[0].text


async def test_an_agent_gets_from_a_wish_to_pictures(live: Orchestrator) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with Client(sse_client(f"{live.url}/sse")) as client:
        library = told(await client.call_tool("list_workflows", {"search": "my_workflow"}))
        assert library["workflows"][0]["parameters_schema"]["properties"].keys() >= {"prompt", "steps", "seed"}
        job = {"workflow_id": "my_workflow_001", "parameters": {"prompt": "dusk", "steps": 40, "seed": -1}}
        job_id = told(await client.call_tool("submit_job", job))["job_id"]
        asked = {"job_id": job_id, "wait_seconds": 45}
        status = told(await client.call_tool("job_status", asked, progress_callback=hear))
        assert told(await client.call_tool("list_backends", {}))["online"] == 1
        assert "already completed" in refused(await client.call_tool("cancel_job", {"job_id": job_id}))
    assert (status["status"], status["sandbox"]) == ("completed", True)
    assert list(status["seeds"].values())[0] >= 0
    assert heard == sorted(set(heard)) and heard
    (output,) = status["outputs"]
    async with httpx.AsyncClient(trust_env=False) as http:
        fetched = await http.get(output["url"])
    assert (len(fetched.content), fetched.headers["content-type"]) == (output["size"], output["media_type"])


async def test_an_agent_sees_one_result_and_several_side_by_side(live: Orchestrator) -> None:
    async with Client(sse_client(f"{live.url}/sse")) as client:
        job_ids = []
        for seed in (12, 13, 14):
            job = {"workflow_id": "my_workflow_001", "parameters": {"steps": 2, "seed": seed}}
            job_ids.append(told(await client.call_tool("submit_job", job))["job_id"])
        for job_id in job_ids:
            status = told(await client.call_tool("job_status", {"job_id": job_id, "wait_seconds": 45}))
            assert "get_preview" in status["next_step"]
        words, picture = looked_at(await client.call_tool("get_preview", {"job_id": job_ids[0]}))
        assert status["outputs"][0]["media_type"] in words and max(picture.size) <= 768
        words, sheet = looked_at(await client.call_tool("get_preview", {"job_id": job_ids, "longest": 1024}))
        assert all(f"{number}. {job_id} completed: seed" in words for number, job_id in enumerate(job_ids, start=1))
        assert max(sheet.size) <= 1024
        assert "no job" in refused(await client.call_tool("get_preview", {"job_id": "nope"}))


async def test_an_agent_sees_a_render_under_way_and_hears_that_it_is_not_the_result(live: Orchestrator) -> None:
    heard: list[float] = []
    well_under_way = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        if len(heard) > 1:  # twenty steps after the first, whose frame is there by then
            well_under_way.set()

    async with Client(live.agents) as client, anyio.create_task_group() as tasks:
        job = {"workflow_id": "my_workflow_001", "parameters": {"steps": 2000}}
        job_id = told(await client.call_tool("submit_job", job))["job_id"]

        async def wait() -> None:
            asked = {"job_id": job_id, "wait_seconds": 45}
            await client.call_tool("job_status", asked, progress_callback=hear)

        tasks.start_soon(wait)
        await well_under_way.wait()
        words, frame = looked_at(await client.call_tool("get_preview", {"job_id": job_id}))
        assert "not its result" in words and "test slate" in words and max(frame.size) <= 768
        told(await client.call_tool("cancel_job", {"job_id": job_id}))


def looked_at(result: CallToolResult) -> tuple[str, Image.Image]:
    """The words and the picture that a client shows: content blocks, and no structure that would hide them."""
    assert not result.is_error and result.structured_content is None
    words, image = result.content
    assert isinstance(words, TextContent) and isinstance(image, ImageContent) and image.mime_type == "image/jpeg"
    assert len(image.data) < 550_000
    return words.text, Image.open(io.BytesIO(base64.b64decode(image.data)))


async def test_a_job_is_cancelled_and_the_wait_for_it_ends(live: Orchestrator) -> None:
    async with Client(live.agents) as client:
        job = {"workflow_id": "my_workflow_001", "parameters": {"steps": 2000}}
        job_id = told(await client.call_tool("submit_job", job))["job_id"]
        told(await client.call_tool("cancel_job", {"job_id": job_id}))
        status = told(await client.call_tool("job_status", {"job_id": job_id, "wait_seconds": 45}))
    assert status["status"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"workflow_id": "my_workflow_002"}, "Did you mean my_workflow_001?"),
        ({"workflow_id": "my_workflow_001", "parameters": {"stepz": 3}}, "parameters.stepz"),
        ({"workflow_id": "my_workflow_001", "backend_affinity": "sandbok"}, "backend_affinity"),
        ({"workflow_id": "../../etc/passwd"}, "no workflow"),
        ({"workflow": {"1": {"inputs": {}}}}, "class_type"),
        ({"workflow_id": "my_workflow_001", "parameters": {"cfg": "high"}}, "parameters.cfg"),
        ({"workflow_id": "my_workflow_001", "metadata": {"x": "\ud800"}}, "metadata"),
    ],
)
async def test_a_wrong_submission_is_refused_with_the_mend(
    live: Orchestrator, arguments: dict[str, Any], expected: str
) -> None:
    async with Client(live.agents) as client:
        assert expected in refused(await client.call_tool("submit_job", arguments))


async def test_the_same_key_gives_the_same_job_and_another_manifest_is_refused(live: Orchestrator) -> None:
    job = {"workflow_id": "model_free_card", "idempotency_key": "shot-7"}
    async with Client(live.agents) as client:
        first = told(await client.call_tool("submit_job", job))
        again = told(await client.call_tool("submit_job", job))
        other = refused(await client.call_tool("submit_job", {**job, "priority": 3}))
    assert first["job_id"] == again["job_id"]
    assert first["job_id"] in other


async def test_a_job_that_does_not_exist_is_said_so(live: Orchestrator) -> None:
    async with Client(live.agents) as client:
        for job_id in ("nope", "\x00", "'; DROP TABLE jobs", "9" * 100):
            for tool, extra in (("job_status", {}), ("job_status", {"wait_seconds": 1}), ("cancel_job", {})):
                assert "no job" in refused(await client.call_tool(tool, {"job_id": job_id, **extra}))
