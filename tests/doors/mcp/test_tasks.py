"""Jobs as tasks, for clients that declare the extension."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from orchestrator_mcp.domain.views import ErrorView
from tests.doors.mcp.farm import JOB, ServiceDouble
from tests.doors.mcp.served import served

TASKS = "io.modelcontextprotocol/tasks"
ACCEPT = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28"}


class Peer:
    """A client of the 2026 era that says exactly what a test wants."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def ask(self, method: str, *, declares: bool = True, header: str | None = None, **params: Any) -> Any:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}} if declares else {},
        }
        named = header or params.get("taskId") or params.get("name")
        headers = {**ACCEPT, "Mcp-Method": method, **({"Mcp-Name": named} if named else {})}
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        answer = await self._http.post(f"{self._url}/mcp", json=message, headers=headers)
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = [line for line in text.splitlines() if line.startswith("data: {")][-1].removeprefix("data: ")
        return httpx.Response(200, text=text).json()

    async def listen(self, *, declares: bool = True, **wanted: Any) -> AsyncGenerator[Any, None]:
        """What is told on one stream, as it comes."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}} if declares else {},
        }
        params = {"notifications": wanted, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": "listening", "method": "subscriptions/listen", "params": params}
        headers = {**ACCEPT, "Mcp-Method": "subscriptions/listen"}
        async with self._http.stream("POST", f"{self._url}/mcp", json=message, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))
                elif line.startswith("{"):
                    yield json.loads(line)

    async def submit(self, **more: Any) -> Any:
        return await self.ask("tools/call", name="submit_job", arguments={"workflow_id": "w"}, **more)


@pytest.fixture
def farm() -> ServiceDouble:
    return ServiceDouble()


@asynccontextmanager
async def peer_of(farm: ServiceDouble) -> AsyncIterator[Peer]:
    async with served(farm) as server, httpx.AsyncClient(trust_env=False) as http:
        yield Peer(http, server.url)


async def test_a_submission_becomes_a_task_that_ends_with_the_answer_about_the_job(farm: ServiceDouble) -> None:
    async with peer_of(farm) as peer:
        discovered = await peer.ask("server/discover")
        assert TASKS in discovered["result"]["capabilities"]["extensions"]
        made = (await peer.submit())["result"]
        assert (made["resultType"], made["taskId"], made["status"]) == ("task", JOB, "working")
        assert made["createdAt"] == "2026-01-02T03:04:05.000Z" and made["ttlMs"] is None
        farm.change(status="running", progress=0.5)
        working = (await peer.ask("tasks/get", taskId=JOB))["result"]
        assert (working["resultType"], working["status"]) == ("complete", "working")
        assert "running 50%" in working["statusMessage"] and "result" not in working
        farm.change(status="completed", progress=1.0)
        ended = (await peer.ask("tasks/get", taskId=JOB))["result"]
    assert ended["status"] == "completed"
    assert ended["result"]["structuredContent"]["outputs"][0]["name"] == "shot_00001_.png"
    assert not ended["result"]["isError"]


async def test_a_job_that_fails_is_a_call_that_completed_with_an_error(farm: ServiceDouble) -> None:
    async with peer_of(farm) as peer:
        await peer.submit()
        farm.change(status="failed", error=ErrorView(code="node_failed", message="no"))
        ended = (await peer.ask("tasks/get", taskId=JOB))["result"]
    assert ended["status"] == "completed" and ended["result"]["isError"] is True
    assert ended["result"]["structuredContent"]["error"]["code"] == "node_failed"


async def test_cancelling_a_task_cancels_the_job_and_comes_too_late_without_an_error(farm: ServiceDouble) -> None:
    async with peer_of(farm) as peer:
        await peer.submit()
        assert "result" in await peer.ask("tasks/cancel", taskId=JOB)
        assert (await peer.ask("tasks/get", taskId=JOB))["result"]["status"] == "cancelled"
        farm.change(status="completed")
        assert "result" in await peer.ask("tasks/cancel", taskId=JOB)
        assert "result" in await peer.ask("tasks/update", taskId=JOB, inputResponses={})


async def test_a_client_that_does_not_declare_tasks_gets_none(farm: ServiceDouble) -> None:
    async with peer_of(farm) as peer:
        plain = (await peer.submit(declares=False))["result"]
        refused = await peer.ask("tasks/get", declares=False, taskId=JOB)
    assert plain["resultType"] == "complete" and plain["structuredContent"]["job_id"] == JOB
    assert refused["error"]["code"] == -32021


async def test_only_what_was_queued_becomes_a_task(farm: ServiceDouble) -> None:
    async with peer_of(farm) as peer:
        refused = (await peer.ask("tools/call", name="submit_job", arguments={}))["result"]
        listed = (await peer.ask("tools/call", name="list_backends", arguments={}))["result"]
    assert refused["isError"] and refused["resultType"] == "complete"
    assert listed["resultType"] == "complete"


async def test_a_task_that_does_not_exist_is_said_so_and_the_header_must_name_the_same(farm: ServiceDouble) -> None:
    async with peer_of(farm) as peer:
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            missing = await peer.ask(method, taskId="nope")
            assert missing["error"]["code"] == -32602 and "no job 'nope'" in missing["error"]["message"]
            other = await peer.ask(method, taskId=JOB, header="another")
            assert other["error"]["code"] == -32020


async def test_who_listens_for_a_task_is_told_where_it_stands_until_its_result(farm: ServiceDouble) -> None:
    with anyio.fail_after(30):
        async with peer_of(farm) as peer, aclosing(peer.listen(taskIds=[JOB, "nope"])) as told:
            acknowledged = await anext(told)
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            assert acknowledged["params"]["notifications"] == {"taskIds": [JOB]}
            first = await anext(told)
            assert (first["method"], first["params"]["taskId"]) == ("notifications/tasks", JOB)
            assert first["params"]["status"] == "working" and "resultType" not in first["params"]
            assert first["params"]["_meta"] == acknowledged["params"]["_meta"]
            farm.change(status="completed", progress=1.0)
            ended = (await anext(told))["params"]
            seen = (await peer.ask("tasks/get", taskId=JOB))["result"]
            assert {name: ended[name] for name in ended if name != "_meta"} == {
                name: seen[name] for name in seen if name not in ("_meta", "resultType")
            }
    assert ended["status"] == "completed" and ended["result"]["structuredContent"]["status"] == "completed"


async def test_a_job_that_is_listened_for_as_resource_and_task_is_told_as_both(farm: ServiceDouble) -> None:
    uri = f"job://{JOB}"
    with anyio.fail_after(30):
        async with (
            peer_of(farm) as peer,
            aclosing(peer.listen(taskIds=[JOB], resourceSubscriptions=[uri])) as told,
        ):
            assert (await anext(told))["params"]["notifications"]["resourceSubscriptions"] == [uri]
            await anext(told)
            farm.change(status="running")
            methods = [(await anext(told))["method"] for _ in range(2)]
    assert methods == ["notifications/resources/updated", "notifications/tasks"]


async def test_listening_for_tasks_asks_for_the_extension_and_for_a_list(farm: ServiceDouble) -> None:
    with anyio.fail_after(30):
        async with peer_of(farm) as peer:
            async with aclosing(peer.listen(declares=False, taskIds=[JOB])) as told:
                assert (await anext(told))["error"]["code"] == -32021
            async with aclosing(peer.listen(taskIds=JOB)) as told:
                assert (await anext(told))["error"]["code"] == -32602
