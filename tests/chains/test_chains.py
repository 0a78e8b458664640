"""Chains through the HTTP door: jobs on different backends, joined by files, in front of real servers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from tests.chains.graphs import CARD, INVERTED
from tests.partners import SandboxFactory, text_to_image
from tests.world.house import House, backend, configured, house

NOBODY = "01890000-0000-7000-8000-000000000000"


async def colour_of(farm: House, job: dict[str, Any]) -> tuple[int, ...]:
    [output] = job["outputs"]
    content = (await farm.api.get(output["url"])).content
    with Image.open(io.BytesIO(content)) as picture:
        pixel = picture.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return tuple(int(part) for part in pixel)


async def test_a_picture_goes_from_one_backend_to_the_next(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    text = configured(backend("one", await sandboxes()), backend("two", await sandboxes()))
    async with house(tmp_path, text) as farm:
        parent = await farm.submit(CARD, backend_affinity="one")
        child = await farm.submit(INVERTED, backend_affinity="two", parameters={"1.image": f"job:{parent}"})
        job = await farm.ended(child)
        assert (job["status"], job["backend_id"], job["depends_on"]) == ("completed", "two", [parent]), job
        assert await colour_of(farm, job) == (0xCC, 0x99, 0x33)
        assert (await farm.job(parent))["backend_id"] == "one"


async def test_a_chain_of_three_can_be_handed_in_before_anything_is_done(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(CARD)
        second = await farm.submit(INVERTED, parameters={"image": f"job:{first}"})
        third = await farm.submit(INVERTED, parameters={"image": f"job:{second}"}, depends_on=[first])
        job = await farm.ended(third)
        assert job["status"] == "completed", job
        assert job["depends_on"] == [first, second]
        assert await colour_of(farm, job) == (0x33, 0x66, 0xCC)


async def test_a_waiting_child_says_whom_it_waits_for(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(step_ms=400)))) as farm:
        parent = await farm.submit(text_to_image())
        child = await farm.submit(CARD, depends_on=[parent])
        waiting = await farm.job(child)
        assert (waiting["status"], waiting["attempts"]) == ("queued", [])
        [reason] = waiting["waiting_because"]
        assert reason["backend_id"] is None
        assert parent in reason["reason"]
        assert (await farm.ended(child))["status"] == "completed"
        ended = await farm.job(parent)
        assert ended["finished_at"] <= (await farm.job(child))["started_at"]


async def test_a_child_of_a_job_that_is_cancelled_fails_and_says_so(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(step_ms=400)))) as farm:
        parent = await farm.submit(text_to_image())
        child = await farm.submit(INVERTED, parameters={"image": f"job:{parent}"})
        assert (await farm.api.delete(f"/api/job/{parent}")).status_code == 202
        job = await farm.ended(child)
        assert (job["status"], job["error"]["code"]) == ("failed", "parent_cancelled")
        assert job["error"]["details"]["job_id"] == parent
        refused = await farm.api.post("/api/job", json={"workflow": CARD, "depends_on": [parent]})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["type"] == "parent_cancelled"


async def test_a_parent_without_that_output_fails_the_child_with_the_names_there_are(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes(step_ms=400)))) as farm:
        parent = await farm.submit(text_to_image())
        child = await farm.submit(INVERTED, parameters={"image": f"job:{parent}/nothing.png"})
        job = await farm.ended(child)
        assert (job["status"], job["error"]["code"]) == ("failed", "output_missing")
        [output] = (await farm.job(parent))["outputs"]
        assert job["error"]["details"]["outputs"] == [output["name"]]


async def test_parents_that_nobody_knows_and_references_that_are_none_are_refused(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        for fields, place, code in (
            ({"workflow": CARD, "depends_on": [NOBODY]}, ["body", "depends_on"], "unknown_job"),
            ({"workflow": CARD, "depends_on": ["me; DROP TABLE job"]}, ["body", "depends_on"], "unknown_job"),
            (
                {"workflow": INVERTED, "parameters": {"image": f"job:{NOBODY}/a.png"}},
                ["body", "parameters", "image"],
                "unknown_job",
            ),
            (
                {"workflow": INVERTED, "parameters": {"image": "job:../../secret"}},
                ["body", "parameters", "image"],
                "reference",
            ),
            ({"workflow": CARD, "depends_on": [NOBODY] * 33}, ["body", "depends_on"], "too_long"),
        ):
            answer = await farm.api.post("/api/job", json=fields)
            assert answer.status_code == 422, answer.text
            [problem] = answer.json()["detail"]
            assert (problem["loc"], problem["type"]) == (place, code), problem
        assert (await farm.api.get("/api/jobs")).json()["jobs"] == []


async def test_whoever_waits_for_a_batch_is_told_that_it_is_one_and_where_its_jobs_are(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        batch = (await farm.api.post("/api/job", json={"workflow": text_to_image(), "batch": {"seed": [1, 2]}})).json()
        answer = await farm.api.post("/api/job", json={"workflow": CARD, "depends_on": [batch["batch_id"]]})
        [problem] = answer.json()["detail"]
        assert (answer.status_code, problem["loc"], problem["type"]) == (422, ["body", "depends_on"], "unknown_job")
        assert "is a batch" in problem["msg"] and f"/api/jobs?batch_id={batch['batch_id']}" in problem["msg"]


async def test_a_text_that_begins_like_a_reference_is_a_text(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        job_id = await farm.submit(text_to_image(), parameters={"prompt": "job: a blacksmith at work"})
        job = await farm.ended(job_id)
        assert (job["status"], job["depends_on"]) == ("completed", [])
