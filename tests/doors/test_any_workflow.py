"""Whatever holds a workflow is rendered, through every door; what cannot be is refused by node and reason."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from orchestrator_mcp.domain.access import LOCAL
from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service import Submission
from tests.doors.three_doors import House, Refusal, Way
from tests.pages import GRAPH, film, page, picture


async def rendered(studio: House, job_id: str | Refusal) -> dict[str, Any]:
    """The result of a job that completes."""
    assert isinstance(job_id, str), job_id
    job = await studio.end_of(job_id)
    assert job["status"] == "completed", job
    _, result = await studio.result_of(job)
    return result


def accepted(response: httpx.Response) -> str:
    assert response.status_code == 202, response.text
    return str(response.json()["job_id"])


@pytest.mark.parametrize("workflow", [GRAPH, {"prompt": GRAPH}, page()], ids=["api", "wrapped", "ui"])
async def test_a_manifest_takes_a_workflow_in_any_format(studio: House, way: Way, workflow: dict[str, Any]) -> None:
    result = await rendered(studio, await way.hand_in({"workflow": workflow, "parameters": {"width": 32}}))
    assert result["graph"]["1"]["inputs"] == {**GRAPH["1"]["inputs"], "width": 32}
    assert [output["media_type"] for output in result["outputs"]] == ["image/png"]


async def test_what_cannot_be_converted_is_refused_by_node_and_reason(studio: House, way: Way) -> None:
    refusal = await way.hand_in({"workflow": page(kind="NobodyHasThis")})
    assert isinstance(refusal, Refusal)
    assert "workflow.nodes.1" in refusal.words
    assert "NobodyHasThis" in refusal.words
    assert (await studio.http.get("/api/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("value", [float("nan"), "\ud800", 2**70], ids=["nan", "half a letter", "large"])
async def test_a_workflow_of_the_page_with_values_that_no_database_holds_is_refused(studio: House, value: Any) -> None:
    saved = page()
    saved["nodes"][1]["widgets_values"] = [value]
    manifest = Manifest.model_construct(workflow=saved, workflow_id=None)
    with pytest.raises(ManifestError) as refused:
        await studio.running.service.submit(Submission(manifest=manifest, door=Door.MCP, by=LOCAL))
    assert refused.value.problems[0].path == ("workflow", "nodes", 1, "widgets_values", 0)


@pytest.mark.parametrize("name", ["page.json", "shot.png", "film.mp4", "saved by the studio.json"])
async def test_the_library_has_what_artists_keep_there(studio: House, way: Way, name: str) -> None:
    contents = {
        "page.json": json.dumps(page()).encode(),
        "shot.png": picture(workflow=page()),
        "film.mp4": film({"workflow": page()}),
        "saved by the studio.json": json.dumps(
            {"name": "Card", "workflow": page(), "parameters": [_declared("wide", "1", "width")]}
        ).encode(),
    }
    (studio.folder / "workflows" / name).write_bytes(contents[name])
    key = name.rpartition(".")[0]
    shown = (await studio.http.get(f"/api/workflows/{key}")).json()
    assert shown["problem"] is None
    called = "wide" if "studio" in name else "width"
    assert called in shown["parameters_schema"]["properties"]
    result = await rendered(studio, await way.hand_in({"workflow_id": key, "parameters": {called: 40}}))
    assert result["graph"]["1"]["inputs"]["width"] == 40


async def test_a_workflow_of_the_library_that_no_backend_knows_says_so(studio: House) -> None:
    (studio.folder / "workflows" / "odd.json").write_text(json.dumps(page(kind="NobodyHasThis")), encoding="utf-8")
    shown = (await studio.http.get("/api/workflows/odd")).json()
    assert "NobodyHasThis" in shown["problem"]
    response = await studio.http.post("/api/job", json={"workflow_id": "odd"})
    assert response.status_code == 422
    assert "NobodyHasThis" in response.text


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (json.dumps(page()).encode(), "application/json"),
        (json.dumps(GRAPH).encode(), "application/octet-stream"),
        (picture(prompt=GRAPH, workflow=page()), "image/png"),
        (picture(workflow=page()), "application/octet-stream"),
        (film({"workflow": page()}), "video/mp4"),
    ],
    ids=["ui", "api as a file", "prompt in a picture", "page in a picture", "film"],
)
async def test_a_body_may_be_the_workflow_or_the_picture_itself(studio: House, content: bytes, media_type: str) -> None:
    headers = {"Content-Type": media_type, "Idempotency-Key": "once"}
    first = await studio.http.post("/api/job", content=content, headers=headers)
    again = await studio.http.post("/api/job", content=content, headers=headers)
    assert accepted(first) == accepted(again)
    assert (await rendered(studio, accepted(first)))["graph"]["1"]["inputs"] == GRAPH["1"]["inputs"]


async def test_a_form_carries_a_file_and_what_is_wanted_of_it(studio: House) -> None:
    files = {"workflow": ("C:\\shots\\night train.png", picture(workflow=page()), "image/png")}
    wanted = {"parameters": {"width": 32}, "metadata": {"shot": "010"}, "nonsense": 1}
    response = await studio.http.post("/api/job", files=files, data={"manifest": json.dumps(wanted)})
    assert "'nonsense'" in " ".join(response.json()["warnings"])
    result = await rendered(studio, accepted(response))
    assert (result["workflow_id"], result["metadata"]) == ("night train", {"shot": "010"})
    assert result["graph"]["1"]["inputs"]["width"] == 32

    both: dict[str, Any] = {
        "workflow": ("a.json", json.dumps(page())),
        "manifest": ("m.json", b'{"workflow_id": "mine"}'),
    }
    assert (await rendered(studio, accepted(await studio.http.post("/api/job", files=both))))["workflow_id"] == "mine"


async def test_a_picture_of_an_earlier_job_is_rendered_again(studio: House) -> None:
    first = await rendered(studio, await studio.ways["http"].hand_in({"workflow": page(width=24)}))
    content = (await studio.http.get(first["outputs"][0]["url"])).content
    again = await studio.http.post("/api/job", content=content, headers={"Content-Type": "image/png"})
    assert (await rendered(studio, accepted(again)))["graph"]["1"] == first["graph"]["1"]

    (studio.folder / "Inbox" / ".shot.tmp").write_bytes(content)
    (studio.folder / "Inbox" / ".shot.tmp").rename(studio.folder / "Inbox" / "rerender" / "shot 7.png")
    [done] = await studio.until(lambda: list((studio.folder / "Inbox" / "processed").iterdir()))
    assert done.name == "shot 7.png"
    [folder] = (studio.folder / "Outbox").glob("shot_7__*")
    assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["graph"]["1"] == first["graph"]["1"]


PLAIN: dict[str, Any] = {"content": picture(), "headers": {"Content-Type": "image/png"}}
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "a picture without a workflow": (PLAIN, 422, "no_workflow"),
    "an empty body": ({**PLAIN, "content": b""}, 422, "empty"),
    "a form without a file": ({"files": {"manifest": ("m", b"{}")}}, 422, "missing"),
    "a form with something else": ({"files": {"workflow": ("a", b"{}"), "x": ("b", b"")}}, 422, "unknown_name"),
    "the same part twice": ({"files": [("workflow", ("a", b"{}")), ("workflow", ("b", b"{}"))]}, 422, "repeated"),
    "a manifest twice": (
        {"files": {"workflow": ("a", b'{"workflow_id": "x"}')}, "data": {"manifest": '{"priority": 1}'}},
        422,
        "conflicting",
    ),
    "two workflows": (
        {"files": {"workflow": ("a", json.dumps(GRAPH))}, "data": {"manifest": json.dumps({"workflow": GRAPH})}},
        422,
        "conflicting",
    ),
    "no form at all": (
        {"content": b"{}", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        400,
        "form",
    ),
    "a form without a boundary": ({"content": b"{}", "headers": {"Content-Type": "multipart/form-data"}}, 400, "form"),
    "a packed picture": (
        {"content": picture(prompt=GRAPH), "headers": {"Content-Type": "image/png", "Content-Encoding": "gzip"}},
        415,
        "compressed",
    ),
}


async def test_what_is_no_submission_is_refused_and_queues_nothing(studio: House) -> None:
    for what, (request, status, code) in REFUSED.items():
        response = await studio.http.post("/api/job", **request)
        assert response.status_code == status, (what, response.text)
        told = response.json()
        found = told["detail"][0]["type"] if isinstance(told["detail"], list) else told["code"]
        assert found == code, (what, told)
    assert (await studio.http.get("/api/jobs")).json()["jobs"] == []


async def test_a_form_from_a_web_page_of_another_origin_submits_nothing(studio: House) -> None:
    files = {"workflow": ("a.png", picture(prompt=GRAPH), "image/png")}
    response = await studio.http.post("/api/job", files=files, headers={"Origin": "http://elsewhere.example"})
    assert response.status_code == 403


async def test_what_the_nodes_of_a_backend_are_is_told_once(studio: House) -> None:
    answer = await studio.http.get("/api/backends/sandbox/object_info")
    assert answer.json()["EmptyImage"]["output"] == ["IMAGE"]
    headers = {"If-None-Match": answer.headers["etag"]}
    assert (await studio.http.get("/api/backends/sandbox/object_info", headers=headers)).status_code == 304
    assert (await studio.http.get("/api/backends/nobody/object_info")).status_code == 404


def _declared(name: str, node_id: str, input_name: str) -> dict[str, Any]:
    return {"name": name, "node_id": node_id, "input_name": input_name, "type": "integer"}
