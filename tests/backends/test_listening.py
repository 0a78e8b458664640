"""Listening: the reader never waits for the one who takes, and says when it has gone deaf."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    Message,
    NodeProgressed,
    NodeStarted,
    PreviewReceived,
    PromptFinished,
    PromptStarted,
    PromptSucceeded,
    StatusChanged,
)
from orchestrator_mcp.backends.sockets import Mailbox
from orchestrator_mcp.errors import BackendAmbiguousError, BackendError, BackendRefusedError
from orchestrator_mcp.sandbox import SandboxServer
from tests.backends.conftest import ClientMaker, RawServer
from tests.backends.talk import WAIT, ended, heard_until_finished, send
from tests.partners import picture_graph, text_to_image

Speaker = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def speaking(speak: Speaker) -> AsyncIterator[int]:
    """A WebSocket server that says what a test likes; gives the port."""
    async with serve(speak, "127.0.0.1", 0, max_size=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


def event(kind: str, **said: object) -> str:
    return json.dumps({"type": kind, "data": said})


FINISHED = event("executing", node=None, prompt_id="p")


async def all_heard(messages: AsyncIterator[Message]) -> tuple[list[Message], BackendError]:
    heard: list[Message] = []
    try:
        while True:
            heard.append(await anext(messages))
    except BackendError as error:
        return heard, error


async def test_garbage_between_events_is_passed_over(make_client: ClientMaker) -> None:
    async def speak(socket: ServerConnection) -> None:
        assert json.loads(await socket.recv()) == {
            "type": "feature_flags",
            "data": {"supports_preview_metadata": True},
        }
        for frame in (
            "",
            "null",
            "[" * 50_000,
            "{",
            '{"type": ["executing"]}',
            event("logs"),
            b"",
            b"\x00",
            b"\xff" * 9,
        ):
            await socket.send(frame)
        await socket.send(event("execution_start", prompt_id="p", timestamp=5))
        await socket.send(FINISHED)
        await socket.wait_closed()

    with anyio.fail_after(WAIT):
        async with speaking(speak) as port, make_client(port) as client, client.listen("ears") as messages:
            heard = await heard_until_finished(messages, "p")
    assert heard == [PromptStarted(prompt_id="p", at_ms=5), PromptFinished(prompt_id="p")]


async def test_a_listener_that_does_not_take_loses_ticks_and_no_events(make_client: ClientMaker) -> None:
    spoken = anyio.Event()

    async def speak(socket: ServerConnection) -> None:
        preview = b"\x00\x00\x00\x01\x00\x00\x00\x01" + b"j" * 100_000
        for node in map(str, range(50)):
            await socket.send(event("executing", node=node, display_node=node, prompt_id="p"))
            for tick in range(40):
                await socket.send(event("progress", value=tick, max=40, prompt_id="p", node=node))
                await socket.send(preview)
                await socket.send(event("status", status={"exec_info": {"queue_remaining": tick}}))
        await socket.send(event("execution_success", prompt_id="p", timestamp=1))
        await socket.send(FINISHED)
        await (await socket.ping())
        spoken.set()
        await socket.wait_closed()

    with anyio.fail_after(WAIT):
        async with speaking(speak) as port, make_client(port) as client, client.listen("ears") as messages:
            await spoken.wait()
            heard = await heard_until_finished(messages, "p")
    assert [message.node for message in heard if isinstance(message, NodeStarted)] == [str(n) for n in range(50)]
    assert sum(isinstance(message, PromptSucceeded) for message in heard) == 1
    assert sum(isinstance(message, NodeProgressed) for message in heard) == 50
    assert {message.value for message in heard if isinstance(message, NodeProgressed)} == {39.0}
    assert sum(isinstance(message, PreviewReceived) for message in heard) == 1
    assert sum(isinstance(message, StatusChanged) for message in heard) == 1


async def test_a_server_that_hangs_up_ends_the_stream_with_an_error(make_client: ClientMaker) -> None:
    async def speak(socket: ServerConnection) -> None:
        await socket.send(event("execution_start", prompt_id="p"))
        await socket.close()

    with anyio.fail_after(WAIT):
        async with speaking(speak) as port, make_client(port) as client, client.listen("ears") as messages:
            heard, error = await all_heard(messages)
    assert heard == [PromptStarted(prompt_id="p")]
    assert isinstance(error, BackendAmbiguousError)


async def test_a_connection_that_is_cut_ends_the_stream_with_an_error(
    sandbox: SandboxServer, client: ComfyClient
) -> None:
    sandbox.set_fault("ws-drop:3")
    with anyio.fail_after(WAIT):
        async with client.listen("ears") as messages:
            await send(client, text_to_image(), client_id="ears")
            _, error = await all_heard(messages)
    assert error.backend_id == "node1"


async def test_a_killed_server_ends_the_stream_with_an_error(sandbox: SandboxServer, client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        async with client.listen("ears") as messages:
            assert isinstance(await anext(messages), StatusChanged)
            await sandbox.stop()
            _, error = await all_heard(messages)
    assert isinstance(error, BackendAmbiguousError)


async def test_a_refused_handshake_is_an_error_of_the_backend(sandbox: SandboxServer, client: ComfyClient) -> None:
    sandbox.set_fault("no-ws")
    with anyio.fail_after(WAIT), pytest.raises(BackendError):
        async with client.listen("ears"):
            pytest.fail("the handshake was refused")


async def test_listening_where_nobody_is_says_that_nothing_was_sent(make_client: ClientMaker) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port: int = listener.extra(anyio.abc.SocketAttribute.local_port)
    with anyio.fail_after(WAIT), pytest.raises(BackendRefusedError):
        async with make_client(port) as client, client.listen("ears"):
            pytest.fail("nobody listens there")


async def test_a_proxy_that_refuses_the_handshake_is_named(raw_server: RawServer, make_client: ClientMaker) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port) as client:
            with pytest.raises(BackendRefusedError) as raised:
                async with client.listen("ears"):
                    pytest.fail("the handshake was refused")
    assert raised.value.details["reason"] == "proxy refused"


async def test_a_redirect_is_not_followed(
    sandbox: SandboxServer, raw_server: RawServer, make_client: ClientMaker
) -> None:
    location = f"Location: ws://127.0.0.1:{sandbox.port}/ws?clientId=stolen"

    async def converse(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(f"HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n".encode())

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port) as client:
            with pytest.raises(BackendAmbiguousError):
                async with client.listen("ears"):
                    pytest.fail("the redirect was followed")


async def test_a_handshake_that_never_ends_is_given_up(raw_server: RawServer, make_client: ClientMaker) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await anyio.sleep_forever()

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port, probe_timeout=0.3) as client:
            with pytest.raises(BackendAmbiguousError):
                async with client.listen("ears"):
                    pytest.fail("there was no handshake")


async def test_the_handshake_carries_the_client_id_and_headers_and_no_origin(
    raw_server: RawServer, make_client: ClientMaker
) -> None:
    heads: list[str] = []

    async def converse(stream: anyio.abc.SocketStream) -> None:
        heads.append((await stream.receive()).decode())

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port, headers={"X-Key": "secret"}) as client:
            with pytest.raises(BackendError) as raised:
                async with client.listen("a/b c"):
                    pytest.fail("there was no handshake")
    head = heads[0].casefold()
    assert head.startswith("get /ws?clientid=a%2fb%20c ")
    assert "x-key: secret" in head
    assert "origin:" not in head
    assert "sec-websocket-extensions" not in head
    assert "secret" not in str(raised.value)


async def test_an_error_inside_the_block_comes_out_as_it_is(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT), pytest.raises(LookupError, match="mine"):
        async with client.listen("ears"):
            raise LookupError("mine")


async def test_leaving_the_block_closes_the_connection(make_client: ClientMaker) -> None:
    closed = anyio.Event()

    async def speak(socket: ServerConnection) -> None:
        await socket.wait_closed()
        closed.set()

    with anyio.fail_after(WAIT):
        async with speaking(speak) as port, make_client(port) as client:
            with anyio.CancelScope() as scope:
                async with client.listen("ears") as messages:
                    scope.cancel()
                    await all_heard(messages)
            await closed.wait()


async def test_proxies_of_the_environment_are_not_used(client: ComfyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with anyio.fail_after(WAIT):
        async with client.listen("ears") as messages:
            assert isinstance(await anext(messages), StatusChanged)


async def test_one_listener_hears_only_the_prompts_of_its_client_id(client: ComfyClient) -> None:
    ours, theirs = uuid.uuid4().hex, uuid.uuid4().hex
    with anyio.fail_after(WAIT):
        async with client.listen(ours) as messages:
            foreign = await send(client, picture_graph("foreign"), client_id=theirs)
            await ended(client, foreign)
            prompt_id = await send(client, picture_graph("ours"), client_id=ours)
            heard = await heard_until_finished(messages, prompt_id)
    started = [message.prompt_id for message in heard if isinstance(message, PromptStarted)]
    assert started == [prompt_id]


async def test_the_newest_update_takes_the_place_of_the_older_one() -> None:
    mailbox = Mailbox("node1")
    for value in (1.0, 2.0):
        mailbox.put(NodeProgressed(prompt_id="p", node="1", value=value, maximum=9.0), 10)
    mailbox.put(GraphProgressed(prompt_id="p", nodes={}), 10)
    with anyio.fail_after(WAIT):
        first, second = await anext(mailbox), await anext(mailbox)
    assert isinstance(first, NodeProgressed)
    assert first.value == 2.0
    assert isinstance(second, GraphProgressed)
    assert len(mailbox) == 0


async def test_updates_make_room_before_events_do() -> None:
    mailbox = Mailbox("node1", most_updates=10, most_bytes=1_000)
    mailbox.put(PromptStarted(prompt_id="p"), 100)
    for node in range(100):
        mailbox.put(NodeProgressed(prompt_id="p", node=str(node), value=1.0, maximum=2.0), 50)
    mailbox.put(PromptFinished(prompt_id="p"), 900)
    with anyio.fail_after(WAIT):
        assert isinstance(await anext(mailbox), PromptStarted)
        assert isinstance(await anext(mailbox), PromptFinished)
    assert len(mailbox) == 0


@pytest.mark.parametrize("limits", [{"most_events": 5}, {"most_bytes": 50}])
async def test_too_many_events_end_the_stream_instead_of_filling_the_memory(limits: dict[str, int]) -> None:
    mailbox = Mailbox("node1", **limits)
    with pytest.raises(BackendAmbiguousError, match="more events than could be taken"):
        for _ in range(6):
            mailbox.put(PromptStarted(prompt_id="p"), 10)


async def test_what_was_heard_before_the_end_can_still_be_taken() -> None:
    mailbox = Mailbox("node1")
    mailbox.put(PromptStarted(prompt_id="p"), 10)
    mailbox.close(BackendAmbiguousError("gone", backend_id="node1"))
    with anyio.fail_after(WAIT):
        assert isinstance(await anext(mailbox), PromptStarted)
        with pytest.raises(BackendAmbiguousError, match="gone"):
            await anext(mailbox)
