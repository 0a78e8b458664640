"""What each route of the API answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.doors.http import BodyLimits
from orchestrator_mcp.errors import (
    BackendAmbiguousError,
    IdempotencyConflict,
    LeaseLostError,
    ManifestError,
    OrchestratorError,
    QueueFullError,
    StorageError,
    TooLargeError,
    UnavailableError,
)
from tests.doors.http.farm import JOB, ServiceDouble, finished
from tests.doors.http.served import served

DOCUMENTED: dict[str, Any] = {
    "workflow_id": "my_workflow_001",
    "parameters": {"prompt": "cinematic shot", "steps": 20},
    "metadata": {"source": "storyboard"},
}


async def test_the_documented_submission_is_accepted(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    response = await client.post("/api/job", json=DOCUMENTED)

    assert response.status_code == 202
    assert response.headers["location"] == f"/api/job/{JOB}"
    body = response.json()
    assert (body["job_id"], body["status"], body["message"]) == (JOB, "accepted", "Job accepted for execution")
    assert body["submitted_at"] == "2026-01-28T12:00:00.000Z"
    (submitted,) = farm.submitted
    assert submitted.manifest.workflow_id == "my_workflow_001"
    assert submitted.manifest.parameters == DOCUMENTED["parameters"]
    assert (submitted.door, submitted.by.name) == (Door.HTTP, "anonymous")
    assert body["links"]["self"].startswith(str(client.base_url).rstrip("/"))


async def test_both_spellings_of_a_graph_are_taken(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}}
    for spelling in ("workflow", "workflow_json"):
        assert (await client.post("/api/job", json={spelling: graph})).status_code == 202

    assert [submitted.manifest.workflow for submitted in farm.submitted] == [graph, graph]


async def test_unknown_fields_are_ignored_and_told(client: httpx.AsyncClient) -> None:
    body = (await client.post("/api/job", json={**DOCUMENTED, "paramters": {}, "zzz": 1})).json()

    assert body["warnings"] == [
        "The unknown field 'paramters' was ignored. Did you mean 'parameters'?",
        "The unknown field 'zzz' was ignored. Values for the workflow go inside 'parameters'.",
    ]


async def test_the_header_is_the_idempotency_key(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    await client.post("/api/job", json=DOCUMENTED, headers={"Idempotency-Key": "k-1"})
    await client.post("/api/job", json={**DOCUMENTED, "idempotency_key": "k-1"}, headers={"Idempotency-Key": "k-1"})

    assert [submitted.manifest.idempotency_key for submitted in farm.submitted] == ["k-1", "k-1"]


async def test_a_header_and_a_field_that_differ_are_refused(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    body = {**DOCUMENTED, "idempotency_key": "other"}
    response = await client.post("/api/job", json=body, headers={"Idempotency-Key": "k-1"})

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert farm.submitted == []


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body"]),
        ({"workflow_id": 7}, ["body", "workflow_id"]),
        ({"workflow_id": "x", "parameters": [1]}, ["body", "parameters"]),
        ({"workflow_id": "x", "priority": 101}, ["body", "priority"]),
        ({"workflow_id": "x", "required_capabilities": ["ok", 3]}, ["body", "required_capabilities", 1]),
        ({"workflow": "text"}, ["body", "workflow"]),
    ],
)
async def test_every_wrong_field_is_named(client: httpx.AsyncClient, body: dict[str, Any], loc: list[Any]) -> None:
    response = await client.post("/api/job", json=body)

    assert response.status_code == 422
    (problem,) = response.json()["detail"]
    assert problem["loc"] == loc
    assert problem["msg"] and "pydantic" not in json.dumps(problem)


async def test_what_the_service_finds_wrong_has_the_same_shape(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    farm.raises["submit"] = ManifestError.at(
        "parameters", "stepz", message="no such parameter", code="unknown", allowed=["steps"], hint="Look again."
    )
    response = await client.post("/api/job", json=DOCUMENTED)

    assert response.status_code == 422
    assert response.json() == {
        "detail": [
            {
                "loc": ["body", "parameters", "stepz"],
                "msg": "no such parameter",
                "type": "unknown",
                "allowed": ["steps"],
            }
        ],
        "code": "invalid_manifest",
        "hint": "Look again.",
    }


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'{"a": 1, "a": 2}', b"\xff\xfe\x00", b'{"workflow_id": NaN}', b"[" * 100_000, b'"text"'],
)
async def test_what_is_no_manifest_is_the_callers_mistake(client: httpx.AsyncClient, raw: bytes) -> None:
    response = await client.post("/api/job", content=raw, headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {},
    ],
)
async def test_a_body_that_does_not_say_json_is_refused(
    client: httpx.AsyncClient, farm: ServiceDouble, headers: dict[str, str]
) -> None:
    response = await client.post("/api/job", content=json.dumps(DOCUMENTED), headers=headers)

    assert response.status_code == 415
    assert isinstance(response.json()["detail"], str)
    assert farm.submitted == []


async def test_a_charset_that_is_not_read_is_named(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json; charset=latin-1"}
    response = await client.post("/api/job", content=json.dumps(DOCUMENTED), headers=headers)
    assert response.status_code == 415
    assert "latin-1" in response.json()["detail"] and "UTF-8" in response.json()["hint"]


async def test_a_charset_of_utf8_is_fine(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    assert (await client.post("/api/job", content=json.dumps(DOCUMENTED), headers=headers)).status_code == 202


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_whether_it_says_its_length_or_not(
    farm: ServiceDouble, declared: bool
) -> None:
    async def chunks() -> Any:
        for _ in range(400):
            yield b" " * 10_000

    async with served(farm, limits=lambda: BodyLimits(document=1_000_000)) as client:
        content = b" " * 4_000_000 if declared else chunks()
        response = await client.post("/api/job", content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        assert "1,000,000 bytes" in response.json()["detail"]
        assert (await client.post("/api/job", json=DOCUMENTED)).status_code == 202


async def test_a_large_manifest_is_read(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    body = {**DOCUMENTED, "metadata": {"notes": "x" * 2_000_000}}

    assert (await client.post("/api/job", json=body)).status_code == 202
    assert farm.submitted[0].manifest.metadata == body["metadata"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (IdempotencyConflict("k", JOB), 409, "idempotency_conflict"),
        (TooLargeError("Too many nodes."), 413, "too_large"),
        (StorageError("The disk is full.", retry_after=2.2), 503, "storage_unavailable"),
        (UnavailableError("Stopping."), 503, "unavailable"),
        (QueueFullError("Too many wait."), 429, "queue_full"),
        (BackendAmbiguousError("No answer.", backend_id="node1"), 502, "backend_ambiguous"),
    ],
)
async def test_each_error_has_its_status(
    client: httpx.AsyncClient, farm: ServiceDouble, error: OrchestratorError, status: int, code: str
) -> None:
    farm.raises["submit"] = error
    response = await client.post("/api/job", json=DOCUMENTED)

    assert response.status_code == status
    assert response.json()["code"] == code
    assert response.json()["detail"] == str(error)
    if status in {429, 503}:
        assert int(response.headers["retry-after"]) in {3, 5}


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), LeaseLostError("secret")])
async def test_a_bug_is_told_by_number_and_logged(
    client: httpx.AsyncClient, farm: ServiceDouble, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    farm.raises["backends"] = error
    response = await client.get("/api/backends")

    assert response.status_code == 500
    assert "secret" not in response.text
    (record,) = caplog.records
    number = response.json()["hint"].rsplit(" ", 1)[1].rstrip(".")
    assert number in record.getMessage()
    assert record.exc_info is not None and record.exc_info[1] is error
    caplog.clear()


async def test_a_job_is_shown_under_both_addresses(client: httpx.AsyncClient) -> None:
    for path in (f"/api/job/{JOB}", f"/api/jobs/{JOB}"):
        response = await client.get(path)
        assert response.status_code == 200
        assert JobView.model_validate_json(response.content).job_id == JOB
        assert response.json()["links"]["self"] == f"{str(client.base_url).rstrip('/')}/api/job/{JOB}"


async def test_the_public_url_wins_over_the_requests_own(farm: ServiceDouble) -> None:
    async with served(farm, public_url="https://renders.example/") as client:
        links = (await client.get(f"/api/job/{JOB}")).json()["links"]
    assert links["self"] == f"https://renders.example/api/job/{JOB}"


async def test_what_is_new_lies_below_the_public_url(farm: ServiceDouble) -> None:
    async with served(farm, public_url="https://studio.example/farm") as client:
        response = await client.post("/api/job", json=DOCUMENTED)
    assert response.headers["location"] == f"https://studio.example/farm/api/job/{response.json()['job_id']}"


@pytest.mark.parametrize(
    "path", ["/api/job/nope", "/api/jobs/nope", "/api/job/nope/outputs", "/api/job/nope/events", "/api/backends/nope"]
)
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_the_nearest_names_are_told(client: httpx.AsyncClient) -> None:
    body = (await client.get("/api/workflows/my_workflow_01")).json()
    assert "Did you mean my_workflow_001?" in body["detail"]
    assert body["hint"] == "Did you mean my_workflow_001?"


async def test_where_no_name_is_near_those_that_exist_are_told(client: httpx.AsyncClient) -> None:
    body = (await client.get("/api/workflows/zz")).json()
    assert body["hint"].startswith("What there is: ") and "my_workflow_001" in body["hint"]


async def test_cancelling_answers_with_the_job(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    response = await client.delete(f"/api/job/{JOB}")
    assert (response.status_code, response.json()["job_id"]) == (202, JOB)

    finished(farm)
    response = await client.delete(f"/api/job/{JOB}")
    assert (response.status_code, response.json()["code"]) == (409, "job_finished")


async def test_filters_reach_the_service(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    query = "status=queued,running&status=failed&workflow_id=w&backend_id=b&source=s&batch_id=x&limit=7&cursor=12"
    response = await client.get(f"/api/jobs?{query}")

    assert response.json()["next_cursor"] == "next"
    assert farm.asked == [
        {
            "status": ("queued", "running", "failed"),
            "workflow_id": "w",
            "backend_id": "b",
            "source": "s",
            "batch_id": "x",
            "limit": 7,
            "cursor": "12",
        }
    ]


@pytest.mark.parametrize(
    ("query", "loc", "allowed"),
    [
        ("limit=abc", ["query", "limit"], None),
        ("limit=0", ["query", "limit"], None),
        ("limit=1&limit=2", ["query", "limit"], None),
        ("status=done", ["query", "status", 0], ["queued", "running", "completed", "failed", "cancelled"]),
        ("stats=queued", ["query", "stats"], ["status"]),
    ],
)
async def test_a_wrong_filter_is_named(
    client: httpx.AsyncClient, query: str, loc: list[Any], allowed: list[str] | None
) -> None:
    response = await client.get(f"/api/jobs?{query}")
    assert response.status_code == 422
    (problem,) = response.json()["detail"]
    assert problem["loc"] == loc
    assert problem.get("allowed") == allowed


async def test_a_filter_that_the_service_refuses_stands_in_the_query(
    client: httpx.AsyncClient, farm: ServiceDouble
) -> None:
    farm.raises["jobs"] = ManifestError.at("cursor", message="it is no cursor")
    response = await client.get("/api/jobs?cursor=7")
    assert response.json()["detail"][0]["loc"] == ["query", "cursor"]


async def test_backends_and_workflows_are_bare_lists(client: httpx.AsyncClient) -> None:
    assert [view["id"] for view in (await client.get("/api/backends")).json()] == ["node1"]
    assert (await client.get("/api/backends/node1")).json()["name"] == "Beast (5090)"
    assert [view["id"] for view in (await client.get("/api/workflows")).json()] == ["my_workflow_001"]
    assert (await client.get("/api/workflows/my_workflow_001")).json()["id"] == "my_workflow_001"


async def test_health_has_the_documented_fields_under_both_addresses(client: httpx.AsyncClient) -> None:
    for path in ("/api/health", "/health"):
        body = (await client.get(path)).json()
        assert {"status": "ok", "backends_online": 1, "version": "1.2.3"}.items() <= body.items()
        assert body["timestamp"] == "2026-01-28T12:00:00.000Z"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/job", "POST"),
        ("PUT", f"/api/job/{JOB}", "DELETE, GET, HEAD"),
        ("POST", "/api/backends", "GET, HEAD"),
        ("DELETE", "/docs", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_which_ones_are_right(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    assert allowed in response.json()["detail"]


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    for path in ("/api/health", f"/api/job/{JOB}", "/api/backends", "/docs", f"/api/job/{JOB}/events"):
        response = await client.head(path)
        assert (response.status_code, response.content) == (200, b"")


async def test_an_unknown_path_is_404_in_json(client: httpx.AsyncClient) -> None:
    for path in ("/", "/api", "/api/nothing", "/docs/assets/../../etc/passwd", "/docs/assets/core.py"):
        response = await client.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_path")


async def test_a_slash_at_the_end_changes_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/job/", json=DOCUMENTED)).status_code == 202
    for path in ("/api/jobs/", f"/api/job/{JOB}/", "/api/health/", "/health/", "/docs/", "/redoc/"):
        assert (await client.get(path)).status_code == 200


async def test_a_plain_get_of_the_stream_says_what_to_do(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/api/job/{JOB}/stream")
    assert response.status_code == 426
    assert f"/api/job/{JOB}/events" in response.json()["hint"]
