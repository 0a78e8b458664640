"""A dry run tells what a job would be and who could render it, through each door, and queues nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from mcp import Client

from orchestrator_mcp.app import orchestrator
from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.settings import load_settings
from tests.partners import SandboxFactory, picture_graph, sandboxes, text_to_image

__all__ = ["sandboxes"]

SUBMIT = "/api/job"
DRY = "/api/job?dry_run=1"


@asynccontextmanager
async def farm(folder: Path, limits: dict[str, Any] | None = None, **servers: SandboxServer) -> AsyncIterator[Any]:
    """A whole orchestrator before some servers, as its HTTP client."""
    entries = [{"id": name, "host": "127.0.0.1", "port": server.port} for name, server in servers.items()]
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data_dir": "./data",
                "backends": entries,
                "scheduling": {"probe_interval": 0.05},
                "limits": limits or {},
            }
        )
    )
    with anyio.fail_after(60):
        async with (
            orchestrator(load_settings(config, port=0, environ={})) as running,
            httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=30) as http,
        ):
            while not all(one["online"] for one in (await http.get("/api/backends")).json() if one["id"] != "away"):  # noqa: ASYNC110 - views have no events
                await anyio.sleep(0.02)
            yield http


async def jobs(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await http.get("/api/jobs")).json()["jobs"]
    return listed


async def test_it_gives_the_graph_the_backends_and_the_reasons_of_the_others(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    poor, away = await sandboxes(without=("KSampler",)), await sandboxes()
    await away.stop()
    async with farm(tmp_path, rich=await sandboxes(), poor=poor, away=away) as http:
        manifest = {"workflow": text_to_image(), "parameters": {"3.steps": 7, "seed": -1}, "odd": 1}
        response = await http.post(DRY, json=manifest)
        assert response.status_code == 200
        told = response.json()
        assert (told["dry_run"], told["workflow_id"], told["would_wait"]) == (True, "workflow", False)
        assert told["graph"]["3"]["inputs"]["steps"] == 7
        assert told["graph"]["3"]["inputs"]["seed"] == told["seeds"]["3.seed"]
        assert told["parameters"]["3.steps"] == 7
        assert "odd" in told["warnings"][0]
        rich, lacking, offline = told["backends"]
        assert rich == {"backend_id": "rich", "can_run": True, "reasons": []}
        assert (lacking["backend_id"], lacking["can_run"]) == ("poor", False)
        assert lacking["reasons"] == ["it lacks the node class KSampler (of another version of ComfyUI; rich has it)"]
        assert (offline["backend_id"], offline["can_run"]) == ("away", None)
        assert await jobs(http) == []


async def test_it_says_that_a_job_would_wait_while_the_only_backend_is_busy(
    sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    server = await sandboxes(faults=("freeze",))
    async with farm(tmp_path, one=server) as http:
        await http.post(SUBMIT, json={"workflow": text_to_image()})
        await server.until(lambda one: one.queue.running is not None)
        told = (await http.post(DRY, json={"workflow": picture_graph()})).json()
        assert told["backends"][0]["can_run"] is True
        assert told["would_wait"] is True


async def test_what_would_be_refused_is_refused_in_the_same_words(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with farm(tmp_path, one=await sandboxes()) as http:
        wrong: list[dict[str, Any]] = [
            {"workflow": text_to_image(checkpoint="absent.safetensors")},
            {"workflow": text_to_image(width=1)},
            {"workflow": {}},
            {"workflow": text_to_image(), "parameters": {"nonsense": 1}},
        ]
        for manifest in wrong:
            dry, real = await http.post(DRY, json=manifest), await http.post(SUBMIT, json=manifest)
            assert dry.status_code == real.status_code == 422
            assert dry.json() == real.json()
        assert await jobs(http) == []


async def test_a_refusal_carries_the_table_of_backends(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with farm(tmp_path, one=await sandboxes()) as http:
        refused = (await http.post(SUBMIT, json={"workflow": text_to_image(checkpoint="sd1.5.safetensors")})).json()
        assert refused["code"] == "no_backend_can"
        reason = "it lacks the model sd1.5.safetensors; it has sd15.safetensors"
        assert refused["backends"] == {"one": reason}
        assert refused["detail"][0]["msg"] == f"one cannot run it: {reason}"


async def test_it_takes_no_idempotency_key(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with farm(tmp_path, one=await sandboxes()) as http:
        key = {"Idempotency-Key": "k"}
        assert (await http.post(DRY, json={"workflow": picture_graph("a")}, headers=key)).status_code == 200
        other = await http.post(SUBMIT, json={"workflow": picture_graph("b")}, headers=key)
        assert other.status_code == 202


async def test_it_counts_as_a_submission(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    limits = {"submits_per_second": 0.01, "submit_burst": 2}
    async with farm(tmp_path, limits, one=await sandboxes()) as http:
        answers = [(await http.post(DRY, json={"workflow": picture_graph()})).status_code for _ in range(3)]
        assert answers == [200, 200, 429]


@pytest.mark.parametrize("value", ["2", "yes", "True"])
async def test_a_wish_that_is_neither_yes_nor_no_is_refused_and_queues_nothing(
    value: str, sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    async with farm(tmp_path, one=await sandboxes()) as http:
        refused = await http.post(f"/api/job?dry_run={value}", json={"workflow": picture_graph()})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["query", "dry_run"]
        assert await jobs(http) == []


async def test_a_misspelt_wish_is_refused_because_it_would_render(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with farm(tmp_path, one=await sandboxes()) as http:
        refused = await http.post("/api/job?dryrun=1", json={"workflow": picture_graph()})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["query", "dryrun"]
        assert refused.json()["detail"][0]["allowed"] == ["dry_run"]
        assert await jobs(http) == []


@pytest.mark.parametrize("path", [SUBMIT, DRY])
async def test_a_wish_in_the_body_is_refused_because_as_an_unknown_field_it_would_render(
    path: str, sandboxes: SandboxFactory, tmp_path: Path
) -> None:
    async with farm(tmp_path, one=await sandboxes()) as http:
        refused = await http.post(path, json={"workflow": picture_graph(), "dry_run": True})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", "dry_run"]
        assert "?dry_run=1" in refused.json()["hint"]
        assert await jobs(http) == []
        taken = await http.post(SUBMIT, json={"workflow": picture_graph(), "dry_run": False})
        assert taken.status_code == 202


async def test_a_batch_is_not_tried_and_not_queued_either(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with farm(tmp_path, one=await sandboxes()) as http:
        manifest = {"workflow": text_to_image(), "batch": {"seed": [1, 2]}}
        assert (await http.post(DRY, json=manifest)).status_code == 422
        assert await jobs(http) == []


async def test_an_agent_is_told_the_same_in_a_small_answer(sandboxes: SandboxFactory, tmp_path: Path) -> None:
    async with farm(tmp_path, one=await sandboxes(), poor=await sandboxes(without=("KSampler",))) as http:
        async with Client(f"{http.base_url}/mcp") as agent:
            answer = await agent.call_tool("submit_job", {"workflow": text_to_image(seed=5), "dry_run": True})
            told = answer.structured_content
            assert told is not None
            assert told["status"] == "not queued"
            assert "job_id" not in told
            assert told["dry_run"]["backends"][0] == "one: can run it"
            assert told["dry_run"]["backends"][1].startswith("poor: cannot run it: it lacks the node class KSampler")
            assert told["dry_run"]["graph"]["3"]["inputs"]["seed"] == 5
            long = {
                str(n): {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}} for n in range(100, 400)
            }
            answer = await agent.call_tool("submit_job", {"workflow": {**text_to_image(), **long}, "dry_run": True})
            assert answer.structured_content is not None
            assert answer.structured_content["dry_run"]["graph"] == "left out: it is too long"
            assert len(json.dumps(answer.structured_content)) < 10_000
            refused = await agent.call_tool("submit_job", {"workflow": text_to_image(width=1), "dry_run": True})
            assert refused.is_error
            assert "width is 1; at least 16 is needed" in str(refused.content)
        assert await jobs(http) == []
