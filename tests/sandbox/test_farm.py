"""Servers start, stop and restart; many of them share one process."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest

from orchestrator_mcp.sandbox import Sandbox, SandboxOptions, same_for_all, serve_many
from tests.partners import SandboxFactory, picture_graph, text_to_image
from tests.sandbox.listening import listening


async def test_a_restart_forgets_queue_history_cache_and_temp_but_not_outputs(sandboxes: SandboxFactory) -> None:
    server = await sandboxes()
    graph = picture_graph() | {"p": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}}
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            first = (await client.post("/prompt", json={"prompt": graph})).json()
            entry = await server.until_ended(first["prompt_id"])
            server.set_fault("zombie-a")
            await client.post("/prompt", json={"prompt": graph})
            await server.restart()
            server.clear_faults()
            assert (await client.get("/prompt")).json() == {"exec_info": {"queue_remaining": 0}}
            assert (await client.get("/history")).json() == {}
            temp = await client.get("/view", params=entry["outputs"]["p"]["images"][0])
            kept = await client.get("/view", params=entry["outputs"]["3"]["images"][0])
            again = (await client.post("/prompt", json={"prompt": graph})).json()
            repeated = await server.until_ended(again["prompt_id"])
    assert (temp.status_code, kept.status_code) == (404, 200)
    assert again["number"] == 0
    assert repeated["outputs"]["3"]["images"][0]["filename"] == "shot_00002_.png"


async def test_a_stopped_server_refuses_connections_cuts_open_ones_and_starts_again(
    sandboxes: SandboxFactory,
) -> None:
    server = await sandboxes(step_ms=50)
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client, listening(server, "me") as ear:
            await client.post("/prompt", json={"prompt": text_to_image(steps=1000), "client_id": "me"})
            await ear.until("progress")
            await server.stop()
            with pytest.raises(httpx.ConnectError):
                await client.get("/queue")
            with pytest.raises(Exception, match="no close frame"):
                await ear.until("never")
            await server.start()
            assert (await client.get("/history")).json() == {}


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_is_just_being_accepted_is_cut_by_a_stop_too(
    sandboxes: SandboxFactory, turns: int
) -> None:
    server = await sandboxes()
    with socket.create_connection((server.host, server.port)) as knocking, anyio.fail_after(10):
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        await server.stop()
        await anyio.wait_readable(knocking)
        with suppress(ConnectionResetError):
            assert knocking.recv(1) == b""


async def test_leaving_the_block_stops_everything_at_once_even_during_a_render_and_frees_the_port() -> None:
    with anyio.fail_after(10):
        async with Sandbox(SandboxOptions(step_ms=1000)).serve() as server:
            root = server.folders.root
            async with httpx.AsyncClient(base_url=server.url) as client:
                await client.post("/prompt", json={"prompt": text_to_image(steps=1000)})
                await server.until(lambda server: server.memory.node is not None)
            before = anyio.current_time()
        assert anyio.current_time() - before < 1
        assert not root.exists()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", server.port))


async def test_a_stop_with_requests_in_flight_logs_no_error(
    sandboxes: SandboxFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = await sandboxes()
    server.set_fault("slow-http:60000")

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.url) as client:
            asked.set()
            with pytest.raises(httpx.HTTPError):
                await client.get("/queue", timeout=5)

    with anyio.fail_after(10):
        asked = anyio.Event()
        async with listening(server, "me"), anyio.create_task_group() as group:
            group.start_soon(ask)
            await asked.wait()
            async with httpx.AsyncClient(base_url=server.url) as client:
                with pytest.raises(httpx.ReadTimeout):
                    await client.get("/queue", timeout=0.05)
            await server.stop()
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []


async def test_it_runs_inside_another_task_group_and_stops_when_that_is_cancelled() -> None:
    ports = []

    async def live() -> None:
        async with Sandbox().serve() as server:
            ports.append(server.port)
            async with listening(server, "me"):
                started.set()
                await anyio.sleep_forever()

    with anyio.fail_after(10):
        started = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(live)
            await started.wait()
            group.cancel_scope.cancel()
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", ports[0])


async def test_many_ports_of_one_process_are_servers_of_their_own(tmp_path: Path) -> None:
    options = SandboxOptions(step_ms=0, folder=tmp_path)
    with anyio.fail_after(30):
        async with serve_many([0] * 40, same_for_all(options)) as servers, httpx.AsyncClient() as client:
            assert len({server.port for server in servers}) == 40
            for number, server in enumerate(servers[:10]):
                body = {"prompt": picture_graph(colour=number), "prompt_id": f"p{number}"}
                await client.post(f"{server.url}/prompt", json=body)
            for number, server in enumerate(servers[:10]):
                await server.until_ended(f"p{number}")
                assert list(server.queue.history) == [f"p{number}"]
            assert servers[11].queue.history == {}
    assert (tmp_path / "server-3" / "output" / "shot_00001_.png").is_file()


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with anyio.fail_after(10), pytest.raises(LookupError, match="mine"):
        async with Sandbox().serve():
            raise LookupError("mine")


async def test_a_taken_port_is_an_error_that_leaves_nothing_behind() -> None:
    with anyio.fail_after(10):
        async with Sandbox().serve() as server:
            with pytest.raises(OSError):
                async with serve_many([0, server.port], lambda _: SandboxOptions()):
                    pass
            async with httpx.AsyncClient(base_url=server.url) as client:
                assert (await client.get("/prompt")).status_code == 200


@pytest.mark.parametrize(
    "choices",
    [{"step_ms": -1}, {"models": ("nonsense",)}, {"models": ("checkpoints/",)}, {"comfyui_version": "new"}],
)
def test_options_that_cannot_work_are_refused_before_a_port_is_opened(choices: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        SandboxOptions(**choices)  # type: ignore[arg-type]
