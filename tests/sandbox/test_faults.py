"""Each fault does what its sentence says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import pytest
import websockets

from orchestrator_mcp.sandbox import FAULTS, SandboxOptions, SandboxServer
from tests.partners import picture_graph, text_to_image
from tests.sandbox.listening import listening

Post = Callable[..., Awaitable[str]]
BODY = {"prompt": picture_graph(), "prompt_id": "11111111-1111-4111-8111-111111111111"}


def test_every_fault_has_a_sentence() -> None:
    assert all(sentence.endswith(".") for sentence in FAULTS.values())


@pytest.mark.parametrize(
    ("fault", "words"),
    [("freze", "did you mean 'freeze'"), ("slow-http:x", "whole number"), ("freeze:3", "no argument"), ("", "known")],
)
def test_a_wrong_fault_is_refused_with_what_to_do(fault: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SandboxOptions(faults=(fault,))


async def test_slow_http_delays_every_answer(sandbox: SandboxServer, client: httpx.AsyncClient) -> None:
    sandbox.set_fault("slow-http:80")
    with anyio.fail_after(10):
        before = anyio.current_time()
        await client.get("/queue")
    assert anyio.current_time() - before >= 0.08


async def test_a_frozen_prompt_stands_still_until_the_fault_is_cleared(sandbox: SandboxServer, post: Post) -> None:
    sandbox.set_fault("freeze")
    with anyio.fail_after(10):
        prompt_id = await post(text_to_image(), client_id="me")
        await sandbox.until(lambda server: server.memory.node is not None)
        assert sandbox.queue.running is not None
        sandbox.clear_faults("freeze")
        entry = await sandbox.until_ended(prompt_id)
    assert entry["status"]["completed"] is True


async def test_zombie_b_runs_for_ever_after_execution_start(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    sandbox.set_fault("zombie-b")
    with anyio.fail_after(10):
        async with listening(sandbox, "me") as ear:
            prompt_id = await post(picture_graph(), client_id="me")
            await ear.until("execution_start")
            await client.post("/interrupt", json={"prompt_id": prompt_id})
            with anyio.move_on_after(0.05):
                await ear.until("execution_cached")
        listing = (await client.get("/queue")).json()
    assert "execution_cached" not in ear.kinds()
    assert [item[1] for item in listing["queue_running"]] == [prompt_id]


@pytest.mark.parametrize(("fault", "queued"), [("prompt-500", True), ("prompt-refuse-500", False)])
async def test_a_500_may_or_may_not_have_queued(
    sandbox: SandboxServer, client: httpx.AsyncClient, fault: str, queued: bool
) -> None:
    sandbox.set_fault(fault)
    with anyio.fail_after(10):
        answer = await client.post("/prompt", json=BODY)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/plain; charset=utf-8")
    assert [line["event"] for line in sandbox.oracle.lines][:1] == (["accepted"] if queued else [])


async def test_prompt_drop_queues_and_cuts_the_connection_without_a_byte(
    sandbox: SandboxServer, client: httpx.AsyncClient
) -> None:
    sandbox.set_fault("prompt-drop")
    with anyio.fail_after(10):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.post("/prompt", json=BODY)
        await sandbox.until_ended(str(BODY["prompt_id"]))


async def test_a_delayed_prompt_is_acted_on_though_the_caller_has_gone(
    sandbox: SandboxServer, client: httpx.AsyncClient
) -> None:
    sandbox.set_fault("prompt-delay:100")
    with anyio.fail_after(10):
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/prompt", json=BODY, timeout=0.03)
        assert sandbox.queue.remaining() == 0
        await sandbox.until_ended(str(BODY["prompt_id"]))


async def test_broken_json_and_gateway_pages_can_be_bound_to_a_path(
    sandbox: SandboxServer, client: httpx.AsyncClient
) -> None:
    sandbox.set_fault("garbage-json:/history")
    sandbox.set_fault("html-502:/queue")
    with anyio.fail_after(10):
        garbage = await client.get("/history")
        page = await client.get("/api/queue")
        fine = await client.get("/prompt")
    assert garbage.headers["content-type"] == "application/json"
    with pytest.raises(ValueError, match="Unterminated"):
        garbage.json()
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert fine.json() == {"exec_info": {"queue_remaining": 0}}


async def test_garbage_json_still_queues_the_prompt(sandbox: SandboxServer, client: httpx.AsyncClient) -> None:
    sandbox.set_fault("garbage-json")
    with anyio.fail_after(10):
        assert (await client.post("/prompt", json=BODY)).status_code == 200
        await sandbox.until_ended(str(BODY["prompt_id"]))


async def test_views_can_be_cut_short_be_lied_about_or_be_missing(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    with anyio.fail_after(10):
        entry = await sandbox.until_ended(await post(picture_graph()))
        item = entry["outputs"]["3"]["images"][0]
        whole = await client.get("/view", params=item)
        sandbox.set_fault("truncated-view")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/view", params=item)
        sandbox.clear_faults()
        sandbox.set_fault("wrong-length-view")
        half = await client.get("/view", params=item)
        sandbox.set_fault("view-404")
        missing = await client.get("/view", params=item)
        sandbox.clear_faults()
        sandbox.set_fault("html-view")
        page = await client.get("/view", params=item)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert half.status_code == 200
    assert half.content == whole.content[: len(whole.content) // 2]
    assert missing.status_code == 404


async def test_history_can_be_late_or_forgotten(sandbox: SandboxServer, client: httpx.AsyncClient, post: Post) -> None:
    sandbox.set_fault("history-delay:100")
    with anyio.fail_after(10):
        async with listening(sandbox, "me") as ear:
            prompt_id = await post(picture_graph(), client_id="me")
            await ear.until("execution_success")
            assert (await client.get(f"/history/{prompt_id}")).json() == {}
            await ear.until("executing", node=None)
            assert prompt_id in (await client.get(f"/history/{prompt_id}")).json()
            sandbox.set_fault("history-forget")
            forgotten = await post(picture_graph("b"), client_id="me")
            await ear.until("executing", node=None)
            assert (await client.get(f"/history/{forgotten}")).json() == {}


async def test_history_can_be_silent_about_the_end(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    sandbox.set_fault("history-silent")
    with anyio.fail_after(10):
        prompt_id = await post(picture_graph())
        await sandbox.until_ended(prompt_id)
        assert list((await client.get(f"/history/{prompt_id}")).json()[prompt_id]) == ["prompt", "outputs"]


async def test_sockets_can_be_refused_dropped_or_deaf(sandbox: SandboxServer, post: Post) -> None:
    with anyio.fail_after(10):
        sandbox.set_fault("no-ws")
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"ws://127.0.0.1:{sandbox.port}/ws")
        sandbox.clear_faults()
        sandbox.set_fault("ws-drop:2")
        async with listening(sandbox, "dropped") as dropped:
            await post(picture_graph("a"), client_id="dropped")
            with pytest.raises(websockets.ConnectionClosed):
                await dropped.until("executing", node=None)
        assert len(dropped.heard) == 3
        sandbox.clear_faults()
        sandbox.set_fault("ws-deaf")
        async with listening(sandbox, "deaf") as deaf:
            await sandbox.until_ended(await post(picture_graph("b"), client_id="deaf"))
            await (await deaf.socket.ping())
            with anyio.move_on_after(0.05):
                await deaf.until("execution_start")
        assert deaf.kinds() == ["status"]


@pytest.mark.parametrize(
    ("fault", "kind", "node"),
    [("oom", "torch.OutOfMemoryError", "KSampler"), ("runtime-error", "RuntimeError", None)],
)
async def test_a_run_can_fail_on_purpose(
    sandbox: SandboxServer, post: Post, fault: str, kind: str, node: str | None
) -> None:
    sandbox.set_fault(fault)
    with anyio.fail_after(10):
        entry = await sandbox.until_ended(await post(text_to_image()))
    event, content = entry["status"]["messages"][-1]
    assert (event, content["exception_type"]) == ("execution_error", kind)
    assert node in (None, content["node_type"])


async def test_an_ignored_interrupt_is_answered_and_changes_nothing(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    sandbox.set_fault("ignore-interrupt")
    sandbox.set_fault("freeze")
    with anyio.fail_after(10):
        prompt_id = await post(text_to_image())
        await sandbox.until(lambda server: server.memory.node is not None)
        assert (await client.post("/interrupt", json={"prompt_id": prompt_id})).status_code == 200
        sandbox.clear_faults("freeze")
        entry = await sandbox.until_ended(prompt_id)
    assert entry["status"]["completed"] is True


async def test_lose_prompt_id_mints_another_id_and_shows_an_old_version(
    sandbox: SandboxServer, client: httpx.AsyncClient
) -> None:
    sandbox.set_fault("lose-prompt-id")
    with anyio.fail_after(10):
        answer = (await client.post("/prompt", json=BODY)).json()
        stats = (await client.get("/system_stats")).json()
    assert answer["prompt_id"] != BODY["prompt_id"]
    assert stats["system"]["comfyui_version"] == "0.3.40"


def test_the_documentation_lists_every_fault_with_its_sentence() -> None:
    document = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    for name, sentence in FAULTS.items():
        assert f"| `{name}` | {sentence} |" in document
