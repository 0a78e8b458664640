"""Writes the lists that a process which has just been started tells its host (`orchestrator_mcp/doors/mcp/lists.json`).

python scripts/write_lists.py
"""

from __future__ import annotations

import json
from typing import Any, cast

import anyio
from mcp import Client

from orchestrator_mcp.doors.mcp.lists import LISTS
from orchestrator_mcp.doors.mcp.tools import build_server
from orchestrator_mcp.service import JobService


async def main() -> None:
    nobody = cast(JobService, None)  # listing asks nothing of the farm
    async with Client(build_server(nobody, version="")) as client:
        lists = {
            "tools/list": {"tools": (await client.list_tools()).tools},
            "prompts/list": {"prompts": (await client.list_prompts()).prompts},
            "resources/templates/list": {
                "resourceTemplates": (await client.list_resource_templates()).resource_templates
            },
        }
    LISTS.write_text(json.dumps(lists, default=_on_the_wire, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _on_the_wire(told: Any) -> Any:
    return told.model_dump(mode="json", by_alias=True, exclude_none=True)


if __name__ == "__main__":
    anyio.run(main)
