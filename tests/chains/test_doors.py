"""Doing a job again from an agent and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import httpx
from mcp import Client

from orchestrator_mcp.doors.mcp.tools import build_server
from tests.chains.graphs import CARD
from tests.cli.program import run, served
from tests.doors.mcp.farm import JOB, ServiceDouble


async def test_an_agent_does_a_job_again_by_its_id(tmp_path: Path) -> None:
    farm = ServiceDouble()
    with anyio.fail_after(10):
        async with Client(build_server(farm, version="1.2.3"), mode="auto") as client:
            answer = await client.call_tool("submit_job", {"rerun_of": JOB, "parameters": {"steps": 30}})
            assert not answer.is_error, answer.content
            refused = await client.call_tool("submit_job", {"rerun_of": JOB, "workflow_id": "other"})
            assert refused.is_error
    manifest = farm.submitted[0].manifest
    assert (manifest.rerun_of, manifest.parameters, manifest.workflow) == (JOB, {"steps": 30}, None)
    assert "priority" not in manifest.model_fields_set, "the first job says it"


def test_the_command_line_does_a_job_again_by_its_id_and_by_its_result(tmp_path: Path) -> None:
    with served(tmp_path) as (_, url):
        (tmp_path / "card.json").write_text(json.dumps(CARD), encoding="utf-8")
        first = run("submit", "card.json", "-m", "shot=7", "--watch", folder=tmp_path)
        assert first.returncode == 0, first.stderr
        [result] = (tmp_path / "Outbox").glob("card__*/result.json")
        job_id = json.loads(result.read_text("utf-8"))["job_id"]

        wider = run("rerun", job_id, "--set", "width=96", "--priority", "4", folder=tmp_path)
        assert wider.returncode == 0, wider.stderr
        job = httpx.get(f"{url}/api/job/{wider.stdout.strip()}", trust_env=False).json()
        assert (job["rerun_of"], job["parameters"], job["metadata"]) == (job_id, {"width": 96}, {"shot": 7})
        assert job["priority"] == 4

        again = run("rerun", str(result), "--watch", folder=tmp_path)
        assert again.returncode == 0, again.stderr
        jobs = httpx.get(f"{url}/api/jobs", trust_env=False).json()["jobs"]
        assert (jobs[0]["rerun_of"], jobs[0]["status"], jobs[0]["metadata"]) == (job_id, "completed", {"shot": 7})

        unknown = run("rerun", "01890000-0000-7000-8000-000000000000", folder=tmp_path)
        assert unknown.returncode == 1
        assert "result.json" in unknown.stderr
        missing = run("rerun", "nowhere/result.json", folder=tmp_path)
        assert missing.returncode == 2
