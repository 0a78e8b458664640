"""One way to the routes: what is found among all of them is found in the directory too."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.websockets import WebSocket

from orchestrator_mcp.doors.http import Directory, build_routes
from tests.doors.http.farm import ServiceDouble

JOB = "/api/job/0190"
ADDRESSES = ["/", "/health", "/health/", "/api/job", JOB, f"{JOB}/", f"{JOB}/events", f"{JOB}/outputs/a.png"]
ADDRESSES += [f"{JOB}/outputs/a/b", f"{JOB}/stream", "/api/batch/b/stream/", "/docs/assets/icon.svg", "/nothing", ""]
ADDRESSES += ["//health", "/api//job", "/api/job/{job_id}", "health", "/API/job", f"{JOB}/events/"]


def first_of(routes: list[BaseRoute], scope: dict[str, object]) -> tuple[Match, BaseRoute | None, object]:
    """What a router would find by asking one after the other."""
    found = [(route.matches(scope), route) for route in routes]
    for wanted in (Match.FULL, Match.PARTIAL):
        for (match, child), route in found:
            if match is wanted:
                return match, route, child["path_params"]
    return Match.NONE, None, None


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize(("kind", "method"), [("http", "GET"), ("http", "POST"), ("http", "PUT"), ("websocket", "GET")])
def test_an_address_leads_where_it_would_without_a_directory(
    farm: ServiceDouble, kind: str, method: str, path: str
) -> None:
    routes = build_routes(farm, version="1")
    scope: dict[str, object] = {"type": kind, "method": method, "path": path, "headers": []}
    match, child = Directory(routes).matches(scope)
    assert (match, child.get("route"), child.get("path_params")) == first_of(routes, scope)


def test_an_address_that_begins_with_a_parameter_is_found_after_all_others() -> None:
    async def page(_request: Request) -> Response:
        return Response()

    async def talk(_websocket: WebSocket) -> None:
        return

    any_name, by_name, anything = Route("/{name}", page), Route("/about", page), WebSocketRoute("/{all:path}", talk)
    directory = Directory([any_name, by_name, anything])
    for path, route in (("/about", by_name), ("/x", any_name)):
        assert directory.matches({"type": "http", "method": "GET", "path": path})[1]["route"] is route
    assert directory.matches({"type": "websocket", "path": "/a/b/c"})[1]["route"] is anything
