"""Several hosts, one farm: the second is a bridge to the first, and lives on when the first goes away."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
from mcp.types.jsonrpc import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from orchestrator_mcp.doors.mcp.conversation import Conversation
from tests.cli import program
from tests.doors.mcp.farm import JOB, ServiceDouble
from tests.doors.mcp.served import served
from tests.doors.mcp.test_stdio import HELLO, NEAREST, Pipe, _line, piped

HOST = [sys.executable, "-m", "tests.doors.mcp.host_program"]


def request(number: int, method: str, **params: Any) -> JSONRPCRequest:
    return JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=params)


def call(number: int, tool: str, **arguments: Any) -> JSONRPCRequest:
    return request(number, "tools/call", name=tool, arguments=arguments)


def test_a_conversation_repeats_its_handshake_and_subscriptions_and_hides_the_answers() -> None:
    said = Conversation()
    said.sent(request(1, "initialize", **HELLO))
    assert said.handshake() is None, "it has not been answered: it is an open request like others"
    assert said.is_for_client(JSONRPCResponse(jsonrpc="2.0", id=1, result={}))
    said.sent(JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized"))
    for number, (method, uri) in enumerate(
        [("resources/subscribe", "job://a"), ("resources/subscribe", "job://b"), ("resources/unsubscribe", "job://a")]
    ):
        said.sent(request(10 + number, method, uri=uri))
        assert said.is_for_client(JSONRPCResponse(jsonrpc="2.0", id=10 + number, result={}))
    hello = said.handshake()
    assert hello is not None and hello.params == HELLO and hello.id != 1
    ready, subscription = said.repetitions()
    assert isinstance(ready, JSONRPCNotification) and ready.method == "notifications/initialized"
    assert isinstance(subscription, JSONRPCRequest) and subscription.params == {"uri": "job://b"}
    for one in (hello, subscription):
        assert not said.is_for_client(JSONRPCResponse(jsonrpc="2.0", id=one.id, result={}))
    assert said.is_for_client(JSONRPCNotification(jsonrpc="2.0", method="notifications/progress"))


def test_open_requests_are_asked_again_but_for_what_might_be_done_twice() -> None:
    said = Conversation()
    said.sent(request(1, "tools/list"))
    said.sent(call(2, "job_status", job_id=JOB, wait_seconds=45))
    said.sent(call(3, "submit_job", workflow_id="w"))
    said.sent(call(4, "submit_job", workflow_id="w", idempotency_key="k"))
    said.sent(request(5, "subscriptions/listen"))
    never_left = request(6, "tools/list")
    said.sent(never_left)
    said.taken_back(never_left)
    again, lost = said.open_requests()
    assert [one.id for one in again if isinstance(one, JSONRPCRequest)] == [1, 2, 4]
    submitted, listening = (one.model_dump(by_alias=True) for one in lost)
    assert submitted["id"] == 3 and submitted["result"]["isError"]
    assert "list_jobs" in submitted["result"]["content"][0]["text"]
    assert listening["id"] == 5 and listening["error"]["code"] == -32603
    assert said.open_requests() == ([], [])


async def test_a_bridge_goes_on_with_the_next_orchestrator_as_if_nothing_had_happened(tmp_path: Path) -> None:
    place = tmp_path / "url"
    first, second = ServiceDouble(), ServiceDouble()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(served(first))
        place.write_text(one.url, encoding="ascii")
        pipe = await stack.enter_async_context(piped(*NEAREST, str(place)))
        await pipe.shake_hands()
        await pipe.ask("resources/subscribe", {"uri": f"job://{JOB}"}, number=2)
        first.gate = anyio.Event()
        await pipe.say(_line("tools/call", {"name": "submit_job", "arguments": {"workflow_id": "w"}}, number=3))
        await first.entered.wait()
        place.write_text("", encoding="ascii")
        await one.door.close_streams()
        lost = json.loads(await pipe.out.receive_until(b"\n", 100_000))
        assert lost["id"] == 3 and lost["result"]["isError"] and "list_jobs" in lost["result"]["content"][0]["text"]
        await pipe.say(_line("tools/call", {"name": "job_status", "arguments": {"job_id": JOB}}, number=4))
        two = await stack.enter_async_context(served(second))
        place.write_text(two.url, encoding="ascii")
        answer = json.loads(await pipe.out.receive_until(b"\n", 100_000))
        assert answer["id"] == 4 and answer["result"]["structuredContent"]["status"] == "queued"
        second.change(status="running")
        told = json.loads(await pipe.out.receive_until(b"\n", 100_000))
        assert told["params"]["uri"] == f"job://{JOB}"
        out, errors = await pipe.close()
    assert (pipe.process.returncode, out) == (0, b"")
    assert f"The orchestrator at {one.url} has gone".encode() in errors and b"Traceback" not in errors


async def test_a_bridge_that_finds_nobody_ends_with_its_client(tmp_path: Path) -> None:
    place = tmp_path / "url"
    place.write_text("", encoding="ascii")
    async with piped(*NEAREST, str(place)) as pipe:
        await pipe.shake_hands()
        out, errors = await pipe.close()
    assert (pipe.process.returncode, out, errors) == (0, b"", b"listening\n")


async def test_two_hosts_share_a_farm_and_the_second_takes_over_when_the_first_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    quick = "scheduling: {post_timeout: 1s, quarantine: 0.2s, lost_after: 2s, probe_interval: 0.2s}"
    config.write_text(f"data_dir: ./data\nserver: {{port: 0}}\n{quick}\n", encoding="utf-8")
    async with piped(*HOST, str(config)) as first:
        await first.shake_hands()
        async with piped(*HOST, str(config)) as second:
            await second.shake_hands()
            job_id = (await submitted(second))["job_id"]
            seen = await first.ask("tools/call", {"name": "job_status", "arguments": {"job_id": job_id}}, number=2)
            assert seen["result"]["structuredContent"]["job_id"] == job_id
            wait = {"name": "job_status", "arguments": {"job_id": job_id, "wait_seconds": 45}}
            await second.say(_line("tools/call", wait, number=3))
            first.process.kill()
            ended = json.loads(await second.out.receive_until(b"\n", 100_000))
            assert ended["id"] == 3
            while (state := ended["result"]["structuredContent"])["status"] in ("queued", "running"):
                ended = await second.ask("tools/call", wait, number=4)
            out, errors = await second.close()
    assert state["status"] == "completed"
    assert (second.process.returncode, out) == (0, b"")
    assert b"has gone" in errors and b"has taken over" in errors and b"Traceback" not in errors


async def test_hosts_that_start_together_end_up_on_one_farm(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("data_dir: ./data\nserver: {port: 0}\n", encoding="utf-8")
    async with piped(*HOST, str(config)) as one, piped(*HOST, str(config)) as two:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.shake_hands)
            tasks.start_soon(two.shake_hands)
        job_id = (await submitted(one))["job_id"]
        seen = await two.ask("tools/call", {"name": "job_status", "arguments": {"job_id": job_id}}, number=2)
    assert seen["result"]["structuredContent"]["job_id"] == job_id


async def submitted(pipe: Pipe) -> dict[str, Any]:
    job = {"workflow_id": "my_workflow_001", "parameters": {"steps": 40}}
    answer = await pipe.ask("tools/call", {"name": "submit_job", "arguments": job}, number=2)
    content: dict[str, Any] = answer["result"]["structuredContent"]
    return content


async def test_a_render_goes_on_when_its_host_leaves_a_server_that_runs(tmp_path: Path) -> None:
    with program.served(tmp_path) as (server, _url):
        config = str(tmp_path / "config.yaml")
        async with piped(*HOST, config) as host:
            await host.shake_hands()
            job_id = (await submitted(host))["job_id"]
            await host.close()
        assert host.process.returncode == 0 and server.process.poll() is None
        async with piped(*HOST, config) as another:
            await another.shake_hands()
            wait = {"name": "job_status", "arguments": {"job_id": job_id, "wait_seconds": 45}}
            ended = await another.ask("tools/call", wait, number=2)
    assert ended["result"]["structuredContent"]["status"] == "completed"
