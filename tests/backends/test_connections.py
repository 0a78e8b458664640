"""Connections to a backend: kept while they are good, never used again when they may be out of step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.backends.incoming import Incoming, TornError
from orchestrator_mcp.errors import BackendAmbiguousError
from tests.backends.conftest import ClientMaker, RawServer
from tests.backends.talk import WAIT, answer, read_request

REMAINING = b'{"exec_info":{"queue_remaining":%d}}'
Conversation = Callable[[anyio.abc.SocketStream], Awaitable[None]]


class Numbered:
    """Answers the n-th connection's requests with what a test has prepared, and notes how many there were."""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._answers = answers
        self._close = close
        self.closed = anyio.Event()

    async def __call__(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        while True:
            self.requests.append(await read_request(stream))
            await stream.send(self._answers[min(len(self.requests), len(self._answers)) - 1])
            if self._close:
                await stream.aclose()
                self.closed.set()
                return


async def remaining(raw_server: RawServer, make_client: ClientMaker, served: Conversation, times: int) -> list[int]:
    with anyio.fail_after(WAIT):
        async with raw_server(served) as port, make_client(port) as client:
            return [await client.queue_remaining() for _ in range(times)]


async def test_one_connection_carries_request_after_request(raw_server: RawServer, make_client: ClientMaker) -> None:
    served = Numbered(answer("200 OK", REMAINING % 3))
    assert await remaining(raw_server, make_client, served, 4) == [3, 3, 3, 3]
    assert (served.connections, len(served.requests)) == (1, 4)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(
    raw_server: RawServer, make_client: ClientMaker
) -> None:
    served = Numbered(answer("200 OK", REMAINING % 3), close=True)
    with anyio.fail_after(WAIT):
        async with raw_server(served) as port, make_client(port) as client:
            for _ in range(3):
                assert await client.queue_remaining() == 3
                await served.closed.wait()
                served.closed = anyio.Event()
    assert served.connections == 3


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(answer("200 OK", REMAINING % 3, "Connection: close"), id="the server says so"),
        pytest.param(answer("200 OK", REMAINING % 3) + answer("200 OK", REMAINING % 9), id="an answer too many"),
        pytest.param(answer("200 OK", REMAINING % 3) + b"\x00garbage", id="bytes too many"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 35\r\n\r\n" + REMAINING % 3, id="an old server"),
    ],
)
async def test_a_connection_that_may_be_out_of_step_is_not_used_again(
    first: bytes, raw_server: RawServer, make_client: ClientMaker
) -> None:
    served = Numbered(first, answer("200 OK", REMAINING % 4))
    assert await remaining(raw_server, make_client, served, 2) == [3, 4]
    assert served.connections == 2


async def test_an_answer_too_many_that_comes_late_is_not_taken_for_that_of_the_next_request(
    raw_server: RawServer, make_client: ClientMaker
) -> None:
    answered, late = anyio.Event(), anyio.Event()

    async def converse(stream: anyio.abc.SocketStream) -> None:
        await read_request(stream)
        if answered.is_set():
            await stream.send(answer("200 OK", REMAINING % 4))
            return
        await stream.send(answer("200 OK", REMAINING % 3))
        await answered.wait()
        await stream.send(answer("200 OK", REMAINING % 9))
        late.set()
        await anyio.sleep_forever()

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port) as client:
            assert await client.queue_remaining() == 3
            answered.set()
            await late.wait()
            assert await client.queue_remaining() == 4


async def test_what_was_given_up_leaves_no_answer_for_the_next(raw_server: RawServer, make_client: ClientMaker) -> None:
    asked = anyio.Event()
    connections = 0

    async def converse(stream: anyio.abc.SocketStream) -> None:
        nonlocal connections
        connections += 1
        number = connections
        await read_request(stream)
        if number == 1:
            asked.set()
            await anyio.sleep_forever()
        await stream.send(answer("200 OK", REMAINING % number))

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.queue_remaining)
                await asked.wait()
                tasks.cancel_scope.cancel()
            assert await client.queue_remaining() == 2


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\n"
            b'{"exec_info":{"queue_remaini\r\n7\r\nng":3}}\r\n0\r\nX-Trailer: 1\r\n\r\n',
            id="in chunks",
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\n" + answer("200 OK", REMAINING % 3),
            id="hints before",
        ),
        pytest.param(answer("200 OK", REMAINING % 3), id="byte by byte"),
    ],
)
async def test_every_way_to_send_an_answer_is_read(
    whole: bytes, raw_server: RawServer, make_client: ClientMaker
) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        while True:
            await read_request(stream)
            for byte in whole:
                await stream.send(bytes([byte]))

    assert await remaining(raw_server, make_client, converse, 2) == [3, 3]


async def test_an_answer_without_a_length_ends_with_its_connection(
    raw_server: RawServer, make_client: ClientMaker
) -> None:
    served = Numbered(b"HTTP/1.1 200 OK\r\n\r\n" + REMAINING % 3, close=True)
    assert await remaining(raw_server, make_client, served, 2) == [3, 3]
    assert served.connections == 2


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\n", b"X-More: of it\r\n" * 1_000), id="headers"),
        pytest.param((b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 10_000), id="one header"),
        pytest.param((b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000), id="answers before the answer"),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: of it\r\n" * 1_000), id="trailers"
        ),
    ],
)
async def test_headers_without_an_end_are_given_up_before_they_fill_the_memory(
    endless: Sequence[bytes], raw_server: RawServer, make_client: ClientMaker
) -> None:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        begin, more = endless
        await read_request(stream)
        await stream.send(begin)
        while True:
            await stream.send(more)

    with anyio.fail_after(WAIT):
        async with raw_server(converse) as port, make_client(port) as client:
            with pytest.raises(BackendAmbiguousError, match="of headers came"):
                await client.queue_remaining()


async def test_a_request_carries_the_headers_that_are_configured_once(
    raw_server: RawServer, make_client: ClientMaker
) -> None:
    served = Numbered(answer("200 OK", REMAINING % 3))
    with anyio.fail_after(WAIT):
        async with (
            raw_server(served) as port,
            make_client(port, headers={"user-agent": "studio", "Authorization": "Bearer x"}) as client,
        ):
            await client.queue_remaining()
    [head] = served.requests
    lines = head.decode().split("\r\n")
    assert {f"Host: 127.0.0.1:{port}", "user-agent: studio", "Authorization: Bearer x"} <= set(lines)
    assert sum(line.lower().startswith("user-agent:") for line in lines) == 1


@given(st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"\r\n", b"0\r\n\r\n"])))
def test_whatever_bytes_come_they_are_an_answer_or_torn(pieces: list[bytes]) -> None:
    incoming = Incoming(bodiless=False)
    try:
        body = b"".join(incoming.feed(piece) for piece in pieces if not incoming.whole)
        if not incoming.whole:
            incoming.end()
    except TornError as error:
        assert str(error)
    else:
        assert incoming.whole and 100 <= incoming.status < 1_000 and len(body) <= sum(map(len, pieces))
