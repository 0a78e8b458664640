"""The HTTP door in front of everything: a real store, a real scheduler, and the built-in sandbox."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import schemathesis
from websockets.asyncio.client import connect

from orchestrator_mcp import __version__
from orchestrator_mcp.app import orchestrator
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.doors.http.openapi import openapi_document
from orchestrator_mcp.settings import load_settings

LIBRARY = Path(__file__).parents[3] / "workflows"
DOCUMENT = schemathesis.openapi.from_dict(openapi_document(__version__))
DOCUMENTED: dict[str, Any] = {
    "workflow_id": "my_workflow_001",
    "parameters": {"prompt": "cinematic shot", "steps": 4},
    "metadata": {"source": "storyboard"},
}


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The whole orchestrator in a folder of its own."""
    shutil.copytree(LIBRARY, tmp_path / "workflows")
    config = tmp_path / "config.yaml"
    config.write_text("data_dir: ./data\n", encoding="utf-8")
    settings = load_settings(config, port=0, environ={})
    with anyio.fail_after(60):
        async with (
            orchestrator(settings) as running,
            httpx.AsyncClient(base_url=running.url, trust_env=False, verify=False) as client,
        ):
            yield client


async def submitted(client: httpx.AsyncClient, **fields: Any) -> str:
    response = await client.post("/api/job", json={**DOCUMENTED, **fields})
    assert response.status_code == 202, response.text
    job_id: str = response.json()["job_id"]
    return job_id


async def ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """Follow a job to its end, and give what it became."""
    url = str(client.base_url.copy_with(scheme="ws")).rstrip("/")
    async with connect(f"{url}/api/job/{job_id}/stream", proxy=None) as stream:
        messages = [json.loads(message) async for message in stream]
    assert stream.close_code == 1000
    assert (messages[0]["type"], messages[-1]["type"]) == ("job", "end")
    shares = [message["progress"] for message in messages if message["type"] == "progress"]
    assert shares == sorted(shares)
    numbers = [message["seq"] for message in messages]
    assert numbers == sorted(numbers)
    job: dict[str, Any] = messages[-1]["job"]
    return job


async def test_the_documented_job_is_rendered_and_its_bytes_are_what_was_promised(live: httpx.AsyncClient) -> None:
    job_id = await submitted(live)
    job = await ended(live, job_id)

    assert (job["status"], job["progress"], job["sandbox"]) == ("completed", 1.0, True)
    assert job == (await live.get(f"/api/job/{job_id}")).json()
    assert job["metadata"] == {"source": "storyboard"}
    outputs = (await live.get(f"/api/job/{job_id}/outputs")).json()
    assert outputs == job["outputs"] and len(outputs) == 1
    (output,) = outputs
    assert output["url"].startswith(f"{str(live.base_url).rstrip('/')}/api/job/{job_id}/outputs/")
    response = await live.get(output["url"])
    assert response.headers["content-type"] == output["media_type"] == "image/png"
    assert len(response.content) == output["size"]
    assert hashlib.sha256(response.content).hexdigest() == output["sha256"]
    part = await live.get(output["url"], headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")


async def test_the_events_tell_the_same_story(live: httpx.AsyncClient) -> None:
    job_id = await submitted(live)
    async with live.stream("GET", f"/api/job/{job_id}/events") as response:
        lines = [line async for line in response.aiter_lines()]
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert (told[0]["type"], told[-1]["type"], told[-1]["job"]["status"]) == ("job", "end", "completed")
    last = next(line.removeprefix("id: ") for line in reversed(lines) if line.startswith("id: "))
    again = await live.get(f"/api/job/{job_id}/events", headers={"Last-Event-ID": last})
    assert again.status_code == 204


async def test_the_same_key_gives_the_same_job_and_another_manifest_a_conflict(live: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "shot-7"}
    first = await live.post("/api/job", json=DOCUMENTED, headers=key)
    again = await live.post("/api/job", json=DOCUMENTED, headers=key)
    other = await live.post("/api/job", json={**DOCUMENTED, "priority": 5}, headers=key)

    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert len((await live.get("/api/jobs")).json()["jobs"]) == 1


async def test_a_whole_number_is_the_same_wish_however_json_writes_it(live: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "shot-8"}
    as_whole = {**DOCUMENTED, "parameters": {"seed": 7, "steps": 4, "cfg": 7.0}}
    as_fraction = {**DOCUMENTED, "parameters": {"seed": 7.0, "steps": 4.0, "cfg": 7.0}}
    first = await live.post("/api/job", json=as_whole, headers=key)
    again = await live.post("/api/job", json=as_fraction, headers=key)
    assert (first.status_code, again.status_code) == (202, 202), again.text
    assert first.json() == again.json()
    new = await live.post("/api/job", json=as_fraction)
    job = (await live.get(f"/api/job/{new.json()['job_id']}")).json()
    assert [repr(job["parameters"][name]) for name in ("seed", "steps", "cfg")] == ["7", "4", "7.0"]


async def test_a_job_can_be_cancelled_and_then_no_more(live: httpx.AsyncClient) -> None:
    job_id = await submitted(live, parameters={"steps": 2000})
    response = await live.delete(f"/api/job/{job_id}")
    assert response.status_code == 202
    assert (await ended(live, job_id))["status"] == "cancelled"
    assert (await live.delete(f"/api/job/{job_id}")).status_code == 202

    done = await submitted(live)
    await ended(live, done)
    assert (await live.delete(f"/api/job/{done}")).status_code == 409


async def test_lists_filter_and_page(live: httpx.AsyncClient) -> None:
    ids = [await submitted(live, metadata={"source": source}) for source in ("a", "b", "a")]
    page = (await live.get("/api/jobs?limit=2")).json()
    assert [job["job_id"] for job in page["jobs"]] == [ids[2], ids[1]]
    rest = (await live.get("/api/jobs", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [job["job_id"] for job in rest["jobs"]] == [ids[0]]
    assert rest["next_cursor"] is None
    chosen = (await live.get("/api/jobs?source=a&workflow_id=my_workflow_001")).json()
    assert [job["job_id"] for job in chosen["jobs"]] == [ids[2], ids[0]]
    assert (await live.get("/api/jobs?source=nobody")).json()["jobs"] == []


@pytest.mark.parametrize(
    ("fields", "status", "loc"),
    [
        ({"workflow_id": "my_workflow_002"}, 404, None),
        ({"parameters": {"stepz": 3}}, 422, ["body", "parameters", "stepz"]),
        ({"parameters": {"steps": "many"}}, 422, ["body", "parameters", "steps"]),
        ({"backend_affinity": "sandbok"}, 422, ["body", "backend_affinity"]),
        ({"workflow": {"1": {"inputs": {}}}}, 422, None),
        ({"workflow": {}}, 422, None),
    ],
)
async def test_a_wrong_manifest_is_refused_where_it_is_wrong(
    live: httpx.AsyncClient, fields: dict[str, Any], status: int, loc: list[Any] | None
) -> None:
    response = await live.post("/api/job", json={**DOCUMENTED, **fields})
    assert response.status_code == status, response.text
    if loc is not None:
        assert response.json()["detail"][0]["loc"] == loc
    assert (await live.get("/api/jobs")).json()["jobs"] == []


async def test_a_label_that_fits_no_input_is_kept_and_told(live: httpx.AsyncClient) -> None:
    fields = {"prompt": "cinematic shot", "shot_id": "s1"}
    response = await live.post(
        "/api/job", json={**DOCUMENTED, "parameters": fields, "metadata": {"shot_id": "s1"}, "nonsense": 1}
    )
    assert response.status_code == 202
    warnings = " ".join(response.json()["warnings"])
    assert "shot_id" in warnings and "nonsense" in warnings


async def test_the_farm_and_the_library_are_shown(live: httpx.AsyncClient) -> None:
    (backend,) = (await live.get("/api/backends")).json()
    assert (backend["kind"], backend["online"]) == ("sandbox", True)
    assert (await live.get(f"/api/backends/{backend['id']}")).json()["id"] == backend["id"]
    assert (await live.get("/api/backends/nope")).status_code == 404
    library = (await live.get("/api/workflows")).json()
    assert "my_workflow_001" in [workflow["id"] for workflow in library]
    shown = (await live.get("/api/workflows/my_workflow_001")).json()
    steps = next(part for part in shown["parameters"] if part["name"] == "steps")
    assert (steps["type"], steps["default"], steps["targets"]) == ("integer", 20, ["3.steps"])
    assert shown["parameters_schema"]["properties"]["steps"]["type"] == "integer"
    assert (await live.get("/api/workflows/my_workflow_1")).json()["hint"] == "Did you mean my_workflow_001?"
    health = (await live.get("/api/health")).json()
    assert (health["status"], health["backends_online"], health["sandbox"]) == ("ok", 1, True)


async def test_every_answer_fits_the_shape_that_is_documented(live: httpx.AsyncClient) -> None:
    job_id = await submitted(live)
    await ended(live, job_id)
    for path in (f"/api/job/{job_id}", f"/api/jobs/{job_id}"):
        JobView.model_validate((await live.get(path)).json(), strict=False)
    (output,) = (await live.get(f"/api/job/{job_id}/outputs")).json()
    named = {"job_id": job_id, "name": output["name"], "workflow_id": "my_workflow_001", "backend_id": "sandbox"}
    looks = [path for path in DOCUMENT.raw_schema["paths"] if "get" in DOCUMENT.raw_schema["paths"][path]]
    shown = [path for path in looks if set(re.findall(r"{(\w+)}", path)) <= named.keys() and "stream" not in path]
    assert len(shown) > 12
    for path in shown:
        for headers in ({}, {"Range": "bytes=0-9"}):
            response = await live.get(path.format(**named), headers=headers)
            assert response.is_success, path
            DOCUMENT[path]["GET"].Case(path_parameters=named).validate_response(response)
    for path in ("/api/job/%00", "/api/job/" + "9" * 3000, "/api/job/'; DROP TABLE jobs", f"/api/job/{job_id}x"):
        assert (await live.get(path)).status_code == 404


async def test_hostile_bodies_never_break_anything(live: httpx.AsyncClient) -> None:
    json_type = {"Content-Type": "application/json"}
    bodies = [
        b'{"workflow_id": "my_workflow_001", "parameters": {"seed": 1e999}}',
        b'{"workflow_id": "my_workflow_001", "parameters": {"seed": 99999999999999999999999}}',
        b'{"workflow_id": "\\u0000"}',
        b'{"workflow_id": "my_workflow_001", "metadata": {"x": "\\ud800"}}',
        b'{"workflow_id": "../../etc/passwd"}',
        b'{"workflow": {"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}}',
        b'{"workflow": {"1": ' + b"[" * 60 + b"]" * 60 + b"}}",
    ]
    for body in bodies:
        response = await live.post("/api/job", content=body, headers=json_type)
        assert 400 <= response.status_code < 500, (body, response.text)
        assert response.json()["detail"]
