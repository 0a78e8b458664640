"""Other makers' clients, each through a whole job: from the list of tools to a picture that was looked at."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from tests.cli.program import environment
from tests.foreign import FOREIGN, node_of, without

HERE = Path(__file__).parent
SECONDS = 90
TOOLS = {"submit_job", "job_status", "list_backends", "cancel_job", "list_workflows", "get_preview", "list_jobs"}
TRANSPORTS = ("http", "sse", "stdio")
V1 = FOREIGN / "v1/bin/python" if FOREIGN else Path("v1")
NODE = node_of(FOREIGN) if FOREIGN else None
SDKS = FOREIGN / "node_modules/@modelcontextprotocol" if FOREIGN else Path("sdk")

pytestmark = [
    pytest.mark.clients,
    pytest.mark.xdist_group("clients"),
    pytest.mark.skipif(FOREIGN is None, reason="FOREIGN_CLIENTS names no folder, see docs/mcp.md"),
]


def found_by(command: Sequence[str], folder: Path) -> dict[str, Any]:
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def check(found: dict[str, Any]) -> None:
    assert set(found["tools"]) >= TOOLS
    status = found["status"]
    assert (status["status"], status["sandbox"]) == ("completed", True)
    (output,) = status["outputs"]
    assert output["media_type"] == "image/png" and output["url"].startswith("http://") and output["size"] > 0
    assert found["preview"] == ["text", "image"]
    assert found["progress"] == sorted(set(found["progress"]))
    assert "sampler" in found["refused"]


@pytest.mark.skipif(without(V1), reason="the Python SDK of the older line is not in FOREIGN_CLIENTS")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_older_python_sdk(transport: str, target: list[str], tmp_path: Path) -> None:
    script = [str(V1), "-W", "ignore", str(HERE / "whole_job_v1.py"), transport]
    found = found_by([*script, *target], tmp_path)
    check(found)
    assert found["revision"] == "2025-11-25"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("line", "package"), [("v1", "sdk"), ("v2", "client")])
def test_the_typescript_sdk(line: str, package: str, transport: str, target: list[str]) -> None:
    if NODE is None or FOREIGN is None or without(SDKS / package):
        pytest.skip("Node.js or the TypeScript SDK is not in FOREIGN_CLIENTS")
    script = [NODE, str(HERE / "whole_job.mjs"), line, transport]
    found = found_by([*script, *target], FOREIGN)
    check(found)
    if line == "v2":
        assert found["revision"] == "2026-07-28"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_newer_python_sdk(mode: Any, transport: str, target: list[str]) -> None:
    told: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    def structured(result: CallToolResult) -> dict[str, Any]:
        assert isinstance(result.structured_content, dict), result.content
        return result.structured_content

    streams: Any = stdio_client(StdioServerParameters(command=target[0], args=target[1:]))
    if transport != "stdio":
        streams = sse_client(target[0]) if transport == "sse" else streamable_http_client(target[0])
    with anyio.fail_after(SECONDS):
        async with Client(streams, mode=mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            wish = {"workflow_id": "my_workflow_001", "parameters": {"steps": 6, "seed": 7}}
            job_id = structured(await client.call_tool("submit_job", wish))["job_id"]
            asked = {"job_id": job_id, "wait_seconds": 45}
            status = structured(await client.call_tool("job_status", asked, progress_callback=hear))
            preview = await client.call_tool("get_preview", {"job_id": job_id})
            wrong = await client.call_tool("submit_job", {"workflow": {}, "sampler": 1})
    check(
        {
            "tools": tools,
            "status": status,
            "preview": [block.type for block in preview.content],
            "progress": told,
            "refused": str(wrong.content[0]),
        }
    )
