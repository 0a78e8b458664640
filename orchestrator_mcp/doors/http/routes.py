"""The routes of `/api`: each reads a request, calls the service once, and renders what it gave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from orchestrator_mcp.domain.jobs import Door
from orchestrator_mcp.doors.http.answers import (
    WrongRequest,
    answer,
    answer_outputs,
    answer_workflows,
)
from orchestrator_mcp.doors.http.assets import sent_file
from orchestrator_mcp.doors.http.backends import BackendDoor
from orchestrator_mcp.doors.http.batches import BATCH, BatchDoor
from orchestrator_mcp.doors.http.open_streams import OpenStreams
from orchestrator_mcp.doors.http.outputs import serve_output, serve_preview
from orchestrator_mcp.doors.http.pages import page_routes
from orchestrator_mcp.doors.http.reading import (
    BodyLimits,
    ReadManifest,
    SubmitQuery,
    caller_of,
    last_event_id,
    location,
    read_changes,
    read_filters,
    read_manifest,
    read_preview_query,
    read_query,
    urls_begin,
)
from orchestrator_mcp.doors.http.streams import EventStreamResponse, is_final, serve_websocket
from orchestrator_mcp.service import JobService, Submission

Endpoint = Callable[[Request], Awaitable[Response]]

JOB: Final = "/api/job/{job_id}"


@dataclass(frozen=True, kw_only=True)
class HttpDoor:
    """The endpoints, over one service.

    Attributes:
        service: what answers.
        public_url: what urls in the answers begin with; the request's own address when None.
        limits: how large a body may be now.
        streams: ends the open streams when the server stops.
    """

    service: JobService
    public_url: str | None = None
    limits: Callable[[], BodyLimits] = BodyLimits
    streams: OpenStreams = field(default_factory=OpenStreams)

    @property
    def batches(self) -> BatchDoor:
        """The endpoints about batches."""
        return BatchDoor(service=self.service, public_url=self.public_url, streams=self.streams)

    async def submit(self, request: Request) -> Response:
        dry = read_query(request, SubmitQuery).is_dry
        return await self._take_in(request, await read_manifest(request, self.limits()), dry=dry)

    async def rerun(self, request: Request) -> Response:
        dry = read_query(request, SubmitQuery).is_dry
        return await self._take_in(request, await read_changes(request, _job_id(request), self.limits()), dry=dry)

    async def _take_in(self, request: Request, read: ReadManifest, *, dry: bool) -> Response:
        wanted = Submission(manifest=read.manifest, door=Door.HTTP, by=caller_of(request), warnings=read.warnings)
        if dry:
            return answer(await self.service.try_out(wanted))
        if wanted.manifest.batch is not None:
            return await self.batches.submit(request, wanted)
        accepted = await self.service.submit(wanted, base_url=urls_begin(request, self.public_url))
        return answer(accepted, 202, location(f"/api/job/{accepted.job_id}", self.public_url))

    async def upload(self, request: Request) -> Response:
        async with sent_file(request, self.limits().upload) as sent:
            kept = await self.service.keep_asset(
                sent.chunks,
                name_hint=sent.name,
                by=caller_of(request),
                base_url=urls_begin(request, self.public_url),
            )
        where = location(f"/api/assets/{kept.view.sha256}", self.public_url)
        return answer(kept.view, 200 if kept.known else 201, where)

    async def asset(self, request: Request) -> Response:
        return await serve_output(request, await self.service.asset_file(request.path_params["sha256"]))

    async def job(self, request: Request) -> Response:
        return answer(await self.service.job(_job_id(request), base_url=urls_begin(request, self.public_url)))

    async def cancel(self, request: Request) -> Response:
        begin = urls_begin(request, self.public_url)
        view = await self.service.cancel(_job_id(request), by=caller_of(request), base_url=begin)
        return answer(view, 202)

    async def jobs(self, request: Request) -> Response:
        filters = read_filters(request)
        page = await self.service.jobs(**dict(filters), base_url=urls_begin(request, self.public_url))
        return answer(page)

    async def outputs(self, request: Request) -> Response:
        views = await self.service.outputs(_job_id(request), base_url=urls_begin(request, self.public_url))
        return answer_outputs(views)

    async def output(self, request: Request) -> Response:
        file = await self.service.output_file(_job_id(request), request.path_params["name"])
        return await serve_output(request, file)

    async def preview(self, request: Request) -> Response:
        asked = read_preview_query(request)
        begin = urls_begin(request, self.public_url)
        seen = await self.service.preview(_job_id(request), name=asked.name, longest=asked.longest, base_url=begin)
        return serve_preview(request, seen)

    async def events(self, request: Request) -> Response:
        job_id, begin = _job_id(request), urls_begin(request, self.public_url)
        after = last_event_id(request)
        ended = after is not None and is_final(await self.service.job(job_id, base_url=begin))
        watch = self.service.watch(job_id, by=caller_of(request), after=after, base_url=begin)
        return EventStreamResponse(watch, self.streams, after=after, ended=ended)

    async def stream(self, websocket: WebSocket) -> None:
        job_id = websocket.path_params["job_id"]
        begin = urls_begin(websocket, self.public_url)
        watch = self.service.watch(job_id, by=caller_of(websocket), base_url=begin)
        await serve_websocket(websocket, watch, self.streams)

    async def stream_without_upgrade(self, request: Request) -> Response:
        raise WrongRequest(
            426,
            code="upgrade_required",
            detail="This address speaks WebSocket.",
            hint=f"Connect with ws://, or read the same as server-sent events at /api/job/{_job_id(request)}/events.",
            headers={"upgrade": "websocket", "connection": "Upgrade"},
        )

    async def workflows(self, request: Request) -> Response:
        return answer_workflows(await self.service.workflows())

    async def workflow(self, request: Request) -> Response:
        return answer(await self.service.workflow(request.path_params["workflow_id"]))

    async def health(self, request: Request) -> Response:
        return answer(await self.service.health(), headers={"cache-control": "no-store"})


def build_routes(
    service: JobService,
    *,
    version: str,
    public_url: str | None = None,
    limits: Callable[[], BodyLimits] = BodyLimits,
    streams: OpenStreams | None = None,
) -> list[BaseRoute]:
    """Every route of the HTTP door, the documentation pages included.

    A path with a slash at its end is the same route, never a redirect: a redirected POST loses its body with some
    clients.

    Args:
        service: what answers.
        version: the product's version, for the OpenAPI document.
        public_url: what urls in the answers begin with (`server.public_url`); the request's own address when None.
        limits: how large a body may be now (`limits.body_bytes`, `limits.graph_depth`, `limits.upload_bytes`).
        streams: close it when the server stops, so that open streams end.
    """
    door = HttpDoor(
        service=service,
        public_url=public_url,
        limits=limits,
        streams=streams or OpenStreams(),
    )
    return [*_http_routes(door), *_stream_routes(door), *page_routes(version)]


def _http_routes(door: HttpDoor) -> list[BaseRoute]:
    endpoints: dict[str, dict[str, Endpoint]] = {
        "/api/job": {"POST": door.submit},
        JOB: {"GET": door.job, "DELETE": door.cancel},
        f"{JOB}/rerun": {"POST": door.rerun},
        f"{JOB}/outputs": {"GET": door.outputs},
        f"{JOB}/outputs/{{name}}": {"GET": door.output},
        f"{JOB}/preview": {"GET": door.preview},
        f"{JOB}/events": {"GET": door.events},
        f"{JOB}/stream": {"GET": door.stream_without_upgrade},
        "/api/jobs": {"GET": door.jobs},
        "/api/jobs/{job_id}": {"GET": door.job},
        **door.batches.endpoints,
        "/api/assets": {"POST": door.upload},
        "/api/assets/{sha256}": {"GET": door.asset},
        **BackendDoor(service=door.service).endpoints,
        "/api/workflows": {"GET": door.workflows},
        "/api/workflows/{workflow_id}": {"GET": door.workflow},
        "/api/health": {"GET": door.health},
        "/health": {"GET": door.health},
    }
    return [
        Route(spelled, _by_method(by_method), methods=list(by_method))
        for path, by_method in endpoints.items()
        for spelled in (path, f"{path}/")
    ]


def _stream_routes(door: HttpDoor) -> list[BaseRoute]:
    streams = {f"{JOB}/stream": door.stream, f"{BATCH}/stream": door.batches.stream, "/{anything:path}": _no_stream}
    return [WebSocketRoute(spelled, stream) for path, stream in streams.items() for spelled in (path, f"{path}/")]


async def _no_stream(websocket: WebSocket) -> None:
    raise WrongRequest(
        404,
        code="unknown_path",
        detail=f"There is no WebSocket at {websocket.scope['path'][:200]}.",
        hint=f"Jobs are followed at {JOB}/stream, batches at {BATCH}/stream.",
    )


def _by_method(endpoints: dict[str, Endpoint]) -> Endpoint:
    """One endpoint for a path, so that a 405 names every method that the path takes."""

    async def endpoint(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


def _job_id(request: Request) -> str:
    return str(request.path_params["job_id"])
