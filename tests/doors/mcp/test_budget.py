"""What a task costs an agent: calls, and tokens of all that passes between it and the tools."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ImageContent, ResourceLink, TextContent
from PIL import Image

from orchestrator_mcp.app import Orchestrator, orchestrator
from orchestrator_mcp.settings import load_settings

LIBRARY = Path(__file__).parents[3] / "workflows"
MOST_CALLS = 8
MOST_TOKENS = 12_000
BYTES_A_TOKEN = 4
PIXELS_A_TOKEN = 750  # what models charge for pictures, about


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    shutil.copytree(LIBRARY, tmp_path / "workflows")
    config = tmp_path / "config.yaml"
    config.write_text("data_dir: ./data\n", encoding="utf-8")
    with anyio.fail_after(120):
        async with orchestrator(load_settings(config, port=0, environ={})) as running:
            yield running


class Meter:
    """A client that counts what a model would pay for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = 0
        self.tokens = 0.0
        self.pictures: list[Image.Image] = []

    async def list_tools(self) -> None:
        listed = await self._client.list_tools()
        self._count(json.dumps([tool.model_dump(by_alias=True, exclude_none=True) for tool in listed.tools]))
        self._count(self._client.instructions or "")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        self.calls += 1
        self._count(tool + json.dumps(arguments))
        result = await self._client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        structured: dict[str, Any] = result.structured_content or {}
        for part in result.content:
            if isinstance(part, TextContent):  # hosts show the text or the structure, which say the same
                self._count(part.text)
            elif isinstance(part, ResourceLink):
                self._count(part.model_dump_json(by_alias=True, exclude_none=True))
            else:
                assert isinstance(part, ImageContent)
                picture = Image.open(io.BytesIO(base64.b64decode(part.data)))
                self.tokens += picture.width * picture.height / PIXELS_A_TOKEN
                self.pictures.append(picture)
        return structured

    def _count(self, text: str) -> None:
        self.tokens += len(text.encode()) / BYTES_A_TOKEN


async def test_three_variants_looked_at_and_one_more_cancelled_cost_eight_calls_and_twelve_thousand_tokens(
    live: Orchestrator,
) -> None:
    async with Client(streamable_http_client(f"{live.url}/mcp")) as client:
        meter = Meter(client)
        await meter.list_tools()
        library = await meter.call("list_workflows", search="my_workflow_001")
        assert "prompt" in library["workflows"][0]["parameters_schema"]["properties"]
        wish = {"prompt": "a harbour at dusk, wide shot", "steps": 4}
        batch = await meter.call(
            "submit_job", workflow_id="my_workflow_001", parameters=wish, batch={"seed": {"count": 3}}
        )
        status = await meter.call("job_status", job_id=batch["job_id"], wait_seconds=45)
        assert (status["status"], status["counts"]["completed"]) == ("completed", 3)
        assert len({output["url"] for output in status["outputs"]}) == 3
        await meter.call("get_preview", job_id=batch["job_id"])
        more = await meter.call("submit_job", workflow_id="my_workflow_001", parameters={**wish, "steps": 2000})
        await meter.call("cancel_job", job_id=more["job_id"])
        ended = await meter.call("job_status", job_id=more["job_id"], wait_seconds=45)
        assert ended["status"] == "cancelled"
    assert len(meter.pictures) == 1
    assert meter.calls <= MOST_CALLS
    assert meter.tokens <= MOST_TOKENS, f"{meter.tokens:.0f} tokens"
