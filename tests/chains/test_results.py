"""A `result.json` is done again from the graph that it holds, here and on farms that never heard of its job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.domain.results import manifest_of_result, stem_of_result
from orchestrator_mcp.errors import ManifestError
from tests.chains.graphs import CARD, INVERTED
from tests.partners import SandboxFactory, text_to_image
from tests.world.house import FastClock, House, backend, configured, house, until

NOBODY = "01890000-0000-7000-8000-000000000000"


async def delivered(farm: House, job_id: str) -> Path:
    """The result.json of a job, once it stands in Outbox."""
    pattern = f"*__{job_id[-8:]}/result.json"

    async def there() -> bool:
        return any(farm.settings.outbox_dir.glob(pattern))

    await until(there)
    [path] = farm.settings.outbox_dir.glob(pattern)
    return path


async def job_of(farm: House, rerun_of: str) -> str:
    """The job that does another one again, once it is there."""
    found: list[str] = []

    async def there() -> bool:
        jobs = (await farm.api.get("/api/jobs")).json()["jobs"]
        found[:] = [job["job_id"] for job in jobs if job["rerun_of"] == rerun_of]
        return bool(found)

    await until(there)
    return found[0]


async def test_a_result_that_is_dropped_is_rendered_again_on_another_farm_under_its_stem(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    text = configured(backend("one", await sandboxes()))
    wish = {"workflow": text_to_image(), "parameters": {"seed": -1}, "metadata": {"shot": "010"}, "priority": 3}
    async with house(tmp_path / "here", text) as here:
        here.drop("castle.json", json.dumps(wish).encode())
        listed: list[dict[str, Any]] = []

        async def accepted() -> bool:
            listed[:] = (await here.api.get("/api/jobs")).json()["jobs"]
            return bool(listed)

        await until(accepted)
        first = await here.ended(listed[0]["job_id"])
        result = await delivered(here, first["job_id"])
        written = json.loads(result.read_text("utf-8"))
        assert result.parent.name == f"castle__{first['job_id'][-8:]}"

    async with house(tmp_path / "there", text) as there:
        assert (await there.api.post(f"/api/job/{first['job_id']}/rerun")).status_code == 404
        there.drop("result.json", result.read_bytes())
        job = await there.ended(await job_of(there, first["job_id"]))
        assert job["status"] == "completed", job
        assert (job["seeds"], job["metadata"], job["priority"]) == (first["seeds"], {"shot": "010"}, 3)
        again = await delivered(there, job["job_id"])
        assert again.parent.name == f"castle__{job['job_id'][-8:]}"
        assert json.loads(again.read_text("utf-8"))["graph"] == written["graph"]


async def test_a_result_may_come_through_the_other_doors_too(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(CARD)
        await farm.ended(first)
        written = (await delivered(farm, first)).read_bytes()
        answer = await farm.api.post("/api/job", content=written, headers={"content-type": "application/json"})
        assert answer.status_code == 202, answer.text
        assert answer.json()["warnings"] == []
        assert (await farm.job(answer.json()["job_id"]))["rerun_of"] == first


async def test_a_foreign_result_is_checked_like_any_manifest(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    text = configured(backend("one", await sandboxes()))
    async with house(tmp_path, text, clock=FastClock(20.0)) as farm:  # what does not parse may still be written
        hostile: dict[str, dict[str, Any]] = {
            "empty.json": {},
            "list.json": {"graph": [1, 2]},
            "link.json": {"graph": {"1": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}}}},
            "words.json": {"graph": "rm -rf /"},
        }
        for name, content in hostile.items():
            farm.drop(name, json.dumps({"schema": "orchestrator-result/1", **content}).encode())

        async def refused() -> bool:
            failed = farm.settings.inbox_dir / "failed"
            return all((failed / f"{name}.error.json").exists() for name in hostile)

        await until(refused)
        assert (await farm.api.get("/api/jobs")).json()["jobs"] == []


async def test_a_result_with_input_files_is_done_again_where_they_are_and_refused_elsewhere(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    text = configured(backend("one", await sandboxes()))
    async with house(tmp_path / "here", text) as here:
        parent = await here.submit(CARD)
        child = await here.submit(INVERTED, parameters={"image": f"job:{parent}"})
        written = (await delivered(here, child)).read_bytes()
        [begun_with] = json.loads(written)["inputs"]
        assert begun_with["target"] == "1.image"
        again = await here.api.post("/api/job", content=written, headers={"content-type": "application/json"})
        assert again.status_code == 202, again.text
        job = await here.ended(again.json()["job_id"])
        assert (job["status"], job["inputs"]) == ("completed", [begun_with])
    async with house(tmp_path / "there", configured(backend("one", await sandboxes()))) as there:
        refused = await there.api.post("/api/job", content=written, headers={"content-type": "application/json"})
        assert refused.status_code == 422
        [problem] = refused.json()["detail"]
        assert (problem["loc"], problem["type"]) == (["body", "parameters", "1.image"], "asset_unknown")


def test_only_what_can_be_a_manifest_is_taken_from_a_result() -> None:
    taken = manifest_of_result(
        {
            "schema": "orchestrator-result/1",
            "graph": CARD,
            "job_id": "\x00" * 9,
            "workflow_id": "x" * 500,
            "priority": True,
            "metadata": "none",
            "parameters": {"seed": 1},
            "status": "failed",
            "inputs": [{"target": "1.image", "sha256": "../x"}, 7, {"target": 1, "sha256": "ab" * 32}],
            "idempotency_key": "k",
            "backend_affinity": "their-machine",
        }
    )
    assert taken == {"workflow": CARD}


def test_an_output_that_was_never_handed_over_is_waited_for_again() -> None:
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": f"job:{NOBODY}/a.png"}}, "2": "odd", "3": {}}
    assert manifest_of_result({"graph": graph})["parameters"] == {"1.image": f"job:{NOBODY}/a.png"}


@pytest.mark.parametrize(
    ("document", "stem"),
    [
        ({"stem": "castle", "workflow_id": "card"}, "castle"),
        ({"stem": "a\nb", "workflow_id": "card"}, "card"),
        ({"stem": 7}, None),
    ],
)
def test_the_stem_is_the_one_that_it_says(document: dict[str, Any], stem: str | None) -> None:
    assert stem_of_result(document) == stem


def test_a_result_without_a_graph_says_so() -> None:
    with pytest.raises(ManifestError, match="no graph"):
        manifest_of_result({"schema": "orchestrator-result/1"})
