"""The documentation pages and the OpenAPI document."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter
from starlette.routing import Route

from orchestrator_mcp.domain import batch_views, views
from orchestrator_mcp.domain.dry_runs import DryRunView
from orchestrator_mcp.domain.manifests import Changes, Manifest
from orchestrator_mcp.doors.http import build_routes
from orchestrator_mcp.doors.http.examples import EXAMPLES
from orchestrator_mcp.doors.http.openapi import openapi_document
from orchestrator_mcp.doors.http.operations import ErrorDocument, WrongFieldsDocument
from tests.doors.http.farm import ServiceDouble

MODELS: dict[str, Any] = {
    "manifest": Manifest,
    "changes": Changes,
    "accepted": views.AcceptedView,
    "dry_run": DryRunView,
    "batch_accepted": batch_views.BatchAcceptedView,
    "batch": batch_views.BatchView,
    "batches": batch_views.BatchListView,
    "batch_event": batch_views.BatchEvent,
    "job": views.JobView,
    "jobs": views.JobListView,
    "outputs": list[views.OutputView],
    "asset": views.AssetView,
    "event": views.StreamEvent,
    "backend": views.BackendView,
    "backends": list[views.BackendView],
    "workflow": views.WorkflowView,
    "workflows": list[views.WorkflowView],
    "health": views.HealthView,
    "error": ErrorDocument,
    "wrong_fields": WrongFieldsDocument,
}


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(item) for item in value.values()))
    return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient, page: str) -> None:
    response = await client.get(page)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in response.text.replace("<!doctype", "")
    needed = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert len(needed) >= 3
    for address in needed:
        found = await client.get(address)
        assert found.status_code == 200, address
        assert found.headers["x-content-type-options"] == "nosniff"
        assert len(found.content) > 50
    assert "'self'" in response.headers["content-security-policy"]


async def test_a_browser_at_the_bare_address_is_led_to_the_pages_and_a_program_is_told_that_nothing_is_there(
    client: httpx.AsyncClient,
) -> None:
    browser = await client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (browser.status_code, browser.headers["location"]) == (307, "/docs")
    program = await client.get("/")
    assert (program.status_code, program.json()["code"]) == (404, "unknown_path")


async def test_no_script_fetches_anything_from_elsewhere(client: httpx.AsyncClient) -> None:
    for name in ("swagger-ui-bundle.js", "redoc.standalone.js"):
        script = (await client.get(f"/docs/assets/{name}")).text
        assert len(script) > 100_000
        assert (
            re.findall(r"""(?:src|href)\s*[:=]\s*["'](?:https?:)?//[^"']+\.(?:svg|png|js|css|woff2?)""", script) == []
        )


async def test_the_pages_read_the_document_of_this_version(client: httpx.AsyncClient) -> None:
    for start in ("swagger-start.js", "redoc-start.js"):
        assert '"/openapi.json"' in (await client.get(f"/docs/assets/{start}")).text
    document = (await client.get("/openapi.json")).json()
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", "1.2.3")
    assert document == openapi_document("1.2.3")


def test_every_route_of_the_api_is_described_and_nothing_else(tmp_path: Path) -> None:
    routed = {
        (method.lower(), route.path)
        for route in build_routes(ServiceDouble(tmp_path), version="1")
        if isinstance(route, Route) and route.path.startswith(("/api", "/health")) and not route.path.endswith("/")
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(method, path) for path, methods in openapi_document("1")["paths"].items() for method in methods}
    assert described == routed


def test_every_reference_leads_somewhere() -> None:
    document = openapi_document("1")
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    found = references(document)
    assert found and found <= known


def test_every_operation_tells_its_parameters_and_errors() -> None:
    for path, methods in openapi_document("1")["paths"].items():
        for operation in methods.values():
            placed = {told["name"] for told in operation["parameters"] if told["in"] == "path"}
            assert placed == set(re.findall(r"{(\w+)}", path))
            assert {"401", "403", "421"} <= set(operation["responses"])
            assert all(told["description"] for told in operation["parameters"])


def test_the_filters_are_those_of_the_model() -> None:
    told = openapi_document("1")["paths"]["/api/jobs"]["get"]["parameters"]
    assert [parameter["name"] for parameter in told] == [
        "status",
        "workflow_id",
        "backend_id",
        "source",
        "batch_id",
        "limit",
        "cursor",
    ]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_is_a_whole_value_of_its_model(name: str) -> None:
    read = TypeAdapter(MODELS[name]).validate_python(EXAMPLES[name])
    for one in read if isinstance(read, list) else [read]:
        assert isinstance(one, BaseModel)
        if isinstance(one, views.View):
            assert one.model_fields_set == set(type(one).model_fields)


def test_the_pages_do_not_load_fastapi() -> None:
    assert "fastapi.applications" not in sys.modules
