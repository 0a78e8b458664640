from __future__ import annotations

import logging
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import httpx
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from tests.doors.mcp.farm import JOB, ServiceDouble
from tests.doors.mcp.served import served

ERAS = ["auto", "legacy"]
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


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing here may leave a warning or a traceback in the log, unless the test takes it out again."""
    with caplog.at_level(logging.WARNING):
        yield
    records = [record for phase in ("setup", "call") for record in caplog.get_records(phase)]
    ours = [record for record in records if not record.name.startswith("mcp.client")]  # the other end's are its own
    assert [record.getMessage() for record in ours] == []


@pytest.fixture
def farm() -> ServiceDouble:
    return ServiceDouble()


def client_at(url: str, path: str, era: str) -> Client:
    target = sse_client(url + path) if path == "/sse" else streamable_http_client(url + path)
    return Client(target, mode=era)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_a_job_is_submitted_followed_and_owned_over_http(farm: ServiceDouble, path: str, era: str) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        farm.change(status="completed", progress=1.0)

    async def render() -> None:
        await farm.watched.wait()
        farm.change(status="running", progress=0.5)

    async with served(farm, owner="alice") as server:
        async with client_at(server.url, path, era) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(render)
            await client.call_tool("submit_job", {"workflow_id": "w"})
            status = await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 45}, progress_callback=hear)
        assert status.structured_content is not None
        assert status.structured_content["outputs"][0]["url"].startswith(server.url + "/api/job/")
    assert farm.submitted[0].by.name == "alice"
    assert heard == [0.5]


async def test_the_path_of_streamable_http_answers_without_a_redirect(farm: ServiceDouble) -> None:
    async with served(farm) as server, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(server.url + "/mcp", json=INITIALIZE, headers=ACCEPT)
        assert answer.status_code == 200
        assert (await http.put(server.url + "/messages/")).status_code == 405
        assert (await http.post(server.url + "/sse")).status_code == 405


async def test_a_message_over_the_limit_is_refused_and_the_connection_goes_on(farm: ServiceDouble) -> None:
    large = {"workflow_id": "w", "metadata": {"note": "x" * 20_000}}
    async with served(farm, max_message_bytes=10_000) as server, httpx.AsyncClient(trust_env=False) as http:
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "submit_job", "arguments": large}}
        refused = await http.post(server.url + "/mcp", json=call, headers=ACCEPT)
        assert refused.status_code == 413 and "10,000 bytes" in refused.text
        assert refused.text.count("limits.body_bytes") == 1
        assert (await http.post(server.url + "/mcp", json=INITIALIZE, headers=ACCEPT)).status_code == 200
    assert farm.submitted == []


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_a_stop_answers_the_waiting_call_before_it_ends_the_stream(
    farm: ServiceDouble, path: str, era: str
) -> None:
    answers: list[CallToolResult] = []

    async with served(farm) as server, client_at(server.url, path, era) as client:
        await client.list_tools()  # else the client asks for them after the answer, to check it

        async def wait() -> None:
            answers.append(await client.call_tool("job_status", {"job_id": JOB, "wait_seconds": 45}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await farm.watched.wait()
            await server.door.close_streams()
            server.stop()
        await server.stopped.wait()
    assert answers[0].structured_content is not None
    assert answers[0].structured_content["status"] == "queued"


@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_a_stop_lets_a_call_that_has_begun_finish(farm: ServiceDouble, path: str) -> None:
    results: list[CallToolResult] = []
    farm.gate = anyio.Event()

    async with served(farm) as server, client_at(server.url, path, "legacy") as client:
        await client.list_tools()

        async def submit() -> None:
            results.append(await client.call_tool("submit_job", {"workflow_id": "w"}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit)
            await farm.entered.wait()
            tasks.start_soon(server.door.close_streams)
            for _ in range(100):  # far more turns than a stop that does not wait would take
                await anyio.lowlevel.checkpoint()
            farm.gate.set()
        server.stop()
        await server.stopped.wait()
    assert results[0].structured_content is not None
    assert results[0].structured_content["job_id"] == JOB


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "1e999", '"\\ud800"', '"\\u0000"', "9" * 400, "[" * 5000 + "]" * 5000]
)
async def test_values_that_are_no_json_never_reach_the_farm(farm: ServiceDouble, value: str) -> None:
    async with (
        served(farm, max_message_bytes=100_000) as server,
        httpx.AsyncClient(trust_env=False, headers=ACCEPT) as http,
    ):
        opened = await http.post(server.url + "/mcp", json=INITIALIZE)
        session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        answer = await http.post(server.url + "/mcp", content=_submission(value), headers=session)
        assert answer.status_code == 400 or "metadata.a" in answer.text
        assert farm.submitted == []
        await http.post(server.url + "/mcp", content=_submission("1"), headers=session)
        assert len(farm.submitted) == 1


def _submission(value: str) -> str:
    arguments = f'{{"workflow_id":"w","metadata":{{"a":{value}}}}}'
    params = f'{{"name":"submit_job","arguments":{arguments}}}'
    return f'{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{params}}}'


@pytest.mark.parametrize("host", ["evil.example/path?", "a b", "x" * 300])
async def test_a_host_that_is_none_does_not_get_into_urls(farm: ServiceDouble, host: str) -> None:
    farm.change(status="completed")
    call = {"name": "job_status", "arguments": {"job_id": JOB}}
    async with served(farm) as server, httpx.AsyncClient(trust_env=False, headers=ACCEPT) as http:
        opened = await http.post(server.url + "/mcp", json=INITIALIZE)
        session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"], "Host": host}
        answer = await http.post(
            server.url + "/mcp",
            json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
            headers=session,
        )
    assert "http://configured/api/job" in answer.text


async def test_a_configured_public_address_wins_over_the_host(farm: ServiceDouble) -> None:
    farm.change(status="completed")
    async with (
        served(farm, public_url="https://farm.example/") as server,
        client_at(server.url, "/mcp", "auto") as client,
    ):
        status = await client.call_tool("job_status", {"job_id": JOB})
    assert status.structured_content is not None
    assert status.structured_content["outputs"][0]["url"].startswith("https://farm.example/api/job/")


@pytest.mark.parametrize("path", ["/sse", "/mcp"])
async def test_a_stop_ends_an_idle_stream_cleanly(farm: ServiceDouble, path: str) -> None:
    async with served(farm) as server, httpx.AsyncClient(trust_env=False) as http:
        headers = {"Accept": "text/event-stream"}
        if path == "/mcp":
            opened = await http.post(server.url + path, json=INITIALIZE, headers=ACCEPT)
            headers["Mcp-Session-Id"] = opened.headers["Mcp-Session-Id"]
        async with http.stream("GET", server.url + path, headers=headers) as stream:
            assert stream.status_code == 200
            await server.door.close_streams()
            server.stop()
            async for _ in stream.aiter_bytes():
                pass  # a cut connection would raise here
        await server.stopped.wait()


async def test_a_stop_ends_a_listening_stream_with_its_last_frame(farm: ServiceDouble) -> None:
    ended = anyio.Event()
    async with served(farm) as server, client_at(server.url, "/mcp", "auto") as client:

        async def listen(*, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
            async with client.listen(tools_list_changed=True) as events:
                task_status.started()
                async for _ in events:
                    pass
            ended.set()

        async with anyio.create_task_group() as tasks:
            await tasks.start(listen)
            await server.door.close_streams()
            server.stop()
            await ended.wait()
        await server.stopped.wait()


async def test_a_client_that_asks_discover_first_may_still_shake_hands_in_the_old_way(farm: ServiceDouble) -> None:
    discover = {
        "jsonrpc": "2.0",
        "id": "d",
        "method": "server/discover",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        },
    }
    async with served(farm) as server, httpx.AsyncClient(trust_env=False) as http:
        modern = await http.post(
            server.url + "/mcp",
            json=discover,
            headers={**ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "server/discover"},
        )
        assert modern.status_code == 200, modern.text
        async with http.stream("GET", server.url + "/sse") as stream:
            lines = stream.aiter_lines()
            endpoint = await _content(lines)
            await http.post(server.url + endpoint, json=discover)
            discovered = httpx.Response(200, text=await _content(lines)).json()
            await http.post(server.url + endpoint, json=INITIALIZE)
            greeted = httpx.Response(200, text=await _content(lines)).json()
    assert discovered["result"]["supportedVersions"] == ["2026-07-28"]
    assert discovered["result"] == modern.json()["result"]
    assert greeted["result"]["protocolVersion"] == "2025-06-18"


async def _content(lines: object) -> str:
    async for line in lines:  # type: ignore[attr-defined]
        if line.startswith("data:"):
            return str(line.removeprefix("data:").strip())
    raise AssertionError("the stream ended")
