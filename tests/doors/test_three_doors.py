"""The same manifest is the same job, whichever door it comes through."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator_mcp.domain.views import JobView
from tests.doors.three_doors import House, Refusal, Way

BODY: dict[str, Any] = {
    "workflow_id": "my_workflow_001",
    "parameters": {"prompt": "cinematic shot", "steps": 2, "3.cfg": 5.5, "width": 64, "height": 64},
    "metadata": {"source": "storyboard", "note": None},
    "priority": 5,
}


def but(**fields: Any) -> dict[str, Any]:
    """The body, with other fields."""
    return {**BODY, **fields}


def with_parameters(**values: Any) -> dict[str, Any]:
    return but(parameters={**BODY["parameters"], **values})


async def accepted(way: Way, body: dict[str, Any]) -> str:
    answer = await way.hand_in(body)
    assert isinstance(answer, str), answer
    return answer


async def test_a_manifest_becomes_verified_files_in_the_store_and_in_outbox(studio: House, way: Way) -> None:
    job = await studio.end_of(await accepted(way, BODY))

    JobView.model_validate(job, strict=False)
    assert (job["status"], job["progress"], job["priority"], job["sandbox"]) == ("completed", 1.0, 5, True)
    assert (job["parameters"], job["metadata"]) == (BODY["parameters"], BODY["metadata"])
    assert job["seeds"] == {"3.seed": 20260128}
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["succeeded"]

    [output] = job["outputs"]
    served = (await studio.http.get(output["url"])).content
    folder, result = await studio.result_of(job)
    copied = (folder / output["name"]).read_bytes()
    assert Path(output["path"]) == folder / output["name"]
    assert served == copied
    assert (len(served), hashlib.sha256(served).hexdigest()) == (output["size"], output["sha256"])
    assert served.startswith(b"\x89PNG\r\n\x1a\n")

    assert result["schema"] == "orchestrator-result/1"
    assert {key: result[key] for key in ("job_id", "status", "seeds", "outputs")} == {
        key: job[key] for key in ("job_id", "status", "seeds", "outputs")
    }
    sampler = result["graph"]["3"]["inputs"]
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (20260128, 2, 5.5)
    assert result["graph"]["6"]["inputs"]["text"] == "cinematic shot"
    assert {"queued", "rendering", "total"} <= result["timings"].keys()


async def test_a_seed_of_minus_one_is_drawn_and_told_and_a_label_is_kept_with_a_warning(
    studio: House, way: Way
) -> None:
    body = with_parameters(seed=-1, shot_id="s1") | {"metadata": {"shot_id": "s1"}}
    job = await studio.end_of(await accepted(way, body))
    assert job["status"] == "completed"
    [seed] = job["seeds"].values()
    assert 0 <= seed < 2**53
    assert (job["parameters"]["seed"], job["metadata"]) == (-1, {"shot_id": "s1"})
    assert "shot_id" in " ".join(job["warnings"])
    _, result = await studio.result_of(job)
    assert result["graph"]["3"]["inputs"]["seed"] == seed


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an unknown workflow": (but(workflow_id="my_workflow_01"), ["my_workflow_01", "my_workflow_001"]),
    "a path as a workflow": (but(workflow_id="../workflows/my_workflow_001"), ["There is no workflow"]),
    "an unknown parameter": (with_parameters(stps=3), ["parameters.stps", "steps"]),
    "a wrong type": (with_parameters(steps="many"), ["parameters.steps", "many"]),
    "a linked input": (with_parameters(**{"3.model": "sdxl"}), ["parameters.3.model", "link"]),
    "a priority out of range": (but(priority=101), ["priority", "100"]),
    "an unknown backend": (but(backend_affinity="sandbok"), ["backend_affinity", "sandbox"]),
    "a graph without a class": (but(workflow={"1": {"inputs": {}}}), ["class_type"]),
    "a broken link": (
        but(workflow={"1": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}}}, parameters={}),
        ["9"],
    ),
    "no workflow at all": ({"parameters": {}}, ["workflow_id"]),
}


async def test_a_wrong_manifest_is_refused_where_it_is_wrong_and_nothing_is_queued(studio: House, way: Way) -> None:
    for number, (what, (body, words)) in enumerate(REFUSED.items()):
        refusal = await way.hand_in(body, stem=f"wrong_{number}")
        assert isinstance(refusal, Refusal), what
        for word in words:
            assert word in refusal.words, (what, word, refusal.words)
    assert (await studio.http.get("/api/jobs")).json()["jobs"] == []


async def test_a_job_that_no_backend_can_run_is_refused_with_their_reasons(studio: House, way: Way) -> None:
    refused = await way.hand_in(with_parameters(width=1))
    assert isinstance(refused, Refusal)
    assert "sandbox cannot run it: node 5 (EmptyLatentImage): width is 1; at least 16 is needed" in refused.words


async def test_a_graph_that_the_backend_refuses_fails_with_its_own_words(studio: House, way: Way) -> None:
    absent = {"class_type": "LoadImage", "inputs": {"image": "shots/absent.png"}}
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    job = await studio.end_of(await accepted(way, {"workflow": {"1": absent, "2": save}}))
    assert (job["status"], job["outputs"]) == ("failed", [])
    assert job["error"]["code"] == "prompt_rejected"
    assert "absent.png" in str(job["error"]["details"])
    folder, result = await studio.result_of(job)
    assert [path.name for path in folder.iterdir()] == ["result.json"]
    assert result["error"] == job["error"]


async def test_a_render_can_be_cancelled(studio: House, way: Way) -> None:
    job_id = await accepted(way, with_parameters(steps=2000))
    assert (await studio.http.delete(f"/api/job/{job_id}")).status_code == 202
    assert (await studio.end_of(job_id))["status"] == "cancelled"


async def test_the_same_body_is_the_same_work_behind_every_door(studio: House) -> None:
    graphs, jobs = [], []
    for way in studio.ways.values():
        job = await studio.end_of(await accepted(way, BODY))
        _, result = await studio.result_of(job)
        graphs.append(result["graph"])
        jobs.append(job)
    assert graphs[0] == graphs[1] == graphs[2]
    same = ("status", "workflow_id", "priority", "parameters", "metadata", "seeds", "warnings", "sandbox", "backend_id")
    first, *others = [{key: job[key] for key in same} for job in jobs]
    assert others == [first, first]


async def test_one_idempotency_key_is_one_job_behind_every_door(studio: House) -> None:
    body = with_parameters(steps=20) | {"idempotency_key": "shot-7"}
    job_id = await accepted(studio.ways["http"], body)
    assert await accepted(studio.ways["mcp"], body) == job_id
    inbox = studio.folder / "Inbox"
    (inbox / "again.json").write_text(json.dumps(body), encoding="utf-8")
    job = await studio.end_of(job_id)
    assert job["status"] == "completed"
    await studio.until(lambda: (inbox / "processed" / "again.json").exists())
    late = await studio.ways["inbox"].hand_in(body, stem="late")
    assert isinstance(late, Refusal)
    assert job_id in late.words

    for name, way in studio.ways.items():
        refusal = await way.hand_in({**body, "priority": 6}, stem=f"conflict_{name}")
        assert isinstance(refusal, Refusal)
        assert job_id in refusal.words
    assert [job["job_id"] for job in (await studio.http.get("/api/jobs")).json()["jobs"]] == [job_id]


@pytest.mark.parametrize("written", ["2026-03-01T18:00:00", "soon"])
@pytest.mark.parametrize("field", ["deadline", "metadata.deadline"])
async def test_a_deadline_that_nobody_can_know_is_refused_with_its_mend(way: Way, field: str, written: str) -> None:
    body = but(deadline=written) if field == "deadline" else but(metadata={"deadline": written})
    refused = await way.hand_in(body)
    assert isinstance(refused, Refusal)
    assert field in refused.words and "2026-03-01T18:00:00Z" in refused.words
