"""Following a job, over WebSocket and as server-sent events."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import Message, Scope
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from orchestrator_mcp.domain.views import StreamEvent
from orchestrator_mcp.doors.http import OpenStreams
from orchestrator_mcp.doors.http.streams import EventStreamResponse, serve_websocket
from orchestrator_mcp.errors import TooManyError
from tests.doors.http.farm import JOB, ServiceDouble, finished
from tests.doors.http.served import served


def follow(client: httpx.AsyncClient, job_id: str = JOB) -> connect:
    url = str(client.base_url.copy_with(scheme="ws")).rstrip("/")
    return connect(f"{url}/api/job/{job_id}/stream", proxy=None)


async def next_message(connection: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await connection.recv())
    return found


async def closed_with(connection: ClientConnection) -> int:
    """The code with which the server closes, once everything before it is read."""
    with pytest.raises(ConnectionClosed):
        while True:
            await connection.recv()
    assert connection.close_code is not None
    return connection.close_code


def progress(fraction: float) -> StreamEvent:
    return StreamEvent(type="progress", seq=2, job_id=JOB, progress=fraction)


def end(farm: ServiceDouble) -> StreamEvent:
    return StreamEvent(type="end", seq=9, job_id=JOB, job=finished(farm))


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until it is so; the caller bounds it."""
    while not condition():
        await anyio.lowlevel.checkpoint()


async def test_a_websocket_hears_the_state_the_progress_and_the_end(
    client: httpx.AsyncClient, farm: ServiceDouble
) -> None:
    async with follow(client) as connection:
        first = await next_message(connection)
        assert (first["type"], first["job"]["status"]) == ("job", "running")
        farm.tell(progress(0.5), end(farm))
        assert (await next_message(connection))["progress"] == 0.5
        last = await next_message(connection)
        assert (last["type"], last["seq"], last["job"]["status"]) == ("end", 9, "completed")
        assert await closed_with(connection) == 1000
    await until(lambda: farm.listeners == 0)


async def test_a_websocket_may_come_after_the_end(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    finished(farm)
    async with follow(client) as connection:
        assert (await next_message(connection))["type"] == "end"
        assert await closed_with(connection) == 1000


async def test_an_unknown_job_is_told_and_closed(client: httpx.AsyncClient) -> None:
    async with follow(client, "nope") as connection:
        message = await next_message(connection)
        assert message["type"] == "error"
        assert "nope" in message["detail"]
        assert await closed_with(connection) == 4404


async def test_an_address_without_a_stream_is_told_those_that_have_one(client: httpx.AsyncClient) -> None:
    url = str(client.base_url.copy_with(scheme="ws")).rstrip("/")
    for path in ("/api/jobs", f"/api/job/{JOB}/steam", "/"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url + path, proxy=None)
        document = json.loads(refused.value.response.body)
        assert (refused.value.response.status_code, document["code"]) == (404, "unknown_path")
        assert "/api/job/{job_id}/stream" in document["hint"]


async def test_a_stream_too_many_is_refused_before_it_opens(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    farm.raises["job"] = TooManyError("Too many open streams.")
    with pytest.raises(InvalidStatus) as refused:
        await follow(client)
    document = json.loads(refused.value.response.body)
    assert (refused.value.response.status_code, document["code"]) == (429, "too_many")


async def test_any_number_of_listeners_hear_the_same(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    heard: list[list[str]] = []

    async def listen() -> None:
        async with follow(client) as connection:
            await next_message(connection)
            ready.append(1)
            heard.append([(await next_message(connection))["type"] for _ in range(2)])

    ready: list[int] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(listen)
        await until(lambda: len(ready) == 20)
        farm.tell(progress(0.5), end(farm))
    assert heard == [["progress", "end"]] * 20


async def test_what_a_client_says_is_ignored(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    async with follow(client) as connection:
        await next_message(connection)
        await connection.send("hello")
        await connection.send(b"\x00" * 1000)
        farm.tell(end(farm))
        assert (await next_message(connection))["type"] == "end"


async def test_a_listener_that_leaves_leaves_nothing_behind(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    async with follow(client) as connection:
        await next_message(connection)
        connection.transport.abort()
    await until(lambda: farm.listeners == 0)

    async with client.stream("GET", f"/api/job/{JOB}/events") as response:
        await anext(response.aiter_lines())
        assert farm.listeners == 1
    await until(lambda: farm.listeners == 0)


async def test_one_that_never_reads_holds_nobody_up(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        await anyio.to_thread.run_sync(deaf.connect, ("127.0.0.1", client.base_url.port))
        deaf.sendall(f"GET /api/job/{JOB}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(lambda: farm.listeners == 1)
        async with follow(client) as connection:
            await next_message(connection)
            farm.tell(*(progress(index / 20_000) for index in range(20_000)), end(farm))
            assert await closed_with(connection) == 1000
        assert farm.listeners == 1
    await until(lambda: farm.listeners == 0)


async def test_a_bug_in_a_stream_is_closed_and_logged(
    client: httpx.AsyncClient, farm: ServiceDouble, caplog: pytest.LogCaptureFixture
) -> None:
    farm.raises["watch"] = ZeroDivisionError("secret")
    async with follow(client) as connection:
        await next_message(connection)
        assert await closed_with(connection) == 1011
        assert "secret" not in (connection.close_reason or "")
    assert [record.name for record in caplog.records] == ["orchestrator_mcp.doors.http.faults"]
    caplog.clear()


async def test_open_streams_end_when_the_server_stops(farm: ServiceDouble) -> None:
    streams = OpenStreams()
    async with served(farm, streams=streams) as client, follow(client) as connection:
        await next_message(connection)
        async with client.stream("GET", f"/api/job/{JOB}/events") as response:
            lines = response.aiter_lines()
            await anext(lines)
            streams.close()
            assert await closed_with(connection) == 1012
            assert [line async for line in lines][-1] == ""
        async with follow(client) as late:
            assert await closed_with(late) == 1012


async def read_events(lines: AsyncIterator[str], count: int) -> list[dict[str, str]]:
    """Read server-sent events as a browser does."""
    events: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            events.append(fields)
            fields = {}
        if len(events) == count:
            break
    return events


async def test_server_sent_events_tell_the_same(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    farm.tell(progress(0.5), end(farm).model_copy())
    farm.put(farm._jobs[JOB].model_copy(update={"status": "running"}))
    async with client.stream("GET", f"/api/job/{JOB}/events") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        lines = response.aiter_lines()
        events = await read_events(lines, 3)
        assert [(event["id"], event["event"]) for event in events] == [("1", "job"), ("2", "progress"), ("9", "end")]
        assert json.loads(events[2]["data"])["job"]["status"] == "completed"
        assert [line async for line in lines if line] == []


async def test_a_reader_that_has_seen_the_end_is_told_to_stop(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    finished(farm)
    seen = await client.get(f"/api/job/{JOB}/events", headers={"Last-Event-ID": "9"})
    assert (seen.status_code, seen.content) == (204, b"")
    for header in ({"Last-Event-ID": "8"}, {"Last-Event-ID": "x"}, {}):
        response = await client.get(f"/api/job/{JOB}/events", headers=header)
        assert response.status_code == 200
        assert response.text.count("event: end") == 1


async def test_silence_is_broken_by_comments(farm: ServiceDouble) -> None:
    sent: list[Message] = []
    enough = anyio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 5:
            enough.set()

    async def receive() -> Message:
        await enough.wait()
        return {"type": "http.disconnect"}

    streams = OpenStreams(keepalive=0.01)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streams.run)
            await EventStreamResponse(farm.watch(JOB), streams)({"type": "http", "method": "GET"}, receive, send)
            tasks.cancel_scope.cancel()
    assert [message["body"][:14] for message in sent[1:5]] == [b"retry: 2000\n\ni", *[b": still here\n\n"] * 3]


async def test_many_readers_that_leave_at_once_leave_a_clean_log(
    client: httpx.AsyncClient, farm: ServiceDouble, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):

        async def come_and_go(index: int) -> None:
            with socket.socket() as raw:
                await anyio.to_thread.run_sync(raw.connect, ("127.0.0.1", client.base_url.port))
                request = f"GET /api/job/{JOB}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                raw.sendall(request[: index * 3])

        async with anyio.create_task_group() as tasks:
            for index in range(40):
                tasks.start_soon(come_and_go, index)
        await until(lambda: farm.listeners == 0)
        assert (await client.get("/health")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    caplog.clear()


async def test_one_that_takes_nothing_is_dropped_in_the_end(farm: ServiceDouble) -> None:
    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if message["type"] in {"http.response.body", "websocket.send"}:
            await anyio.sleep_forever()

    async def receive() -> Message:
        if scope["type"] == "websocket" and not sent:
            return {"type": "websocket.connect"}
        await anyio.sleep_forever()
        raise AssertionError

    scope: Scope = {"type": "http", "method": "GET"}
    streams = OpenStreams(stall=0.01)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streams.run)
            await EventStreamResponse(farm.watch(JOB), streams)(scope, receive, send)
            assert sent == ["http.response.start", "http.response.body", "http.response.body"]
            sent.clear()
            scope = {"type": "websocket", "headers": [], "subprotocols": []}
            await serve_websocket(WebSocket(scope, receive, send), farm.watch(JOB), streams)
            tasks.cancel_scope.cancel()
    assert sent == ["websocket.accept", "websocket.send", "websocket.close"]
    assert farm.listeners == 0


async def test_a_client_that_leaves_while_it_sends_leaves_no_job_and_a_clean_log(
    client: httpx.AsyncClient, farm: ServiceDouble
) -> None:
    body = json.dumps({"workflow_id": "my_workflow_001"}).encode()
    head = f"POST /api/job HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
    for length in range(0, len(request), 7):
        async with await anyio.connect_tcp("127.0.0.1", client.base_url.port or 0) as raw:
            await raw.send(request[:length])
    assert (await client.get("/health")).status_code == 200
    assert farm.submitted == []
