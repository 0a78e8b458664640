"""Each fault of the network does what its sentence says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from orchestrator_mcp.sandbox import PROXY_FAULTS, FaultProxy, SandboxOptions, SandboxServer
from tests.partners import picture_graph, text_to_image
from tests.sandbox.listening import listening

BODY = {"prompt": picture_graph(), "prompt_id": "11111111-1111-4111-8111-111111111111"}
NO_ANSWER = (httpx.RemoteProtocolError, httpx.ReadTimeout)  # garbage may look like a header that goes on


@asynccontextmanager
async def proxied(server: SandboxServer, *faults: str) -> AsyncIterator[tuple[FaultProxy, httpx.AsyncClient]]:
    with anyio.fail_after(20):
        async with FaultProxy((server.host, server.port), faults).serve() as proxy, talking(proxy) as client:
            yield proxy, client


def talking(proxy: FaultProxy) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=proxy.url, trust_env=False)


async def test_without_a_fault_everything_passes_and_the_websocket_too(sandbox: SandboxServer) -> None:
    async with proxied(sandbox) as (proxy, client), listening(proxy, "me") as ear:
        answer = await client.post("/prompt", json={"prompt": text_to_image(), "client_id": "me"})
        await ear.until("executing", node=None)
        history = await client.get(f"/history/{answer.json()['prompt_id']}")
    assert history.json()


async def test_latency_holds_every_piece_back(sandbox: SandboxServer) -> None:
    async with proxied(sandbox, "tcp-latency:60") as (_, client):
        before = anyio.current_time()
        await client.get("/queue")
    assert anyio.current_time() - before >= 0.12


@pytest.mark.parametrize(
    ("fault", "error"),
    [("tcp-cut:20", httpx.RemoteProtocolError), ("tcp-reset", httpx.ReadError)],
)
async def test_a_connection_ends_in_the_middle_of_an_answer(
    sandbox: SandboxServer, fault: str, error: type[Exception]
) -> None:
    async with proxied(sandbox, fault) as (_, client):
        with pytest.raises(error):
            await client.get("/queue")


async def test_a_blackhole_keeps_connections_open_and_silent_and_later_ones_work_again(sandbox: SandboxServer) -> None:
    async with proxied(sandbox) as (proxy, early), talking(proxy) as later, talking(proxy) as last:
        assert (await early.get("/queue")).status_code == 200
        proxy.set_fault("tcp-blackhole")
        for client in (early, later):
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/queue", timeout=0.2)
        proxy.clear_faults()
        assert (await last.get("/queue")).status_code == 200


async def test_garbage_is_no_http(sandbox: SandboxServer) -> None:
    async with proxied(sandbox, "tcp-garbage") as (_, client):
        with pytest.raises(NO_ANSWER):
            await client.get("/queue", timeout=1)


async def test_a_prompt_that_is_delayed_in_flight_arrives_though_its_caller_has_gone(sandbox: SandboxServer) -> None:
    async with proxied(sandbox, "tcp-post-delay:300") as (proxy, _):
        async with talking(proxy) as caller:
            with pytest.raises(httpx.ReadTimeout):
                await caller.post("/prompt", json=BODY, timeout=0.05)
        assert sandbox.queue.remaining() == 0
        await sandbox.until_ended(str(BODY["prompt_id"]))


async def test_a_server_that_is_gone_behind_the_proxy_gives_a_reset(sandbox: SandboxServer) -> None:
    async with proxied(sandbox) as (_, client):
        await sandbox.stop()
        with pytest.raises(httpx.TransportError):
            await client.get("/queue")


def test_a_fault_of_the_network_is_refused_by_a_server_and_the_other_way_round() -> None:
    with pytest.raises(ValueError, match="in the proxy"):
        SandboxOptions(faults=("tcp-cut",))
    with pytest.raises(ValueError, match="in the server"):
        FaultProxy(("127.0.0.1", 1), ("freeze",))
    assert len(PROXY_FAULTS) == 6


def test_the_command_line_puts_a_proxy_before_its_servers_when_a_fault_needs_one() -> None:
    command = [sys.executable, "-m", "orchestrator_mcp.cli", "sandbox", "--ports", "0", "--fault", "tcp-garbage"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[-1]
            with pytest.raises(NO_ANSWER):
                httpx.get(f"{url}/queue", trust_env=False, timeout=1)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
