"""Who is let in: Host, Origin and token, for requests and for WebSockets."""

from __future__ import annotations

import base64
import logging

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from orchestrator_mcp.domain.access import KnownToken, Scope, digest_of
from orchestrator_mcp.doors.http import BodyLimits
from orchestrator_mcp.doors.http.guard import same_origin, split_host
from orchestrator_mcp.doors.http.machine import addresses_in_fib_trie, names_of_this_machine
from tests.doors.http.farm import JOB, ServiceDouble
from tests.doors.http.served import served

MANIFEST = {"workflow_id": "my_workflow_001"}
TOKEN = "s3cret-token_0123456789"
GUARDED = ["/api/health", "/api/backends", f"/api/job/{JOB}", "/docs", "/openapi.json", "/docs/assets/icon.svg"]


def socket_url(client: httpx.AsyncClient, path: str = f"/api/job/{JOB}/stream") -> str:
    return str(client.base_url.copy_with(scheme="ws")).rstrip("/") + path


async def refused(url: str, **choices: object) -> int:
    """The status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, proxy=None, **choices):  # type: ignore[arg-type]
            raise AssertionError("the handshake was accepted")
    assert caught.value.response.body is not None and b"detail" in caught.value.response.body
    return caught.value.response.status_code


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:9800", "[::1]:9800", "localhost.:80", "renders.studio:7"]
)
async def test_this_machines_names_pass(farm: ServiceDouble, host: str) -> None:
    async with served(farm, guard={"allowed_hosts": ["Renders.Studio"]}) as client:
        assert (await client.get("/api/health", headers={"Host": host})).status_code == 200


async def test_every_name_of_this_machine_passes(client: httpx.AsyncClient) -> None:
    for name in names_of_this_machine():
        host = f"[{name}]:9800" if ":" in name else f"{name}:9800"
        assert (await client.get("/health", headers={"Host": host})).status_code == 200, host


async def test_the_host_of_the_public_url_passes(farm: ServiceDouble) -> None:
    async with served(farm, guard={"public_url": "https://renders.example/"}) as client:
        assert (await client.get("/health", headers={"Host": "renders.example"})).status_code == 200


async def test_other_hosts_are_refused_everywhere(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    hosts = [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example:9800",
        "8.8.8.8",
        "",
        "a b",
    ]
    for host in hosts:
        for path in ("/health", "/docs", "/nothing", "/api/jobs"):
            response = await client.get(path, headers={"Host": host})
            assert (response.status_code, response.json()["code"]) == (421, "unknown_host"), (host, path)
        response = await client.post("/api/job", json=MANIFEST, headers={"Host": host})
        assert response.status_code == 421
    assert await refused(socket_url(client), additional_headers={"Host": "evil.example"}) == 421
    assert farm.submitted == []


async def test_a_request_with_two_hosts_or_none_is_refused(client: httpx.AsyncClient) -> None:
    for head in ("HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", "HTTP/1.0\r\nAccept: */*"):
        async with await anyio.connect_tcp("127.0.0.1", client.base_url.port or 0) as raw:
            await raw.send(f"GET /health {head}\r\nConnection: close\r\n\r\n".encode())
            assert b" 421 " in (await raw.receive())[:20]


async def test_origins_of_this_server_and_configured_ones_pass(farm: ServiceDouble) -> None:
    async with served(farm, guard={"cors_origins": ["http://tool.example:3000/"]}) as client:
        own = str(client.base_url).rstrip("/")
        for origin in (None, own, "http://tool.example:3000"):
            headers = {"Origin": origin} if origin else {}
            response = await client.post("/api/job", json=MANIFEST, headers=headers)
            assert response.status_code == 202, origin
        assert response.headers["access-control-allow-origin"] == "http://tool.example:3000"


async def test_other_origins_are_refused(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    port = client.base_url.port
    for origin in ("null", "https://evil.example", f"http://localhost:{port}", "http://127.0.0.1:1", "file://", "x"):
        for method, path in (("GET", "/api/backends"), ("POST", "/api/job"), ("DELETE", f"/api/job/{JOB}")):
            response = await client.request(method, path, headers={"Origin": origin})
            assert (response.status_code, response.json()["code"]) == (403, "foreign_origin"), (origin, method)
            assert "access-control-allow-origin" not in response.headers
        assert await refused(socket_url(client), additional_headers={"Origin": origin}) == 403
    assert farm.submitted == []


async def test_a_page_of_another_site_cannot_change_anything(farm: ServiceDouble) -> None:
    async with served(farm, guard={"cors_origins": ["http://tool.example:3000"]}) as client:
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert (await client.post("/api/job", json=MANIFEST, headers=foreign)).status_code == 403
        assert (await client.delete(f"/api/job/{JOB}", headers=foreign)).status_code == 403
        assert (await client.get("/api/backends", headers=foreign)).status_code == 200
        configured = {**foreign, "Origin": "http://tool.example:3000"}
        assert (await client.post("/api/job", json=MANIFEST, headers=configured)).status_code == 202


async def test_a_configured_origin_gets_its_preflight_without_a_token(farm: ServiceDouble) -> None:
    guard = {"cors_origins": ["http://tool.example:3000"], "tokens": [known("alice", TOKEN)]}
    asking = {
        "Origin": "http://tool.example:3000",
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }
    async with served(farm, guard=guard) as client:
        response = await client.options("/api/job/x", headers=asking)
        assert response.status_code == 200
        assert "DELETE" in response.headers["access-control-allow-methods"]
        response = await client.options("/api/job/x", headers={**asking, "Origin": "http://evil.example"})
        assert response.status_code == 403


@pytest.mark.parametrize(
    ("asked", "what"),
    [("access-control-request-method", "method"), ("access-control-request-headers", "headers")],
)
async def test_a_preflight_that_asks_for_too_much_is_told_in_json(farm: ServiceDouble, asked: str, what: str) -> None:
    origin = "http://tool.example:3000"
    async with served(farm, guard={"cors_origins": [origin]}) as client:
        asking = {"origin": origin, "access-control-request-method": "GET", asked: "x-strange"}
        refused = await client.options("/api/jobs", headers=asking)
        document = refused.json()
    assert (refused.status_code, document["code"]) == (400, "preflight_refused")
    assert what in document["detail"] and "DELETE" in document["hint"]
    assert refused.headers["access-control-allow-origin"] == origin


def known(name: str, token: str) -> KnownToken:
    return KnownToken(name=name, scope=Scope.ADMIN, digest=digest_of(token.encode()))


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


async def test_a_token_passes_as_bearer_and_as_basic_password(farm: ServiceDouble) -> None:
    async with served(farm, guard={"tokens": [known("bob", "other-token"), known("alice", TOKEN)]}) as client:
        for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic(TOKEN)):
            response = await client.post("/api/job", json=MANIFEST, headers={"Authorization": value})
            assert response.status_code == 202, value
        await client.post("/api/job", json=MANIFEST, headers={"Authorization": "Bearer other-token"})
    assert [submitted.by.name for submitted in farm.submitted] == ["alice", "alice", "alice", "bob"]


async def test_without_the_token_nothing_answers_but_health(farm: ServiceDouble) -> None:
    wrong = [
        "",
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
        basic("x"),
        "Basic !!",
        "Basic YQ==",
        "Bearer \xe9",
    ]
    async with served(farm, guard={"tokens": [known("alice", TOKEN)]}) as client:
        assert (await client.get("/health")).status_code == 200
        for value in wrong:
            for path in (*GUARDED, f"/api/job?token={TOKEN}", "/nothing"):
                response = await client.get(path, headers=[(b"Authorization", value.encode("latin-1"))])
                assert response.status_code == 401, (value, path)
        assert response.headers.get_list("www-authenticate") == [
            'Bearer realm="orchestrator"',
            'Basic realm="orchestrator", charset="UTF-8"',
        ]
        assert TOKEN not in response.text


async def test_the_token_is_asked_for_before_the_body_is_read(farm: ServiceDouble) -> None:
    async with served(
        farm, guard={"tokens": [known("alice", TOKEN)]}, limits=lambda: BodyLimits(document=1000)
    ) as client:
        response = await client.post("/api/job", content=b"x" * 100_000)
    assert response.status_code == 401


async def test_a_websocket_shows_its_token_as_a_subprotocol(farm: ServiceDouble) -> None:
    async with served(farm, guard={"tokens": [known("alice", TOKEN)]}) as client:
        url = socket_url(client)
        assert await refused(url) == 401
        assert await refused(url, subprotocols=[Subprotocol("bearer.wrong")]) == 401
        offered = [Subprotocol(f"bearer.{TOKEN}"), Subprotocol("orchestrator")]
        async with connect(url, proxy=None, subprotocols=offered) as socket:
            assert socket.subprotocol == "orchestrator"
            assert await socket.recv()
        async with connect(url, proxy=None, subprotocols=offered[:1]) as socket:
            assert socket.subprotocol == f"bearer.{TOKEN}"
        async with connect(url, proxy=None, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
            assert await socket.recv()


async def test_a_refused_token_does_not_stand_in_the_log(farm: ServiceDouble, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="orchestrator_mcp"):
        async with served(farm, guard={"tokens": [known("alice", TOKEN)]}) as client:
            await client.get("/api/backends", headers={"Authorization": "Bearer wrong-canary"})
    assert "wrong-canary" not in caplog.text
    caplog.clear()


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://a:80", "a", True),
        ("https://a", "a:443", True),
        ("http://A", "a", True),
        ("http://[::1]:5", "[0:0:0:0:0:0:0:1]:5", True),
        ("https://a", "a:80", False),
        ("http://a:81", "a", False),
        ("http://a/", "a", False),
        ("ftp://a", "a", False),
        ("a", "a", False),
        ("http://b@a", "a", False),
    ],
)
def test_an_origin_is_the_host_only_with_the_same_port(origin: str, host: str, same: bool) -> None:
    assert same_origin(origin, host) is same


@pytest.mark.parametrize("value", ["", "a b", "a:b", "a:123456", "[::1", "a/b", "http://a", "a@b", "é", "::1", "a\n"])
def test_what_is_no_host_is_not_read_as_one(value: str) -> None:
    assert split_host(value) is None


def test_the_kernels_own_addresses_are_found_in_its_table() -> None:
    table = """Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.168.7.0
        /24 link UNICAST
     |-- 192.168.7.22
        /32 host LOCAL
     |-- 192.168.7.255
        /32 link BROADCAST"""
    assert addresses_in_fib_trie(table.splitlines()) == {"127.0.0.1", "192.168.7.22"}
