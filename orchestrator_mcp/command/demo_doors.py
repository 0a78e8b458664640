"""How the demo hands a job in at each of the three doors, just as a caller of its own would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.command.api import Api
from orchestrator_mcp.domain.views import AcceptedView, JobListView
from orchestrator_mcp.errors import UnavailableError

WORKFLOW: Final = "my_workflow_001"
FILE_NAME: Final = "harbour.json"
_LOOK: Final = 0.05  # seconds between two looks for the job of the dropped file


async def submit_by_mcp(url: str) -> str:
    """Call the tool `submit_job` as an agent does; the job's id.

    Args:
        url: of the orchestrator.

    Raises:
        UnavailableError: the tool said no.
    """
    arguments = {
        "workflow_id": WORKFLOW,
        "parameters": {"prompt": "a lighthouse on a cliff at dusk, long exposure", "seed": 1},
        "metadata": {"source": "demo-mcp"},
    }
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        answer = await client.call_tool("submit_job", arguments)
    if answer.is_error or answer.structured_content is None:
        raise UnavailableError(f"The tool submit_job said: {answer.content}")
    return str(answer.structured_content["job_id"])


async def submit_by_http(api: Api) -> str:
    """POST a manifest; the job's id.

    Args:
        api: of the orchestrator.
    """
    manifest = {
        "workflow_id": WORKFLOW,
        "parameters": {"prompt": "cinematic shot of a night train", "seed": 2},
        "metadata": {"source": "demo-http"},
    }
    return api.read(AcceptedView, await api.post("/api/job", manifest)).job_id


async def submit_by_file(api: Api, inbox: Path, clock: Clock) -> str:
    """Drop a manifest into the Inbox, and wait until it has become a job; its id.

    Args:
        api: of the orchestrator.
        inbox: the folder.
        clock: the time.
    """
    manifest = {
        "workflow_id": WORKFLOW,
        "parameters": {"prompt": "a harbour in the fog, first light", "seed": 3},
        "metadata": {"source": "demo-inbox"},
    }
    known = await _jobs_by_file(api)
    (inbox / FILE_NAME).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    while not (new := await _jobs_by_file(api) - known):
        await clock.sleep(_LOOK)
    return new.pop()


async def _jobs_by_file(api: Api) -> set[str]:
    page = api.read(JobListView, await api.get("/api/jobs", source="demo-inbox"))
    return {job.job_id for job in page.jobs}
