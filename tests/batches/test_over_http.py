"""Batches through the HTTP door, with everything real behind it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image
from websockets.asyncio.client import connect

from tests.partners import SandboxFactory, picture_graph
from tests.world.house import House, backend, configured, house, until

COLOURS = {"1.color": [0xFF0000, 0x00FF00, 0x0000FF]}


@pytest.fixture
async def farm(tmp_path: Path, sandboxes: SandboxFactory) -> AsyncIterator[House]:
    """An orchestrator over two backends."""
    lines = [backend(name, await sandboxes()) for name in ("one", "two")]
    async with house(tmp_path, configured(*lines)) as running:
        yield running


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[House]:
    """An orchestrator whose only backend is not there: whatever comes waits."""
    text = configured("  - {id: gone, host: 127.0.0.1, port: 9}\n")
    async with house(tmp_path, text) as running:
        yield running


async def submitted(house: House, batch: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await house.api.post("/api/job", json={"workflow": picture_graph(), "batch": batch, **fields})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def batch(house: House, batch_id: str) -> dict[str, Any]:
    return dict((await house.api.get(f"/api/batch/{batch_id}")).json())


async def ended(house: House, batch_id: str) -> dict[str, Any]:
    async def over() -> bool:
        return (await batch(house, batch_id))["status"] in ("completed", "failed", "cancelled")

    await until(over, 40)
    return await batch(house, batch_id)


async def jobs_of(house: House, batch_id: str) -> list[dict[str, Any]]:
    page = (await house.api.get("/api/jobs", params={"batch_id": batch_id})).json()
    return sorted(page["jobs"], key=lambda job: int(job["batch_index"]))


async def test_a_batch_is_rendered_and_rolled_up(farm: House) -> None:
    accepted = await submitted(farm, {**COLOURS, "1.width": [64, 32]}, workflow_id="shot")
    assert accepted["count"] == 6
    assert accepted["links"]["self"].endswith(f"/api/batch/{accepted['batch_id']}")
    view = await ended(farm, accepted["batch_id"])
    assert (view["status"], view["progress"]) == ("completed", 1.0)
    assert view["counts"] == {"queued": 0, "running": 0, "completed": 6, "failed": 0, "cancelled": 0}
    assert (view["varies"], view["mode"], view["workflow_id"]) == (["1.color", "1.width"], "product", "shot")
    assert view["finished_at"] >= view["started_at"] >= view["submitted_at"]
    jobs = await jobs_of(farm, accepted["batch_id"])
    assert [job["job_id"] for job in jobs] == accepted["job_ids"]
    assert {job["backend_id"] for job in jobs} == {"one", "two"}
    given = [(colour, width) for colour in COLOURS["1.color"] for width in (64, 32)]
    assert [(job["parameters"]["1.color"], job["parameters"]["1.width"]) for job in jobs] == given
    for job in jobs:
        [output] = job["outputs"]
        picture = Image.open(io.BytesIO((await farm.api.get(output["url"])).content)).convert("RGB")
        red, green, blue = (255 - value for value in picture.tobytes()[:3])
        assert red << 16 | green << 8 | blue == job["parameters"]["1.color"]
        assert picture.width == job["parameters"]["1.width"]


async def test_a_batch_has_a_contact_sheet_once_there_is_something_to_see(farm: House) -> None:
    accepted = await submitted(farm, COLOURS)
    await ended(farm, accepted["batch_id"])
    answer = await farm.api.get(f"/api/batch/{accepted['batch_id']}/contact-sheet")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    colours = {colour for _, colour in Image.open(io.BytesIO(answer.content)).convert("RGB").getcolors(1 << 24) or []}
    assert {(0, 255, 255), (255, 0, 255), (255, 255, 0)} <= colours


async def test_there_is_no_contact_sheet_before_the_first_picture(idle: House) -> None:
    accepted = await submitted(idle, COLOURS)
    answer = await idle.api.get(f"/api/batch/{accepted['batch_id']}/contact-sheet")
    assert (answer.status_code, answer.json()["hint"]) == (404, "None of its jobs is completed yet.")


async def test_a_websocket_tells_the_roll_up_first_and_the_end_last(farm: House) -> None:
    accepted = await submitted(farm, {"1.color": list(range(12))})
    async with connect(accepted["links"]["stream"], proxy=None) as stream:
        told = [json.loads(message) async for message in stream]
    assert stream.close_code == 1000
    assert [told[0]["type"], told[-1]["type"]] == ["batch", "end"]
    assert {one["type"] for one in told[:-1]} == {"batch"}
    assert told[-1]["batch"]["status"] == "completed"
    done = [one["batch"]["counts"]["completed"] for one in told]
    assert done == sorted(done)
    assert all(sum(one["batch"]["counts"].values()) == 12 for one in told)
    assert told[-1]["batch"] | {"path": None} == await batch(farm, accepted["batch_id"]) | {"path": None}


async def test_server_sent_events_tell_the_same_and_a_reader_who_saw_the_end_is_sent_away(farm: House) -> None:
    accepted = await submitted(farm, COLOURS)
    answer = await farm.api.get(f"/api/batch/{accepted['batch_id']}/events")
    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert (kinds[0], kinds[-1]) == ("batch", "end")
    [*_, last] = [line.removeprefix("id: ") for line in answer.text.splitlines() if line.startswith("id: ")]
    again = await farm.api.get(f"/api/batch/{accepted['batch_id']}/events", headers={"Last-Event-ID": last})
    assert again.status_code == 204


async def test_a_stream_of_a_batch_that_nobody_knows_says_so(idle: House) -> None:
    url = str(idle.api.base_url.copy_with(scheme="ws")).rstrip("/")
    async with connect(f"{url}/api/batch/batch-1/stream", proxy=None) as stream:
        told = json.loads(await stream.recv())
        await stream.wait_closed()
    assert (stream.close_code, told["type"], told["code"]) == (4404, "error", "not_found")
    assert (await idle.api.get("/api/batch/batch-1/events")).status_code == 404
    assert (await idle.api.get("/api/batch/batch-1/stream")).status_code == 426


async def test_cancelling_a_batch_ends_all_of_it(idle: House) -> None:
    accepted = await submitted(idle, COLOURS)
    answer = await idle.api.delete(f"/api/batch/{accepted['batch_id']}")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.json()["counts"]["cancelled"] == 3
    assert (await idle.api.delete(f"/api/batch/{accepted['batch_id']}")).status_code == 202


async def test_the_failed_jobs_of_a_batch_are_done_again_with_the_same_values(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    sandbox = await sandboxes(faults=("runtime-error",))
    async with house(tmp_path, configured(backend("one", sandbox))) as farm:
        accepted = await submitted(farm, COLOURS)
        view = await ended(farm, accepted["batch_id"])
        assert (view["status"], view["counts"]["failed"]) == ("failed", 3)
        failed = await jobs_of(farm, accepted["batch_id"])
        sandbox.clear_faults()
        answer = await farm.api.post(f"/api/batch/{accepted['batch_id']}/retry")
        assert (answer.status_code, answer.json()["count"]) == (202, 3)
        view = await ended(farm, accepted["batch_id"])
        assert (view["status"], view["retries"]) == ("completed", 1)
        assert view["counts"] == {"queued": 0, "running": 0, "completed": 3, "failed": 0, "cancelled": 0}
        for old, job_id in zip(failed, answer.json()["job_ids"], strict=True):
            fresh = await farm.job(job_id)
            assert (fresh["rerun_of"], fresh["batch_index"]) == (old["job_id"], old["batch_index"])
            assert fresh["parameters"] == old["parameters"]
        again = await farm.api.post(f"/api/batch/{accepted['batch_id']}/retry")
        assert (again.status_code, again.json()["code"]) == (409, "nothing_failed")


async def test_batches_are_listed_newest_first_with_a_cursor(idle: House) -> None:
    ids = [(await submitted(idle, {"1.color": [n]}))["batch_id"] for n in range(3)]
    first = (await idle.api.get("/api/batches", params={"limit": 2})).json()
    assert [one["batch_id"] for one in first["batches"]] == ids[:0:-1]
    rest = (await idle.api.get("/api/batches", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert ([one["batch_id"] for one in rest["batches"]], rest["next_cursor"]) == (ids[:1], None)
    assert (await idle.api.get("/api/batches", params={"limit": 101})).status_code == 422


async def test_the_same_key_gives_the_same_batch(idle: House) -> None:
    first = await submitted(idle, COLOURS, idempotency_key="k")
    assert await submitted(idle, COLOURS, idempotency_key="k") == first
    other = {"workflow": picture_graph(), "batch": {"1.color": [1]}, "idempotency_key": "k"}
    assert (await idle.api.post("/api/job", json=other)).status_code == 409
    single = {"workflow": picture_graph(), "idempotency_key": "k"}
    assert (await idle.api.post("/api/job", json=single)).status_code == 409


async def test_a_batch_that_comes_again_with_20_0_for_20_is_the_same_batch(idle: House) -> None:
    parameters = {"1.width": 64, "1.height": 64}
    first = await submitted(idle, {"1.color": [1, 2]}, parameters=parameters, idempotency_key="k")
    spelled = {"1.width": 64.0, "1.height": 64}
    again = await submitted(idle, {"1.color": [1.0, 2]}, parameters=spelled, idempotency_key="k")
    assert again == first
    other = {"workflow": picture_graph(), "batch": {"1.color": [1.0, 3]}, "idempotency_key": "k"}
    assert (await idle.api.post("/api/job", json={**other, "parameters": parameters})).status_code == 409


@pytest.mark.parametrize(
    ("batch", "where", "told"),
    [
        ({"1.width": [64, "wide", 32]}, ["body", "batch", "1.width"], "job 2 of 3, with the text 'wide'"),
        ({"1.widht": [64]}, ["body", "batch", "1.widht"], "no such input"),
        ({"seed": [1]}, ["body", "batch", "seed"], "no such input"),
        ({"1.width": [64], "mode": "both"}, ["body", "batch", "mode"], "is no mode"),
    ],
)
async def test_a_wrong_batch_is_refused_with_its_place_and_nothing_is_stored(
    idle: House, batch: dict[str, Any], where: list[str], told: str
) -> None:
    answer = await idle.api.post("/api/job", json={"workflow": picture_graph(), "batch": batch})
    assert answer.status_code == 422
    [wrong] = answer.json()["detail"]
    assert wrong["loc"] == where
    assert told in wrong["msg"]
    assert (await idle.api.get("/api/batches")).json()["batches"] == []


async def test_a_batch_over_its_limit_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, configured(more="limits: {batch_jobs: 2}\n")) as small:
        answer = await small.api.post("/api/job", json={"workflow": picture_graph(), "batch": COLOURS})
        assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "too_many_jobs")


async def test_all_jobs_of_a_batch_count_in_the_queue(tmp_path: Path) -> None:
    text = configured("  - {id: gone, host: 127.0.0.1, port: 9}\n", more="limits: {queued_jobs: 3}\n")
    async with house(tmp_path, text) as small:
        await small.submit(picture_graph())
        answer = await small.api.post("/api/job", json={"workflow": picture_graph(), "batch": COLOURS})
        assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")


async def test_a_batch_goes_on_after_a_restart_in_the_middle(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    text = configured(backend("one", await sandboxes(step_ms=20)))
    async with house(tmp_path, text) as farm:
        accepted = await submitted(farm, {"1.color": list(range(8))})

        async def begun() -> bool:
            return int((await batch(farm, accepted["batch_id"]))["counts"]["completed"]) >= 2

        await until(begun)
    async with house(tmp_path, text) as farm:
        view = await ended(farm, accepted["batch_id"])
        assert (view["status"], view["counts"]["completed"]) == ("completed", 8)
        jobs = await jobs_of(farm, accepted["batch_id"])
        assert [job["parameters"]["1.color"] for job in jobs] == list(range(8))


async def test_ten_thousand_jobs_are_one_submission_and_keep_nobody_waiting(idle: House) -> None:
    """No time is measured here: that the server answers while they are being taken in is what is shown."""
    answers = 0
    accepted: dict[str, Any] = {}

    async def submit() -> None:
        accepted.update(await submitted(idle, {"1.color": {"count": 10_000, "strategy": "sequential", "base": 1}}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submit)
        async with httpx.AsyncClient(base_url=idle.api.base_url, trust_env=False) as other:
            while not accepted:
                assert (await other.get("/api/health")).status_code == 200
                answers += 1
    assert (accepted["count"], len(accepted["job_ids"])) == (10_000, 100)
    assert answers > 3
    view = await batch(idle, accepted["batch_id"])
    assert view["counts"]["queued"] == 10_000


async def test_an_earlier_job_is_done_again_with_twelve_seeds(farm: House) -> None:
    first = await farm.submit(picture_graph(), parameters={"1.width": 32})
    await farm.ended(first)
    answer = await farm.api.post("/api/job", json={"rerun_of": first, "batch": {"1.color": list(range(12))}})
    assert answer.status_code == 202, answer.text
    view = await ended(farm, answer.json()["batch_id"])
    assert (view["status"], view["counts"]["completed"]) == ("completed", 12)
    jobs = await jobs_of(farm, view["batch_id"])
    assert {(job["rerun_of"], job["parameters"]["1.width"]) for job in jobs} == {(first, 32)}


async def test_a_batch_begins_with_what_another_job_makes(farm: House) -> None:
    parent = await farm.submit(picture_graph())
    graph: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], "upscale_method": "nearest-exact"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "scaled"}},
    }
    graph["2"]["inputs"] |= {"width": 16, "height": 16, "crop": "disabled"}
    wish = {"workflow": graph, "parameters": {"image": f"job:{parent}"}, "batch": {"2.width": [16, 24, 32]}}
    answer = await farm.api.post("/api/job", json=wish)
    assert answer.status_code == 202, answer.text
    view = await ended(farm, answer.json()["batch_id"])
    assert view["status"] == "completed", await jobs_of(farm, view["batch_id"])
    sizes = []
    for job in await jobs_of(farm, view["batch_id"]):
        [output] = job["outputs"]
        sizes.append(Image.open(io.BytesIO((await farm.api.get(output["url"])).content)).width)
    assert sizes == [16, 24, 32]


async def test_input_files_may_vary(farm: House) -> None:
    assets = []
    for colour in ("red", "green"):
        content = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(content, "PNG")
        headers = {"content-type": "image/png"}
        assets.append((await farm.api.post("/api/assets", content=content.getvalue(), headers=headers)).json()["asset"])
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }
    answer = await farm.api.post("/api/job", json={"workflow": graph, "batch": {"image": assets}})
    assert answer.status_code == 202, answer.text
    view = await ended(farm, answer.json()["batch_id"])
    assert view["status"] == "completed"
    seen = []
    for job in await jobs_of(farm, view["batch_id"]):
        [output] = job["outputs"]
        picture = Image.open(io.BytesIO((await farm.api.get(output["url"])).content)).convert("RGB")
        seen.append(picture.tobytes()[:3])
    assert seen == [bytes((255, 0, 0)), bytes((0, 128, 0))]
    wrong = await farm.api.post(
        "/api/job", json={"workflow": graph, "batch": {"image": [assets[0], "asset:" + "0" * 64]}}
    )
    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["loc"] == ["body", "batch", "image"]
