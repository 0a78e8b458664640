"""How prompts are taken, ordered, refused and stopped."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from orchestrator_mcp.sandbox import SandboxServer
from orchestrator_mcp.sandbox.bell import Bell
from orchestrator_mcp.sandbox.prompts import HISTORY_LIMIT, Prompt, PromptQueue
from tests.partners import SandboxFactory, picture_graph, text_to_image
from tests.sandbox.listening import listening

Post = Callable[..., Awaitable[str]]


async def test_a_prompt_runs_and_its_history_names_a_file_that_can_be_fetched(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    with anyio.fail_after(10):
        prompt_id = await post(picture_graph("a/b"))
        await sandbox.until_ended(prompt_id)
        entry = (await client.get(f"/history/{prompt_id}")).json()[prompt_id]
        (item,) = entry["outputs"]["3"]["images"]
        picture = await client.get("/view", params=item)
    assert item == {"filename": "b_00001_.png", "subfolder": "a", "type": "output"}
    assert entry["status"]["completed"] is True
    assert picture.content.startswith(b"\x89PNG")


async def test_the_callers_prompt_id_is_kept_and_numbers_count_refused_prompts_too(
    client: httpx.AsyncClient,
) -> None:
    with anyio.fail_after(10):
        wanted = str(uuid.uuid4())
        first = (await client.post("/api/prompt", json={"prompt": picture_graph(), "prompt_id": wanted})).json()
        await client.post("/prompt", json={"prompt": {}})
        third = (await client.post("/prompt", json={"prompt": picture_graph()})).json()
    assert first == {"prompt_id": wanted, "number": 0, "node_errors": {}}
    assert third["number"] == 2


async def test_lower_numbers_and_front_run_first_and_deleted_ones_never(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    sandbox.set_fault("zombie-a")
    with anyio.fail_after(10):
        plain = [await post(picture_graph(f"p{number}")) for number in range(3)]
        early = await post(picture_graph("early"), number=-7)
        front = await post(picture_graph("front"), front=True)
        listing = (await client.get("/queue")).json()
        assert listing["queue_running"] == []
        assert len(listing["queue_pending"]) == 5
        await client.post("/queue", json={"delete": [plain[1]]})
        assert (await client.get("/prompt")).json() == {"exec_info": {"queue_remaining": 4}}
        sandbox.clear_faults()
        await sandbox.until_ended(plain[2])
    assert list(sandbox.queue.history) == [early, front, plain[0], plain[2]]


async def test_one_prompt_id_posted_twice_runs_twice(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    sandbox.set_fault("zombie-a")
    twice = str(uuid.uuid4())
    with anyio.fail_after(10):
        await post(picture_graph("one"), prompt_id=twice)
        await post(picture_graph("two"), prompt_id=twice)
        last = await post(picture_graph("three"))
        sandbox.clear_faults()
        await sandbox.until_ended(last)
    ended = [line["prompt_id"] for line in sandbox.oracle.lines if line["event"] == "ended"]
    assert ended == [twice, twice, last]
    assert "two_00001_.png" in str(sandbox.queue.history[twice]["outputs"])


async def test_a_tie_of_number_and_id_answers_500_and_the_worker_never_works_again(
    sandbox: SandboxServer, client: httpx.AsyncClient
) -> None:
    sandbox.set_fault("zombie-a")
    body = {"prompt": picture_graph(), "number": 1, "prompt_id": "same"}
    with anyio.fail_after(10):
        assert (await client.post("/prompt", json=body)).status_code == 200
        for prefix in ("second", "third"):
            tied = {**body, "prompt": picture_graph(prefix)}
            assert (await client.post("/prompt", json=tied)).status_code == 500
        assert len((await client.get("/queue")).json()["queue_pending"]) == 3
        sandbox.clear_faults()
        async with listening(sandbox, "me") as ear:
            await client.post("/prompt", json={"prompt": picture_graph("later"), "client_id": "me"})
            with anyio.move_on_after(0.1):
                await ear.until("execution_start")
        waiting = (await client.get("/queue")).json()
    assert waiting["queue_running"] == []
    assert waiting["queue_pending"]


async def test_a_stray_node_without_inputs_is_accepted_and_kills_the_worker(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    graph = picture_graph() | {"9": {"class_type": "ImageInvert"}}
    with anyio.fail_after(10):
        prompt_id = await post(graph)
        await sandbox.until(lambda server: server.queue.running is not None)
        await client.post("/interrupt", json={"prompt_id": prompt_id})
        later = await post(picture_graph("later"))
        listing = (await client.get("/queue")).json()
    assert [item[1] for item in listing["queue_running"]] == [prompt_id]
    assert [item[1] for item in listing["queue_pending"]] == [later]


async def test_an_interrupt_with_another_id_stops_nothing_and_with_its_own_id_stops_it(
    sandboxes: SandboxFactory,
) -> None:
    server = await sandboxes(step_ms=5)
    server.set_fault("freeze")
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            answer = await client.post("/prompt", json={"prompt": text_to_image()})
            prompt_id = answer.json()["prompt_id"]
            await server.until(lambda server: server.queue.running is not None)
            assert (await client.post("/interrupt", json={"prompt_id": "another"})).status_code == 200
            assert server.memory.interrupted is False
            await client.post("/interrupt", json={"prompt_id": prompt_id})
        entry = await server.until_ended(prompt_id)
    assert entry["status"]["status_str"] == "error"
    assert [event for event, _ in entry["status"]["messages"]][-1] == "execution_interrupted"


async def test_an_old_server_interrupts_whatever_runs_and_mints_its_own_ids(sandboxes: SandboxFactory) -> None:
    server = await sandboxes(comfyui_version="0.3.44", faults=("freeze",))
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            body = {"prompt": picture_graph(), "prompt_id": "mine"}
            prompt_id = (await client.post("/prompt", json=body)).json()["prompt_id"]
            assert prompt_id != "mine"
            await server.until(lambda server: server.queue.running is not None)
            await client.post("/interrupt", json={"prompt_id": "another"})
        entry = await server.until_ended(prompt_id)
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


async def test_a_new_server_insists_on_canonical_ids_and_cancels_by_id(sandboxes: SandboxFactory) -> None:
    server = await sandboxes(comfyui_version="0.26.0", faults=("freeze",))
    wanted, waiting = str(uuid.uuid4()), str(uuid.uuid4())
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            refused = await client.post("/prompt", json={"prompt": picture_graph(), "prompt_id": "mine"})
            await client.post("/prompt", json={"prompt": picture_graph("a"), "prompt_id": wanted})
            await server.until(lambda server: server.queue.running is not None)
            await client.post("/prompt", json={"prompt": picture_graph("b"), "prompt_id": waiting})
            jobs = (await client.get("/api/jobs")).json()
            found = (await client.get(f"/api/jobs/{wanted}")).json()
            cancelled = [
                (await client.post(f"/api/jobs/{one}/cancel")).json()["cancelled"]
                for one in (waiting, wanted, str(uuid.uuid4()))
            ]
            await server.until_ended(wanted)
            after = (await client.get(f"/api/jobs/{wanted}")).json()
            unknown = await client.get(f"/api/jobs/{waiting}")
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_prompt_id")
    assert [job["status"] for job in jobs["jobs"]] == ["in_progress", "pending"]
    assert found["status"] == "in_progress"
    assert cancelled == [True, True, False]
    assert after["status"] == "cancelled"
    assert unknown.status_code == 404


async def test_0_3_64_has_no_jobs_routes(client: httpx.AsyncClient) -> None:
    with anyio.fail_after(10):
        assert (await client.get("/api/jobs")).status_code == 404
        assert (await client.post("/api/jobs")).status_code == 405
        assert (await client.get("/no/such/page")).status_code == 404
        assert (await client.post("/no/such/page")).status_code == 405


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"prompt": {}, "number": "abc"}', b'{"prompt": [1]}', b"[" * 100_000]
)
async def test_a_body_that_makes_no_sense_is_a_500_or_400_and_queues_nothing(
    sandbox: SandboxServer, client: httpx.AsyncClient, content: bytes
) -> None:
    with anyio.fail_after(10):
        answer = await client.post("/prompt", content=content)
        assert answer.status_code in (400, 500)
        assert sandbox.queue.remaining() == 0
        assert (await client.get("/prompt")).status_code == 200


async def test_a_page_of_another_origin_is_refused_and_the_servers_own_passes(client: httpx.AsyncClient) -> None:
    own = str(client.base_url).rstrip("/")
    with anyio.fail_after(10):
        assert (await client.get("/queue", headers={"origin": "http://evil.example"})).status_code == 403
        assert (await client.get("/queue", headers={"origin": own})).status_code == 200


async def test_a_body_over_the_limit_is_a_413_however_it_is_sent(sandboxes: SandboxFactory) -> None:
    server = await sandboxes(max_body=1000)

    async def chunks() -> Any:
        for _ in range(50):
            yield b"x" * 100

    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.post("/prompt", content=b"x" * 1001)).status_code == 413
            assert (await client.post("/prompt", content=chunks())).status_code == 413


async def test_history_is_listed_by_completion_and_can_be_cut_and_deleted(
    sandbox: SandboxServer, client: httpx.AsyncClient, post: Post
) -> None:
    with anyio.fail_after(10):
        ids = [await post(picture_graph(f"h{number}")) for number in range(4)]
        await sandbox.until_ended(ids[-1])
        assert list((await client.get("/history")).json()) == ids
        assert list((await client.get("/history?max_items=2")).json()) == ids[2:]
        assert list((await client.get("/history?max_items=2&offset=1")).json()) == ids[1:3]
        assert (await client.get("/history?max_items=x")).status_code == 500
        await client.post("/history", json={"delete": ids[:1]})
        assert (await client.get(f"/history/{ids[0]}")).json() == {}
        await client.post("/history", json={"clear": True})
        assert (await client.get("/history")).json() == {}


def test_history_keeps_the_last_ten_thousand_prompts() -> None:
    queue = PromptQueue(bell=Bell(), changed=lambda: None)
    for number in range(HISTORY_LIMIT + 5):
        queue.running = Prompt(number, str(number), {}, {}, [])
        queue.finish({}, forget=False)
    assert list(queue.history)[0] == "4"
    assert len(queue.history) == HISTORY_LIMIT + 1


async def test_object_info_lists_exactly_the_models_that_are_there(sandboxes: SandboxFactory) -> None:
    server = await sandboxes(models=("checkpoints/b.safetensors", "checkpoints/a.safetensors", "unet/u.safetensors"))
    with anyio.fail_after(10):
        async with httpx.AsyncClient(base_url=server.url) as client:
            one = (await client.get("/object_info/CheckpointLoaderSimple")).json()
            every = (await client.get("/api/object_info")).json()
            assert (await client.get("/object_info/NoSuchNode")).json() == {}
            assert (await client.get("/models/diffusion_models")).json() == ["u.safetensors"]
            assert (await client.get("/models/nonsense")).status_code == 404
            refused = await client.post("/prompt", json={"prompt": text_to_image()})
    names = one["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
    assert names == ["a.safetensors", "b.safetensors"]
    assert len(every) == 33
    assert refused.json()["node_errors"]["4"]["errors"][0]["type"] == "value_not_in_list"
