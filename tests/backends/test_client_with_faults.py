"""The client against servers and networks that fail: what it says must be true enough to decide on."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.abc
import pytest

from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.history import chosen_outputs
from orchestrator_mcp.errors import (
    ArtifactError,
    BackendAmbiguousError,
    BackendError,
    BackendRefusedError,
    PromptRejectedError,
)
from orchestrator_mcp.sandbox import SandboxServer
from tests.backends.conftest import ClientMaker, RawServer
from tests.backends.talk import WAIT, answer, downloaded, ended, new_id, read_request, send
from tests.partners import picture_graph

Reader = Callable[[ComfyClient], Awaitable[object]]
READERS: dict[str, Reader] = {
    "stats": lambda client: client.stats(),
    "queue_remaining": lambda client: client.queue_remaining(),
    "queue": lambda client: client.queue(),
    "object_info": lambda client: client.object_info(),
    "history": lambda client: client.history("some-id"),
    "forget": lambda client: client.forget("some-id"),
    "delete_queued": lambda client: client.delete_queued("some-id"),
    "cancel_running": lambda client: client.cancel_running("some-id"),
    "upload": lambda client: client.upload("a.png", b"bytes", "image/png"),
    "submit": lambda client: send(client, picture_graph()),
}
ANSWERING = [name for name in READERS if name not in ("forget", "delete_queued")]


def always(response: bytes) -> Callable[[anyio.abc.SocketStream], Awaitable[None]]:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        while True:
            await read_request(stream)
            await stream.send(response)

    return converse


@pytest.fixture
async def unused_port() -> int:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port: int = listener.extra(anyio.abc.SocketAttribute.local_port)
    return port


@pytest.mark.parametrize("name", READERS)
async def test_a_server_that_does_not_listen_has_received_nothing(
    name: str, unused_port: int, make_client: ClientMaker
) -> None:
    with anyio.fail_after(WAIT):
        async with make_client(unused_port) as client:
            with pytest.raises(BackendRefusedError) as refused:
                await READERS[name](client)
    assert refused.value.backend_id == "node1"
    assert "node1" in refused.value.message


async def test_a_server_whose_name_is_unknown_has_received_nothing(
    make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_such_name(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)  # a real look-up would leave this machine
    with anyio.fail_after(WAIT):
        async with make_client(8188, host="render-7.invalid") as client:
            with pytest.raises(BackendRefusedError):
                await client.stats()


@pytest.mark.parametrize("name", READERS)
async def test_a_gateways_error_page_is_ambiguous_everywhere(
    name: str, sandbox: SandboxServer, client: ComfyClient
) -> None:
    sandbox.set_fault("html-502")
    with anyio.fail_after(WAIT), pytest.raises(BackendAmbiguousError) as raised:
        await READERS[name](client)
    assert raised.value.details["status"] == 502


@pytest.mark.parametrize("name", ANSWERING)
async def test_broken_json_is_ambiguous_everywhere(name: str, sandbox: SandboxServer, client: ComfyClient) -> None:
    sandbox.set_fault("garbage-json")
    with anyio.fail_after(WAIT), pytest.raises(BackendAmbiguousError) as raised:
        await READERS[name](client)
    assert "cannot be read" in raised.value.message


async def test_an_error_500_is_ambiguous_because_the_graph_may_be_queued(
    sandbox: SandboxServer, client: ComfyClient
) -> None:
    sandbox.set_fault("prompt-500")
    prompt_id = new_id()
    with anyio.fail_after(WAIT):
        with pytest.raises(BackendAmbiguousError):
            await client.submit(picture_graph(), prompt_id=prompt_id, client_id="c", marker={})
        assert (await ended(client, prompt_id)).verdict == "succeeded"


async def test_a_connection_cut_after_sending_is_ambiguous_because_the_graph_may_be_queued(
    sandbox: SandboxServer, client: ComfyClient
) -> None:
    sandbox.set_fault("prompt-drop")
    prompt_id = new_id()
    with anyio.fail_after(WAIT):
        with pytest.raises(BackendAmbiguousError):
            await client.submit(picture_graph(), prompt_id=prompt_id, client_id="c", marker={})
        assert (await ended(client, prompt_id)).verdict == "succeeded"


async def test_an_answer_that_comes_too_late_is_ambiguous(sandbox: SandboxServer, make_client: ClientMaker) -> None:
    sandbox.set_fault("prompt-delay:60000")
    with anyio.fail_after(WAIT):
        async with make_client(sandbox.port, post_timeout=1.0) as client:
            with pytest.raises(BackendAmbiguousError) as raised:
                await send(client, picture_graph())
    assert "too long" in raised.value.message


async def test_a_server_that_draws_its_own_id_has_it_reported(sandbox: SandboxServer, client: ComfyClient) -> None:
    sandbox.set_fault("lose-prompt-id")
    ours = new_id()
    with anyio.fail_after(WAIT):
        submission = await client.submit(picture_graph(), prompt_id=ours, client_id="c", marker={"job": "j"})
        assert submission.prompt_id != ours
        entry = await ended(client, submission.prompt_id)
    assert entry.marker == {"job": "j"}


@pytest.mark.parametrize(
    ("status", "said"),
    [("307 Temporary Redirect", "redirect"), ("404 Not Found", "404"), ("429 Too Many Requests", "429")],
)
async def test_other_answers_to_a_graph_are_ambiguous(
    status: str, said: str, raw_server: RawServer, make_client: ClientMaker
) -> None:
    response = answer(status, b"", "Location: http://127.0.0.1:1/elsewhere")
    with anyio.fail_after(WAIT):
        async with raw_server(always(response)) as port, make_client(port) as client:
            with pytest.raises(BackendAmbiguousError) as raised:
                await send(client, picture_graph())
    assert said in raised.value.message


async def test_a_graph_that_is_too_large_is_rejected_for_good(raw_server: RawServer, make_client: ClientMaker) -> None:
    response = answer("413 Request Entity Too Large", b"Maximum request body size 104857600 exceeded")
    with anyio.fail_after(WAIT):
        async with raw_server(always(response)) as port, make_client(port) as client:
            with pytest.raises(PromptRejectedError) as raised:
                await send(client, picture_graph())
    assert raised.value.details["type"] == "too_large"
    assert raised.value.missing == ()


async def test_a_400_that_is_not_comfyuis_is_ambiguous(raw_server: RawServer, make_client: ClientMaker) -> None:
    with anyio.fail_after(WAIT):
        async with raw_server(always(answer("400 Bad Request", b"<html>"))) as port, make_client(port) as client:
            with pytest.raises(BackendAmbiguousError):
                await send(client, picture_graph())


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
@pytest.mark.parametrize("name", READERS)
async def test_a_proxy_that_wants_credentials_is_named(
    name: str, status: str, raw_server: RawServer, make_client: ClientMaker
) -> None:
    with anyio.fail_after(WAIT):
        async with raw_server(always(answer(status, b"no"))) as port, make_client(port) as client:
            with pytest.raises(BackendRefusedError) as raised:
                await READERS[name](client)
    assert raised.value.details["reason"] == "proxy refused"
    assert "headers" in str(raised.value)


async def test_configured_headers_are_sent_and_no_origin_proxy_or_compression(
    raw_server: RawServer, make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    heads: list[str] = []

    async def converse(stream: anyio.abc.SocketStream) -> None:
        heads.append((await read_request(stream)).decode().casefold())
        await stream.send(answer("200 OK", b'{"exec_info":{"queue_remaining":3}}'))

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port, headers={"Authorization": "Basic eA=="}) as client:
            assert await client.queue_remaining() == 3
    (head,) = heads
    assert "authorization: basic ea==" in head
    assert "accept-encoding: identity" in head
    assert "origin:" not in head


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(answer("200 OK", b'{"system": {', length=5000), id="cut in the middle"),
        pytest.param(b"\x00\xff garbage\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="broken chunks"),
        pytest.param(b"", id="nothing"),
        pytest.param(answer("200 OK", b"[" * 100_000), id="nested without end"),
        pytest.param(answer("200 OK", b"\x1f\x8b\x08", "Content-Encoding: gzip"), id="compressed"),
        pytest.param(answer("200 OK", b"x" * 100_000), id="larger than the limit"),
        pytest.param(answer("200 OK", b"[]"), id="another shape"),
        pytest.param(answer("200 OK", b'{"system": [], "prompt_id": 7, "exec_info": true}'), id="other types"),
        pytest.param(answer("200 OK", b'"\xff\xfe"'), id="no UTF-8"),
        pytest.param(answer("200 OK", b"9" * 10_000), id="a number of ten thousand digits"),
        pytest.param(answer("204 No Content", b""), id="no content"),
    ],
)
@pytest.mark.parametrize("name", ANSWERING)
async def test_whatever_bytes_come_back_the_error_is_ours(
    name: str, response: bytes, raw_server: RawServer, make_client: ClientMaker
) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await read_request(stream)
        await stream.send(response)

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port, backend_json_bytes=65536) as client:
            with pytest.raises(BackendAmbiguousError) as raised:
                await READERS[name](client)
    assert len(raised.value.message) < 1_000
    assert raised.value.message.isprintable()


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (answer("200 OK", b'{"exec_info":{"queue_remaining":1}}' + b" " * 70_000), "more than 65536 bytes"),
        (answer("200 OK", b'{"exec_info":{"queue_remaining":1}}', "Content-Encoding: br"), "compressed"),
    ],
)
async def test_a_good_answer_that_is_too_large_or_compressed_is_refused(
    response: bytes, said: str, raw_server: RawServer, make_client: ClientMaker
) -> None:
    with anyio.fail_after(WAIT):
        async with raw_server(always(response)) as port, make_client(port, backend_json_bytes=65536) as client:
            with pytest.raises(BackendAmbiguousError, match=said):
                await client.queue_remaining()


async def test_a_new_version_without_the_new_way_to_cancel_is_told_the_older_way(
    raw_server: RawServer, make_client: ClientMaker
) -> None:
    asked: list[tuple[str, str]] = []

    async def converse(stream: anyio.abc.SocketStream) -> None:
        while True:
            head, _, body = (await read_request(stream)).decode().partition("\r\n\r\n")
            asked.append((" ".join(head.split(" ")[:2]), body))
            if "/system_stats" in head:
                await stream.send(answer("200 OK", b'{"system":{"comfyui_version":"0.40.0"},"devices":[]}'))
            else:
                await stream.send(answer("404 Not Found" if "/api/jobs" in head else "200 OK", b""))

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port) as client:
            assert await client.cancel_running("some-id")
    assert asked[1:] == [("POST /api/jobs/some-id/cancel", "{}"), ("POST /interrupt", '{"prompt_id":"some-id"}')]


async def test_a_body_that_drips_is_given_up_in_time(raw_server: RawServer, make_client: ClientMaker) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await read_request(stream)
        await stream.send(answer("200 OK", b'{"exec_info"', length=1_000_000))
        while True:
            await stream.send(b" ")
            await anyio.sleep(0.01)

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port, probe_timeout=0.8) as client:
            with pytest.raises(BackendAmbiguousError):
                await client.queue_remaining()


async def test_an_error_page_is_told_by_its_title(raw_server: RawServer, make_client: ClientMaker) -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"x" * 5_000
    with anyio.fail_after(WAIT):
        async with raw_server(always(answer("502 Bad Gateway", page))) as port, make_client(port) as client:
            with pytest.raises(BackendAmbiguousError) as raised:
                await client.stats()
    assert raised.value.message == "Backend node1 answers GET /system_stats with 502: 502 Bad Gateway."


async def test_a_torn_download_is_ambiguous(sandbox: SandboxServer, client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        sandbox.set_fault("truncated-view")
        with pytest.raises(BackendAmbiguousError):
            await downloaded(client, output)


async def test_a_download_that_falls_silent_is_given_up(
    raw_server: RawServer, sandbox: SandboxServer, client: ComfyClient, make_client: ClientMaker
) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await read_request(stream)
        await stream.send(answer("200 OK", b"\x89PNG", length=1_000))
        await anyio.sleep_forever()

    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        async with raw_server(converse) as port, make_client(port, probe_timeout=0.3) as silent:
            with pytest.raises(BackendAmbiguousError):
                await downloaded(silent, output)


async def test_downloads_that_take_long_leave_the_backend_within_reach(
    raw_server: RawServer, sandbox: SandboxServer, client: ComfyClient, make_client: ClientMaker
) -> None:
    crept = anyio.Semaphore(0)

    async def converse(stream: anyio.abc.SocketStream) -> None:
        if b"GET /view" in await read_request(stream):
            await stream.send(answer("200 OK", b"\x89PNG", length=1_000))
            crept.release()
            await anyio.sleep_forever()
        await stream.send(answer("200 OK", b'{"exec_info": {"queue_remaining": 3}}'))

    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        async with (
            raw_server(converse) as port,
            make_client(port, connect_timeout=1.0) as slow,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(20):
                tasks.start_soon(downloaded, slow, output)
            for _ in range(4):
                await crept.acquire()
            assert [await slow.queue_remaining() for _ in range(3)] == [3, 3, 3]
            tasks.cancel_scope.cancel()


async def test_a_download_that_promises_too_much_is_refused_before_its_bytes_come(
    raw_server: RawServer, sandbox: SandboxServer, client: ComfyClient, make_client: ClientMaker
) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await read_request(stream)
        await stream.send(answer("200 OK", b"", length=10**15))
        await anyio.sleep_forever()

    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        async with raw_server(converse) as port, make_client(port) as promising:
            with pytest.raises(ArtifactError) as raised:
                await downloaded(promising, output)
    assert raised.value.details["reason"] == "too_large"


async def test_a_compressed_download_is_refused(
    raw_server: RawServer, sandbox: SandboxServer, client: ComfyClient, make_client: ClientMaker
) -> None:
    response = answer("200 OK", b"\x1f\x8b\x08", "Content-Encoding: gzip")
    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        async with raw_server(always(response)) as port, make_client(port) as compressing:
            with pytest.raises(BackendAmbiguousError, match="compressed"):
                await downloaded(compressing, output)


async def test_a_download_whose_headers_drip_is_given_up(
    raw_server: RawServer, sandbox: SandboxServer, client: ComfyClient, make_client: ClientMaker
) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await read_request(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while True:
            await stream.send(b"x")
            await anyio.sleep(0.01)

    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        async with raw_server(converse) as port, make_client(port, probe_timeout=0.3) as dripping:
            with pytest.raises(BackendAmbiguousError):
                await downloaded(dripping, output)


async def test_a_download_without_a_length_stops_at_the_limit(
    raw_server: RawServer, sandbox: SandboxServer, client: ComfyClient, make_client: ClientMaker
) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        await read_request(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
        while True:
            await stream.send(b"x" * 1_000)

    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        async with raw_server(converse) as port, make_client(port, output_bytes=10_000) as endless:
            with pytest.raises(ArtifactError) as raised:
                await downloaded(endless, output)
    assert raised.value.details["reason"] == "too_large"


async def test_an_error_of_the_one_who_reads_a_download_stays_its_own(client: ComfyClient) -> None:
    with anyio.fail_after(WAIT):
        (output,) = chosen_outputs(await ended(client, await send(client, picture_graph())))
        with pytest.raises(OSError, match="disk full"):
            async with client.view(output) as stream:
                async for _ in stream.chunks():
                    raise OSError("disk full")
        assert await client.queue_remaining() == 0


async def test_our_own_file_that_is_missing_is_not_the_backends_fault(client: ComfyClient, tmp_path: Path) -> None:
    with anyio.fail_after(WAIT), pytest.raises(FileNotFoundError):
        await client.upload("a.png", tmp_path / "absent.png", "image/png")


async def test_a_backend_that_comes_back_is_served_by_the_same_client(
    sandbox: SandboxServer, client: ComfyClient
) -> None:
    with anyio.fail_after(WAIT):
        await client.stats()
        await sandbox.stop()
        with pytest.raises(BackendError):
            await client.stats()
        with pytest.raises(BackendRefusedError):
            await send(client, picture_graph())
        await sandbox.start()
        assert (await client.stats()).version == "0.3.64"
