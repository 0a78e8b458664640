"""What is no HTTP, or too much of it: no application sees it, and it is answered all the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from orchestrator_mcp.doors.http.unreadable import MOST_HEAD

PIECE = 1 << 16
HEAD = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def answered(client: httpx.AsyncClient, sent: bytes) -> tuple[int, dict[str, str]]:
    """Send this as it is, and give the status and the document of the answer."""
    received = b""
    async with await anyio.connect_tcp(client.base_url.host, client.base_url.port or 80) as stream:
        await stream.send(sent)
        async for piece in stream:
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    document: dict[str, str] = json.loads(body)
    assert document["detail"] and document["hint"]
    return int(head.split()[1]), document


@pytest.fixture(autouse=True)
def uvicorn_says_so_too(caplog: pytest.LogCaptureFixture) -> None:
    """One line of a log for each is right; the document is what is looked at here."""
    caplog.set_level("ERROR", logger="uvicorn.error")


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (b"hello\r\n\r\n", "method"),
        (b"post /api/job HTTP/1.1\r\n\r\n", "method"),
        (b"FETCH /api/job HTTP/1.1\r\n\r\n", "method"),
        (b"GET /api/health HTTP/9.9\r\n\r\n", "version"),
        (HEAD + b"Idempotency-Key: a\x01b\r\n\r\n", "header"),
        (HEAD + b"Content-Length: many\r\n\r\n", "Content-Length"),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "65535"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "method"),
    ],
)
async def test_what_is_no_http_is_told_in_json(client: httpx.AsyncClient, sent: bytes, fault: str) -> None:
    status, document = await answered(client, sent)
    assert (status, document["code"]) == (400, "bad_request")
    assert fault.casefold() in document["detail"].casefold()


async def test_a_head_that_is_too_long_is_told_so(client: httpx.AsyncClient) -> None:
    status, document = await answered(client, HEAD + b"Long: " + b"a" * (MOST_HEAD - len(HEAD) - 5))
    assert (status, document["code"]) == (431, "too_large")


@pytest.mark.parametrize("piece", [b"a" * PIECE, b"X: y\r\n" * (PIECE // 6)], ids=["one header", "many headers"])
@pytest.mark.parametrize(
    "before", [HEAD, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"], ids=["head", "trailers"]
)
async def test_headers_without_end_are_cut_before_they_fill_the_memory(
    client: httpx.AsyncClient, before: bytes, piece: bytes
) -> None:
    async with await anyio.connect_tcp(client.base_url.host, client.base_url.port or 80) as stream:
        await stream.send(before + b"Long: ")
        with pytest.raises(anyio.BrokenResourceError), anyio.fail_after(20):
            for _ in range(100 * MOST_HEAD // PIECE):
                await stream.send(piece)


async def test_a_long_body_in_small_pieces_is_no_long_head(client: httpx.AsyncClient) -> None:
    async def pieces(count: int = 12_000) -> AsyncIterator[bytes]:  # each takes more room around it than in it
        for _ in range(count):
            yield b" " * 60
        yield b'{"workflow_id": "my_workflow_001"}'

    headers = {"Content-Type": "application/json"}
    for _ in range(2):  # on one connection
        response = await client.post("/api/job", content=pieces(), headers=headers)
        assert response.status_code == 202
