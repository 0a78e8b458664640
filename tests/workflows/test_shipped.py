"""The shipped workflows, from their file to a picture on a ComfyUI-shaped server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.domain.jobs import new_job_id
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.settings import LimitSettings
from orchestrator_mcp.workflows.library import WorkflowLibrary
from orchestrator_mcp.workflows.parameters import apply
from orchestrator_mcp.workflows.prefixes import isolate_outputs
from tests.workflows.binding import targets_for

SHIPPED = Path(__file__).parents[2] / "workflows"


@pytest.mark.parametrize(
    ("workflow_id", "parameters", "output"),
    [
        ("my_workflow_001", {"prompt": "cinematic shot", "steps": 20, "seed": -1}, "9"),
        ("model_free_card", {"width": 64, "height": 36, "color": 255}, "3"),
    ],
)
async def test_a_shipped_workflow_renders_where_its_job_says(
    sandbox: SandboxServer, workflow_id: str, parameters: dict[str, Any], output: str
) -> None:
    workflow = await WorkflowLibrary([SHIPPED], LimitSettings).get(workflow_id)
    bound = targets_for(workflow.graph, parameters, {})
    job_id = new_job_id(SystemClock().now())
    graph = isolate_outputs(apply(workflow.graph, bound.targets, bound.values, bound.seeds), job_id)
    with anyio.fail_after(20):
        async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=10) as client:
            answer = await client.post("/prompt", json={"prompt": graph})
            assert (answer.status_code, answer.json().get("node_errors")) == (200, {})
            prompt_id = answer.json()["prompt_id"]
            await sandbox.until_ended(prompt_id)
            entry = (await client.get(f"/history/{prompt_id}")).json()[prompt_id]
    assert entry["status"]["status_str"] == "success"
    (image,) = entry["outputs"][output]["images"]
    assert image["subfolder"] == f"orch/{job_id}/{output}"
    assert image["filename"].startswith(workflow_id)
