from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from orchestrator_mcp.machine.presence import find_running
from tests.cli.program import CLI, SECONDS, environment, run, served

CONFIG = "server: {port: 0}\n"
HELLO_AND_TOOLS: list[dict[str, Any]] = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
]


@asynccontextmanager
async def agent(folder: Path) -> AsyncIterator[Client]:
    """An agent that starts the program itself and speaks to it over its pipes."""
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    program = StdioServerParameters(
        command=CLI[0], args=[*CLI[1:], "stdio", "--log-level", "error"], env=environment(), cwd=folder
    )
    with anyio.fail_after(SECONDS):
        async with Client(stdio_client(program)) as client:
            yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    content: dict[str, Any] | None = answer.structured_content
    assert content is not None
    return content


async def render(client: Client) -> dict[str, Any]:
    submitted = await call(client, "submit_job", workflow_id="my_workflow_001", parameters={"steps": 2})
    while True:
        job = await call(client, "job_status", job_id=submitted["job_id"], wait_seconds=20)
        if job["status"] in {"completed", "failed", "cancelled"}:
            return job


async def test_an_agent_that_starts_the_program_gets_its_pictures(tmp_path: Path) -> None:
    async with agent(tmp_path) as client:
        job = await render(client)
        assert job["status"] == "completed"
        (output,) = job["outputs"]
        async with httpx.AsyncClient(trust_env=False) as http:
            picture = (await http.get(output["url"])).raise_for_status().content
        assert picture.startswith(b"\x89PNG") and len(picture) == output["size"]


async def test_a_second_agent_joins_the_orchestrator_of_the_first(tmp_path: Path) -> None:
    async with agent(tmp_path) as first, agent(tmp_path) as second:
        job = await render(second)
        seen = await call(first, "job_status", job_id=job["job_id"])
        assert seen["status"] == "completed"
        present = find_running(tmp_path / "data")
    assert present is not None
    assert find_running(tmp_path / "data") is None


async def test_an_agent_joins_a_server_that_runs_already(tmp_path: Path) -> None:
    with served(tmp_path) as (server, url):
        async with agent(tmp_path) as client:
            assert (await call(client, "list_backends"))["online"] == 1
            present = find_running(tmp_path / "data")
        assert present is not None and (present.pid, present.url) == (server.process.pid, url)
        assert server.process.poll() is None


def test_standard_output_carries_the_protocol_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    with subprocess.Popen(
        [*CLI, "stdio", "--log-level", "debug"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        program.stdin.write("".join(json.dumps(message) + "\n" for message in HELLO_AND_TOOLS))
        program.stdin.flush()
        answers = [json.loads(program.stdout.readline()) for _ in range(2)]
        out, _ = program.communicate(timeout=SECONDS)
    assert [answer["id"] for answer in answers] == [1, 2]
    assert {"submit_job", "job_status"} <= {tool["name"] for tool in answers[1]["result"]["tools"]}
    assert (out, program.returncode) == ("", 0)


def test_what_is_piped_in_is_answered_before_the_program_ends(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    said = "".join(json.dumps(message) + "\n" for message in HELLO_AND_TOOLS)
    ended = run("stdio", folder=tmp_path, stdin=said + "no message\n")
    assert [json.loads(line)["id"] for line in ended.stdout.splitlines()] == [1, 2], ended.stderr


def test_a_wrong_file_is_told_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("prot: 1\n", encoding="utf-8")
    ended = run("stdio", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "config.yaml:1" in ended.stderr and "Traceback" not in ended.stderr
