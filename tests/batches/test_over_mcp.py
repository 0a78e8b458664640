"""Batches through the agents' door, with everything real behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, ImageContent, TextContent

from orchestrator_mcp.app import Choices, orchestrator
from orchestrator_mcp.doors.mcp.tools import AgentServer
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.settings import load_settings
from tests.partners import picture_graph
from tests.world.house import backend, configured, write_config

MOST_BYTES = 20_000


@pytest.fixture
async def agents(tmp_path: Path, sandbox: SandboxServer) -> AsyncIterator[AgentServer]:
    """The MCP server of a whole orchestrator over one backend."""
    settings = load_settings(write_config(tmp_path, configured(backend("one", sandbox))), environ={})
    with anyio.fail_after(60):
        async with orchestrator(settings, Choices(any_port=True)) as running:
            yield running.agents


def told(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error and isinstance(result.structured_content, dict), result.content
    assert len(result.model_dump_json().encode()) <= MOST_BYTES
    return result.structured_content


async def test_an_agent_gets_a_batch_by_the_tools_that_it_knows(agents: AgentServer) -> None:
    heard: list[str | None] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async with Client(agents) as client:
        wish = {"workflow": picture_graph(), "batch": {"1.color": list(range(6))}}
        accepted = told(await client.call_tool("submit_job", wish))
        assert "a batch of 6 jobs" in accepted["next_step"]
        asked = {"job_id": accepted["job_id"], "wait_seconds": 45}
        status = told(await client.call_tool("job_status", asked, progress_callback=hear))
        assert (status["status"], status["progress"], status["counts"]["completed"]) == ("completed", 1.0, 6)
        assert len(status["outputs"]) == 6
        assert heard and all(message and "of 6 jobs have ended" in message for message in heard)
        seen = await client.call_tool("get_preview", {"job_id": accepted["job_id"]})
        assert any(isinstance(part, ImageContent) for part in seen.content)
        ended = told(await client.call_tool("cancel_job", {"job_id": accepted["job_id"]}))
        assert ended["status"] == "completed"


async def test_the_failed_jobs_of_a_batch_are_named_with_their_reasons(
    agents: AgentServer, sandbox: SandboxServer
) -> None:
    sandbox.set_fault("runtime-error")
    async with Client(agents) as client:
        wish = {"workflow": picture_graph(), "batch": {"1.color": list(range(40))}}
        accepted = told(await client.call_tool("submit_job", wish))
        status = told(await client.call_tool("job_status", {"job_id": accepted["job_id"], "wait_seconds": 45}))
        assert status["error"]["code"] == "jobs_failed"
        assert status["error"]["message"].startswith("40 of 40 jobs failed: ")
        assert "RuntimeError" in status["error"]["message"]
        assert "rerun_of" in status["next_step"]


async def test_a_large_batch_is_told_in_few_words_and_can_be_cancelled(
    agents: AgentServer, sandbox: SandboxServer
) -> None:
    sandbox.set_fault("freeze")
    async with Client(agents) as client:
        wish = {"workflow": picture_graph(), "batch": {"1.color": {"count": 2000, "strategy": "sequential", "base": 0}}}
        accepted = told(await client.call_tool("submit_job", wish))
        status = told(await client.call_tool("job_status", {"job_id": accepted["job_id"]}))
        assert status["status"] in ("queued", "running")
        assert sum(status["counts"].values()) == 2000
        cancelled = told(await client.call_tool("cancel_job", {"job_id": accepted["job_id"]}))
        assert cancelled["job_id"] == accepted["job_id"]


async def test_a_wrong_batch_is_refused_in_words_that_lead_on(agents: AgentServer) -> None:
    async with Client(agents) as client:
        wish = {"workflow": picture_graph(), "batch": {"1.color": [1, 2], "1.width": [64], "mode": "zip"}}
        refused = await client.call_tool("submit_job", wish)
        assert refused.is_error and isinstance(refused.content[0], TextContent)
        assert "'1.color' has 2, '1.width' has 1" in refused.content[0].text
        unknown = await client.call_tool("job_status", {"job_id": "batch-1"})
        assert unknown.is_error and "There is no batch" in json.dumps(unknown.model_dump(mode="json"))
