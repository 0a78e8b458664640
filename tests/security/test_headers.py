"""The same matrix of headers on every transport: only this machine's names, only its own pages, only JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.security.guarded import PICTURE, Guarded, guarded

MATRIX: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"Host": "localhost:{port}"}, 200),
    ({"Host": "[::1]:{port}"}, 200),
    ({"Origin": "http://127.0.0.1:{port}"}, 200),
    ({"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}, 200),
    ({"Host": "evil.example"}, 421),
    ({"Host": "127.0.0.1.evil.example:{port}"}, 421),
    ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://localhost:{port}"}, 403),
    ({"Origin": "http://127.0.0.1:{port}.evil.example"}, 403),
]
MCP = {"Accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def farm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """One orchestrator on loopback for the whole module; nothing here changes it."""
    folder: Path = tmp_path_factory.mktemp("headers")
    async with guarded(folder, tokens=False) as running:
        yield running


async def got(farm: Guarded, path: str, headers: dict[str, str]) -> int:
    async with farm.client(**headers) as client, client.stream("GET", path) as response:
        return response.status_code


async def posted(farm: Guarded, path: str, headers: dict[str, str]) -> int:
    async with farm.client(**headers, **MCP) as client:
        response = await client.post(path, json=INITIALIZE if path == "/mcp" else {})
    # An empty manifest is wrong (422), and a message without a session is, too (400): both have passed the guard.
    return 200 if response.status_code in (422, 400) else response.status_code


async def connected(farm: Guarded, path: str, headers: dict[str, str]) -> int:
    """A handshake written by hand: clients choose their own Host."""
    port = int(farm.url.rpartition(":")[2])
    upgrade = {
        "Host": f"127.0.0.1:{port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    status = await by_hand(port, path, upgrade)
    return 200 if status == 101 else status


async def by_hand(port: int, path: str, headers: dict[str, str]) -> int:
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send("\r\n".join(lines).encode())
        return int((await BufferedByteReceiveStream(stream).receive_until(b"\r\n", 1000)).split()[1])


@pytest.mark.parametrize(
    ("way", "path"),
    [
        (got, "/api/health"),
        (got, "/health"),
        (got, "/docs"),
        (got, "/openapi.json"),
        (got, "/api/jobs"),
        (posted, "/api/job"),
        (got, "/sse"),
        (posted, "/messages/"),
        (posted, "/mcp"),
        (connected, "/api/job/nothing/stream"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
@pytest.mark.filterwarnings("ignore:.*MemoryObjectSendStream.*:pytest.PytestUnraisableExceptionWarning")
async def test_every_transport_checks_host_and_origin(farm: Guarded, way: object, path: str) -> None:
    port = farm.url.rpartition(":")[2]
    assert callable(way)
    for template, expected in MATRIX:
        headers = {name: value.format(port=port) for name, value in template.items()}
        assert await way(farm, path, headers) == expected, headers


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json", "*/*"],
)
async def test_a_form_of_a_web_page_submits_nothing(farm: Guarded, media_type: str) -> None:
    body = b'{"workflow_id": "my_workflow_001"}'
    async with farm.client() as client:
        response = await client.post("/api/job", content=body, headers={"Content-Type": media_type})
        assert response.status_code == (400 if "form-data" in media_type else 415)
        response = await client.post("/mcp", json=INITIALIZE, headers={**MCP, "Content-Type": media_type})
        assert response.status_code in (400, 415)
        assert (await client.get("/api/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("path", ["/api/job", "/mcp", "/messages/"])
async def test_what_a_browser_calls_cross_site_changes_nothing(farm: Guarded, path: str) -> None:
    async with farm.client(**{"Sec-Fetch-Site": "cross-site"}, **MCP) as client:
        assert (await client.post(path, json=INITIALIZE)).status_code == 403


async def test_cors_is_off_unless_configured(farm: Guarded) -> None:
    asking = {"Origin": "http://tool.example", "Access-Control-Request-Method": "POST"}
    async with farm.client() as client:
        response = await client.options("/api/job", headers=asking)
        assert response.status_code == 403
        own = await client.get("/api/health", headers={"Origin": farm.url})
    for answered in (response, own):
        assert not [name for name in answered.headers if name.startswith("access-control-")]


async def test_the_guard_decides_on_the_path_alone(tmp_path: Path) -> None:
    # What a url built from the Host header would call another path (CVE-2026-48710).
    async with guarded(tmp_path) as closed:
        port = int(closed.url.rpartition(":")[2])
        for host in (f"127.0.0.1:{port}/health?", f"127.0.0.1:{port}/health#", f"user@127.0.0.1:{port}"):
            assert await by_hand(port, "/api/jobs", {"Host": host}) in (400, 421), host
        for path in ("/api/jobs/../../health", "/api/jobs?x=/health", "/api/jobs;/health", "//health", "/health/x"):
            assert await by_hand(port, path, {"Host": f"127.0.0.1:{port}"}) == 401, path


async def test_outputs_are_served_so_that_no_browser_runs_them(farm: Guarded) -> None:
    async with farm.client() as client:
        job_id = (await client.post("/api/job", json={"workflow": PICTURE})).json()["job_id"]
        await client.get(f"/api/job/{job_id}/events")
        (output,) = (await client.get(f"/api/job/{job_id}/outputs")).json()
        served = await client.get(output["url"])
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["content-security-policy"] == "sandbox"
    assert served.headers["content-disposition"].startswith("inline")
