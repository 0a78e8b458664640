"""A small picture over HTTP."""

from __future__ import annotations

import httpx
import pytest

from orchestrator_mcp.errors import NoPreviewError, TooManyError
from tests.doors.http.farm import JOB, ServiceDouble, finished

ADDRESS = f"/api/job/{JOB}/preview"


async def test_a_preview_is_a_picture_that_no_browser_runs(client: httpx.AsyncClient) -> None:
    response = await client.get(ADDRESS)
    assert (response.status_code, response.content) == (200, b"jpeg bytes")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "sandbox"
    assert response.headers["cache-control"] == "private, no-cache"


async def test_the_preview_of_an_ended_job_may_be_kept(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    finished(farm)
    response = await client.get(ADDRESS)
    assert response.headers["cache-control"] == "private, max-age=3600"
    again = await client.get(ADDRESS, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_head_has_the_headers_alone(client: httpx.AsyncClient) -> None:
    response = await client.head(ADDRESS)
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "10")


async def test_what_is_asked_for_reaches_the_service(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    await client.get(ADDRESS, params={"name": "a b.png", "longest": "512"})
    await client.get(ADDRESS, params={"name": "", "longest": ""})
    assert farm.asked == [{"name": "a b.png", "longest": 512}, {"name": None, "longest": None}]


@pytest.mark.parametrize(
    ("query", "field"),
    [("longest=63", "longest"), ("longest=9999", "longest"), ("longest=x", "longest"), ("size=3", "size")],
)
async def test_a_wrong_query_is_refused_by_its_field(client: httpx.AsyncClient, query: str, field: str) -> None:
    response = await client.get(f"{ADDRESS}?{query}")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", field]


@pytest.mark.parametrize("query", ["name=a&name=b", "longest=64&longest=128"])
async def test_a_field_that_comes_twice_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"{ADDRESS}?{query}")).status_code == 422


async def test_why_there_is_nothing_to_see_is_said(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    farm.raises["preview"] = NoPreviewError("The job waits in the queue.", hint="Look later.")
    response = await client.get(ADDRESS)
    assert (response.status_code, response.json()["code"]) == (409, "no_preview")
    assert "waits in the queue" in response.json()["detail"]
    farm.raises["preview"] = TooManyError("Many previews are being made already.")
    assert (await client.get(ADDRESS)).status_code == 429


async def test_the_preview_of_no_job_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/job/nope/preview")).status_code == 404
