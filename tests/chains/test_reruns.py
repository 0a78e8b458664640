"""A job is done again: exactly, or with changes, from the store."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from orchestrator_mcp.service.acceptance import bound_graph
from tests.chains.graphs import CARD, INVERTED
from tests.partners import SandboxFactory, text_to_image
from tests.world.house import House, backend, configured, house

NOBODY = "01890000-0000-7000-8000-000000000000"


async def again(farm: House, job_id: str, **body: Any) -> dict[str, Any]:
    """Do a job again and wait for its end."""
    answer = await farm.api.post(f"/api/job/{job_id}/rerun", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/job/{answer.json()['job_id']}"
    return await farm.ended(str(answer.json()["job_id"]))


async def graph_of(farm: House, job_id: str) -> dict[str, Any]:
    """The graph as `result.json` has it."""
    job = await farm.store.job(job_id)
    document = json.loads(await farm.store.document(job.row))
    return bound_graph(document, job.spec)


async def pixels(farm: House, job_id: str) -> list[tuple[tuple[int, int], bytes]]:
    """What the pictures of a job show; their bytes also tell where they were saved."""
    found = []
    for output in (await farm.job(job_id))["outputs"]:
        with Image.open(io.BytesIO((await farm.api.get(output["url"])).content)) as picture:
            found.append((picture.size, picture.convert("RGB").tobytes()))
    return found


async def test_the_same_graph_seeds_and_parameters_are_rendered_again(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(
            text_to_image(),
            parameters={"seed": -1, "prompt": "a red fox", "steps": 3},
            metadata={"shot": "010"},
            priority=7,
        )
        before = await farm.ended(first)
        job = await again(farm, first)
        assert job["job_id"] != first
        assert job["rerun_of"] == first
        assert job["status"] == "completed"
        for name in ("seeds", "parameters", "metadata", "priority", "workflow_id"):
            assert job[name] == before[name], name
        assert await graph_of(farm, job["job_id"]) == await graph_of(farm, first)
        assert await pixels(farm, job["job_id"]) == await pixels(farm, first)


async def test_changes_apply_under_the_names_of_the_first_and_nothing_else_changes(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(text_to_image(), parameters={"seed": -1, "prompt": "a red fox"})
        before = await farm.ended(first)
        job = await again(farm, first, parameters={"steps": 5, "6.text": "a blue fox"}, metadata={"take": 2})
        graph, old = await graph_of(farm, job["job_id"]), await graph_of(farm, first)
        assert graph["3"]["inputs"] == {**old["3"]["inputs"], "steps": 5}
        assert graph["6"]["inputs"]["text"] == "a blue fox"
        assert {node: said for node, said in graph.items() if node not in "36"} == {
            node: said for node, said in old.items() if node not in "36"
        }
        assert job["seeds"] == before["seeds"]
        assert job["parameters"] == {"seed": -1, "steps": 5, "6.text": "a blue fox"}
        assert job["metadata"] == {"take": 2}
        third = await again(farm, job["job_id"], parameters={"prompt": "a green fox"})
        assert (await graph_of(farm, third["job_id"]))["6"]["inputs"]["text"] == "a green fox"


async def test_a_seed_may_be_given_or_drawn_anew(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(text_to_image(), parameters={"seed": -1})
        before = (await farm.ended(first))["seeds"]
        assert (await again(farm, first, parameters={"seed": 11}))["seeds"] == {"3.seed": 11}
        drawn = (await again(farm, first, parameters={"seed": -1}))["seeds"]
        assert drawn.keys() == before.keys()
        assert drawn != before


async def test_a_workflow_that_changed_since_does_not_change_the_rerun(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    library = tmp_path / "workflows"
    library.mkdir()
    declared = "parameters:\n  - {name: size, node: '1', input: width, default: 96, min: 16, max: 128}\n"
    (library / "card.json").write_text(json.dumps(CARD), encoding="utf-8")
    (library / "card.yaml").write_text(declared, encoding="utf-8")
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        answer = await farm.api.post("/api/job", json={"workflow_id": "card"})
        first = answer.json()["job_id"]
        assert (await farm.ended(first))["parameters"] == {"size": 96}
        refused = await farm.api.post(f"/api/job/{first}/rerun", json={"parameters": {"size": 4}})
        assert refused.status_code == 422, "what is declared of the same graph still counts"

        (library / "card.yaml").write_text(declared.replace("96", "32"), encoding="utf-8")
        changed = {**CARD, "1": {**CARD["1"], "inputs": {**CARD["1"]["inputs"], "height": 16}}}
        (library / "card.json").write_text(json.dumps(changed), encoding="utf-8")
        job = await again(farm, first)
        assert await pixels(farm, job["job_id"]) == await pixels(farm, first)
        assert (job["workflow_id"], job["parameters"]) == ("card", {"size": 96})
        wider = await again(farm, first, parameters={"size": 64})
        assert (await graph_of(farm, wider["job_id"]))["1"]["inputs"]["width"] == 64
        assert (await graph_of(farm, wider["job_id"]))["1"]["inputs"]["height"] == 48


async def test_an_input_file_is_used_again_even_if_the_job_that_made_it_is_gone(
    tmp_path: Path, sandboxes: SandboxFactory
) -> None:
    servers = [await sandboxes(), await sandboxes()]
    text = configured(backend("one", servers[0]), backend("two", servers[1]))
    async with house(tmp_path, text) as farm:
        parent = await farm.submit(CARD, backend_affinity="one")
        child = await farm.submit(INVERTED, backend_affinity="one", parameters={"image": f"job:{parent}"})
        assert (await farm.ended(child))["status"] == "completed"
        job = await again(farm, child, backend_affinity="two")
        assert (job["status"], job["backend_id"], job["depends_on"]) == ("completed", "two", [])
        assert await pixels(farm, job["job_id"]) == await pixels(farm, child)


async def test_a_pin_may_be_taken_away(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    text = configured(backend("one", await sandboxes()), backend("away", await sandboxes(), "enabled: false"))
    async with house(tmp_path, text) as farm:
        first = await farm.submit(CARD, backend_affinity="away")
        assert (await farm.job(first))["status"] == "queued"
        job = await again(farm, first, backend_affinity=None)
        assert (job["status"], job["backend_id"]) == ("completed", "one")


async def test_a_job_that_is_not_there_points_to_its_result(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        answer = await farm.api.post(f"/api/job/{NOBODY}/rerun")
        assert answer.status_code == 404
        assert "result.json" in answer.text
        there = await farm.submit(text_to_image())
        cut = await farm.api.post(f"/api/job/{there[:20]}/rerun")
        assert cut.status_code == 404 and cut.json()["hint"] == f"Did you mean {there}?"


async def test_the_same_key_does_it_again_once(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(text_to_image(), parameters={"seed": -1})
        body = {"idempotency_key": "once", "parameters": {"steps": 2}}
        answers = [(await farm.api.post(f"/api/job/{first}/rerun", json=body)).json()["job_id"] for _ in range(2)]
        assert answers[0] == answers[1] != first
        other = await farm.api.post(f"/api/job/{first}/rerun", json={**body, "parameters": {"steps": 3}})
        assert other.status_code == 409


async def test_a_dry_run_of_a_rerun_queues_nothing(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(text_to_image(), parameters={"seed": -1})
        drawn = (await farm.ended(first))["seeds"]
        answer = await farm.api.post(f"/api/job/{first}/rerun?dry_run=1", json={"parameters": {"steps": 2}})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["seeds"], answer.json()["graph"]["3"]["inputs"]["steps"]) == (drawn, 2)
        misspelt = await farm.api.post(f"/api/job/{first}/rerun?dry=1")
        assert misspelt.status_code == 422
        assert [job["job_id"] for job in (await farm.api.get("/api/jobs")).json()["jobs"]] == [first]


async def test_what_a_rerun_cannot_have_is_said(tmp_path: Path, sandboxes: SandboxFactory) -> None:
    async with house(tmp_path, configured(backend("one", await sandboxes()))) as farm:
        first = await farm.submit(CARD)
        ignored = await farm.api.post(f"/api/job/{first}/rerun", json={"workflow_id": "other", "colour": 1})
        assert ignored.status_code == 202
        assert [word for word in ("workflow_id", "colour") if word in " ".join(ignored.json()["warnings"])] == [
            "workflow_id",
            "colour",
        ]
        for body, place in (
            ({"parameters": {"nothing": 1}}, ["body", "parameters", "nothing"]),
            ({"parameters": []}, ["body", "parameters"]),
            ({"priority": 1000}, ["body", "priority"]),
        ):
            answer = await farm.api.post(f"/api/job/{first}/rerun", json=body)
            assert answer.status_code == 422
            assert answer.json()["detail"][0]["loc"] == place
