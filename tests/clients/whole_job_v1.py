"""A whole job through the Python SDK of the older line: python whole_job_v1.py http|sse|stdio TARGET...

Runs in an environment of its own, so it takes nothing from this project. Prints what it found as JSON.
"""

# mypy: ignore-errors
# Its SDK is not the one that is installed here.

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


def connect(transport: str, target: list[str]) -> Any:
    if transport == "stdio":
        return stdio_client(StdioServerParameters(command=target[0], args=target[1:]))
    return {"http": streamablehttp_client, "sse": sse_client}[transport](target[0])


async def main(transport: str, *target: str) -> None:
    told: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(connect(transport, list(target)))
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        found = await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        wish = {"workflow_id": "my_workflow_001", "parameters": {"steps": 6, "seed": 7}}
        accepted = (await session.call_tool("submit_job", wish)).structuredContent
        asked = {"job_id": accepted["job_id"], "wait_seconds": 45}
        status = (await session.call_tool("job_status", asked, progress_callback=hear)).structuredContent
        preview = await session.call_tool("get_preview", {"job_id": accepted["job_id"]})
        wrong = await session.call_tool("submit_job", {"workflow": {}, "sampler": 1})
    said = {
        "revision": found.protocolVersion,
        "tools": tools,
        "status": status,
        "preview": [block.type for block in preview.content],
        "progress": told,
        "refused": wrong.isError and wrong.content[0].text,
    }
    sys.stdout.write(json.dumps(said) + "\n")


anyio.run(main, *sys.argv[1:])
