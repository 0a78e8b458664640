"""Every route of every door asks for the right scope, and jobs and sessions belong to whoever made them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from orchestrator_mcp.domain.access import Scope
from orchestrator_mcp.doors.http import build_routes
from orchestrator_mcp.doors.http.permissions import CHANGING, LOOKING, OPEN, needed_scope
from orchestrator_mcp.doors.mcp.tools import build_server
from orchestrator_mcp.doors.mcp.transports import McpDoor
from tests.doors.http.farm import ServiceDouble
from tests.security.guarded import PICTURE, TOKENS, Guarded, agent

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
LOOK = {"name": "list_backends", "arguments": {}}
BY_SCOPE = {Scope.READ: ("viewer", "alice", "boss"), Scope.SUBMIT: ("alice", "boss"), Scope.ADMIN: ("boss",)}


def routes(folder: Path) -> list[BaseRoute]:
    """Every route of every door."""
    service = ServiceDouble(folder)
    return [*build_routes(service, version="1"), *McpDoor(build_server(service, version="1")).routes]


def doors(folder: Path) -> Iterator[tuple[str, str]]:
    """Method and path of each of them."""
    for route in routes(folder):
        if isinstance(route, WebSocketRoute):
            yield "WS", route.path
        elif isinstance(route, Route):
            for method in sorted(route.methods or {"GET", "POST", "DELETE"}):
                yield method, route.path
        else:
            raise AssertionError(f"{route} is a kind of route that this test does not walk")


def filled(path: str) -> str:
    """A path with something in each of its gaps."""
    for gap in (
        "job_id",
        "batch_id",
        "name",
        "backend_id",
        "workflow_id",
        "sha256",
        "path:path",
        "name:path",
        "anything:path",
    ):
        path = path.replace(f"{{{gap}}}", "nothing")
    assert "{" not in path, path
    return path


async def status(farm: Guarded, method: str, path: str, token: str | None) -> int:
    headers = {**ACCEPT, **({"Authorization": f"Bearer {token}"} if token is not None else {})}
    if method == "WS":
        try:
            async with connect(farm.socket_url + path, proxy=None, additional_headers=headers):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code
    async with (
        httpx.AsyncClient(trust_env=False, verify=False, headers=headers, timeout=20) as client,
        client.stream(method, farm.url + path) as response,
    ):
        return response.status_code


# The SDK leaves a memory stream to the garbage collector when a client of /sse goes without a word.
@pytest.mark.filterwarnings("ignore:.*MemoryObjectSendStream.*:pytest.PytestUnraisableExceptionWarning")
async def test_every_route_of_every_door_asks_for_its_scope(farm: Guarded, tmp_path: Path) -> None:
    walked = 0
    for method, template in doors(tmp_path):
        path = filled(template)
        needed = needed_scope("GET" if method == "WS" else method, path)
        if needed is None:
            assert any(fnmatch.fnmatchcase(path.rstrip("/"), row) for row in OPEN)
            assert await status(farm, method, path, None) == (404 if "nothing" in path else 200)
            continue
        for token in (None, "x", "wrong-0123456789-0123456789", TOKENS["boss"] + "x", TOKENS["boss"][:-1]):
            assert await status(farm, method, path, token) == 401, (method, path, token)
        for name in ("viewer", "alice", "boss"):
            answered = await status(farm, method, path, TOKENS[name])
            if name in BY_SCOPE[needed]:
                assert answered not in (401, 403, 500), (method, path, name, answered)
            else:
                assert answered == 403, (method, path, name, answered)
        walked += 1
    assert walked > 50


def test_every_route_that_changes_something_stands_in_the_table(tmp_path: Path) -> None:
    for method, template in doors(tmp_path):
        if method in LOOKING or method == "WS":
            continue
        bare = "/".join("*" if part.startswith("{") else part for part in template.rstrip("/").split("/"))
        assert (method, bare) in CHANGING, (method, template)


@pytest.mark.parametrize("path", ["/api/nothing", "/", "/api/job/x/y/z", "/admin"])
async def test_a_path_that_does_not_exist_tells_nothing_without_a_token(farm: Guarded, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT", "PATCH"):
        assert await status(farm, method, path, None) == 401


async def test_what_no_row_of_the_table_knows_is_for_admins(farm: Guarded) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert await status(farm, method, "/api/backends", TOKENS["alice"]) == 403
        assert await status(farm, method, "/api/backends", TOKENS["boss"]) == 405


async def submitted(client: httpx.AsyncClient) -> str:
    # The sandbox has no such backend busy: a pin on a capability that nobody has keeps the job in the queue.
    body = {"workflow": PICTURE, "required_capabilities": ["nobody-has-this"]}
    response = await client.post("/api/job", json=body)
    assert response.status_code == 202, response.text
    return str(response.json()["job_id"])


async def test_everybody_with_read_sees_every_job_and_only_the_owner_or_an_admin_ends_it(farm: Guarded) -> None:
    async with farm.client("alice") as alice, farm.client("bob") as bob, farm.client("viewer") as viewer:
        first, second = await submitted(alice), await submitted(alice)
        for client in (alice, bob, viewer):
            assert (await client.get(f"/api/job/{first}")).status_code == 200
            assert len((await client.get("/api/jobs")).json()["jobs"]) == 2
        refused = await bob.delete(f"/api/job/{first}")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "alice" in refused.json()["detail"] and "admin" in refused.json()["hint"]
        narrow = await viewer.delete(f"/api/job/{first}")
        assert (narrow.status_code, narrow.json()["code"]) == (403, "insufficient_scope")
        assert (await viewer.get(f"/api/job/{first}")).json()["status"] == "queued"
        assert (await alice.delete(f"/api/job/{first}")).json()["status"] == "cancelled"
        async with farm.client("boss") as boss:
            assert (await boss.delete(f"/api/job/{second}")).json()["status"] == "cancelled"


async def test_an_idempotency_key_belongs_to_its_token(farm: Guarded) -> None:
    key = {"Idempotency-Key": "take-1"}
    async with farm.client("alice", **key) as alice, farm.client("bob", **key) as bob:
        assert await submitted(alice) == await submitted(alice)
        assert await submitted(bob) != await submitted(alice)


@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_tools_ask_for_the_scope_that_they_need(farm: Guarded, path: str) -> None:
    manifest = {"workflow": PICTURE, "required_capabilities": ["nobody-has-this"]}
    async with agent(farm, path, "viewer") as viewer:
        assert not (await viewer.call_tool("list_backends", {})).is_error
        refused = await viewer.call_tool("submit_job", manifest)
        assert refused.is_error and "scope submit" in str(refused.content)
    async with agent(farm, path, "alice") as alice:
        accepted = await alice.call_tool("submit_job", manifest)
        assert accepted.structured_content is not None
        job = {"job_id": accepted.structured_content["job_id"]}
    async with agent(farm, path, "viewer") as viewer:
        assert not (await viewer.call_tool("job_status", job)).is_error
        assert "scope submit" in str((await viewer.call_tool("cancel_job", job)).content)
    async with agent(farm, path, "bob") as bob:
        foreign = await bob.call_tool("cancel_job", job)
        assert foreign.is_error and "belongs to 'alice'" in str(foreign.content)
    async with agent(farm, path, "boss") as boss:
        assert not (await boss.call_tool("cancel_job", job)).is_error


async def test_nobody_speaks_in_another_callers_session_of_streamable_http(farm: Guarded) -> None:
    async with farm.client("alice", **ACCEPT) as alice, farm.client("bob", **ACCEPT) as bob:
        opened = await alice.post("/mcp", json=INITIALIZE)
        session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        assert (await bob.post("/mcp", json=LIST, headers=session)).status_code == 404
        async with bob.stream("GET", "/mcp", headers=session) as listening:
            assert listening.status_code == 404
        assert (await bob.delete("/mcp", headers=session)).status_code == 404
        assert "submit_job" in (await alice.post("/mcp", json=LIST, headers=session)).text


async def test_nobody_speaks_in_another_callers_session_of_sse(farm: Guarded) -> None:
    async with (
        farm.client("alice") as alice,
        farm.client("bob", **ACCEPT) as bob,
        alice.stream("GET", "/sse") as stream,
    ):
        told = (line.removeprefix("data:").strip() async for line in stream.aiter_lines() if line.startswith("data:"))
        endpoint = await anext(told)
        assert (await bob.post(endpoint, json=INITIALIZE)).status_code == 404
        assert (await alice.post(endpoint, json=INITIALIZE, headers=ACCEPT)).status_code == 202
        assert "protocolVersion" in await anext(told)


async def test_a_stream_shows_its_token_as_a_subprotocol_with_any_scope(farm: Guarded) -> None:
    async with farm.client("alice") as alice:
        job_id = await submitted(alice)
    url = f"{farm.socket_url}/api/job/{job_id}/stream"
    offered = [Subprotocol("orchestrator"), Subprotocol(f"bearer.{TOKENS['viewer']}")]
    async with connect(url, proxy=None, subprotocols=offered) as stream:
        assert job_id in str(await stream.recv())
