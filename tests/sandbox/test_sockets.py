"""Who hears what over the WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest
import websockets

from orchestrator_mcp.sandbox import SandboxServer
from tests.partners import picture_graph
from tests.sandbox.listening import listening

Post = Callable[..., Awaitable[str]]

MEASURED = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 9, "batch_size": 1, "color": 0}},
    "2": {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}},
}


async def test_only_the_owner_hears_of_its_prompt_but_all_hear_the_status(sandbox: SandboxServer, post: Post) -> None:
    with anyio.fail_after(10):
        async with listening(sandbox, "owner") as owner, listening(sandbox, "other") as other:
            await post(picture_graph(), client_id="owner")
            await owner.until("executing", node=None)
            while other.kinds().count("status") < 4:
                await other.until("status")
    assert {"execution_start", "executed", "execution_success", "progress_state"} <= set(owner.kinds())
    assert set(other.kinds()) == {"status"}


async def test_without_client_id_progress_and_interrupts_go_to_all_and_the_rest_to_nobody(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    with anyio.fail_after(10):
        async with listening(sandbox, "anybody") as ear:
            await post(picture_graph())
            while ear.kinds().count("status") < 4:
                await ear.until("status")
            sandbox.set_fault("freeze")
            await post(picture_graph("other"))
            await sandbox.until(lambda server: server.queue.running is not None)
            await client.post("/interrupt")
            await ear.until("execution_interrupted")
    assert set(ear.kinds()) == {"status", "progress_state", "execution_interrupted"}


async def test_a_progress_text_goes_to_every_client(sandbox: SandboxServer, post: Post) -> None:
    with anyio.fail_after(10):
        async with listening(sandbox, "owner") as owner, listening(sandbox, "other") as other:
            await post(MEASURED, client_id="owner")
            await owner.until("executing", node=None)
            while other.kinds().count("status") < 4:
                await other.until("status")
    assert owner.frames == other.frames
    assert owner.frames[0].endswith(b"\x00\x00\x00\x012width: 8, height: 9\n batch size: 1")


async def test_a_client_without_id_is_given_one(sandbox: SandboxServer) -> None:
    with anyio.fail_after(10):
        async with listening(sandbox) as ear:
            assert len(ear.heard[0]["data"]["sid"]) == 32


async def test_feature_flags_count_only_as_the_first_message(sandbox: SandboxServer, post: Post) -> None:
    with anyio.fail_after(10):
        async with listening(sandbox, "me") as ear:
            await ear.socket.send('{"type": "something"}')
            await ear.socket.send('{"type": "feature_flags", "data": {"supports_preview_metadata": true}}')
            await post(picture_graph(), client_id="me")
            await ear.until("executing", node=None)
    assert "feature_flags" not in ear.kinds()


async def test_the_newest_socket_of_an_id_hears_and_goes_deaf_when_the_old_one_closes(
    sandbox: SandboxServer, post: Post
) -> None:
    with anyio.fail_after(10):
        async with (
            listening(sandbox, "twice") as older,
            listening(sandbox, "watch") as watch,
            listening(sandbox, "twice") as newer,
        ):
            await post(picture_graph("one"), client_id="twice")
            await newer.until("executing", node=None)
            await older.socket.close()
            second = await post(picture_graph("two"), client_id="twice")
            await sandbox.until_ended(second)
            while watch.kinds().count("status") < 7:
                await watch.until("status")
            heard = len(newer.heard)
            await (await newer.socket.ping())
            with anyio.move_on_after(0.05):
                await newer.until("execution_start")
    assert older.kinds() == ["status"]
    assert len(newer.heard) == heard


async def test_who_reconnects_during_its_prompt_is_told_the_node_without_the_prompt(
    sandbox: SandboxServer, post: Post
) -> None:
    sandbox.set_fault("freeze")
    with anyio.fail_after(10):
        await post(picture_graph(), client_id="me")
        await sandbox.until(lambda server: server.memory.node is not None)
        async with listening(sandbox, "me") as ear:
            told = await ear.until("executing")
    assert told == {"node": "1"}


async def test_a_socket_of_another_origin_is_refused(sandbox: SandboxServer) -> None:
    with anyio.fail_after(10), pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"ws://127.0.0.1:{sandbox.port}/ws", origin=websockets.Origin("http://evil.example"))
