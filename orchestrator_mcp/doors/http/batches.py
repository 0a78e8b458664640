"""The routes of `/api/batch` and `/api/batches`: each calls the service once, and renders what it gave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from orchestrator_mcp.doors.http.answers import WrongRequest, answer
from orchestrator_mcp.doors.http.open_streams import OpenStreams
from orchestrator_mcp.doors.http.reading import caller_of, last_event_id, location, read_query, urls_begin
from orchestrator_mcp.doors.http.streams import FINAL, EventStreamResponse, serve_websocket
from orchestrator_mcp.service import JobService, Submission

BATCH: Final = "/api/batch/{batch_id}"


class BatchPage(BaseModel):
    """The query of `GET /api/batches`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(default=20, ge=1, le=100, description="How many batches a page has.")
    cursor: str | None = Field(default=None, pattern=r"^[0-9]{0,18}$", description="`next_cursor` of the page before.")


@dataclass(frozen=True, kw_only=True)
class BatchDoor:
    """The endpoints about batches, over one service.

    Attributes:
        service: what answers.
        public_url: what urls in the answers begin with; the request's own address when None.
        streams: ends the open streams when the server stops.
    """

    service: JobService
    public_url: str | None
    streams: OpenStreams

    async def submit(self, request: Request, wanted: Submission) -> Response:
        """Hand in a manifest with `batch`, which `POST /api/job` has read."""
        accepted = await self.service.batches.submit(wanted, base_url=self._begin(request))
        return answer(accepted, 202, location(f"/api/batch/{accepted.batch_id}", self.public_url))

    async def batch(self, request: Request) -> Response:
        return answer(await self.service.batches.batch(_batch_id(request), base_url=self._begin(request)))

    async def cancel(self, request: Request) -> Response:
        view = await self.service.batches.cancel(
            _batch_id(request), by=caller_of(request), base_url=self._begin(request)
        )
        return answer(view, 202)

    async def retry(self, request: Request) -> Response:
        accepted = await self.service.batches.retry(
            _batch_id(request), by=caller_of(request), base_url=self._begin(request)
        )
        return answer(accepted, 202, location(f"/api/batch/{accepted.batch_id}", self.public_url))

    async def batches(self, request: Request) -> Response:
        page = read_query(request, BatchPage)
        return answer(await self.service.batches.batches(**dict(page), base_url=self._begin(request)))

    async def contact_sheet(self, request: Request) -> Response:
        sheet = await self.service.batches.contact_sheet(_batch_id(request))
        headers = {"cache-control": "private, no-cache", "x-content-type-options": "nosniff"}
        return Response(sheet.data, headers=headers, media_type=sheet.media_type)

    async def events(self, request: Request) -> Response:
        batch_id, begin, after = _batch_id(request), self._begin(request), last_event_id(request)
        ended = after is not None and (await self.service.batches.batch(batch_id)).status in FINAL
        watch = self.service.batches.watch(batch_id, by=caller_of(request), after=after, base_url=begin)
        return EventStreamResponse(watch, self.streams, after=after, ended=ended)

    async def stream(self, websocket: WebSocket) -> None:
        begin = urls_begin(websocket, self.public_url)
        batch_id = str(websocket.path_params["batch_id"])
        watch = self.service.batches.watch(batch_id, by=caller_of(websocket), base_url=begin)
        await serve_websocket(websocket, watch, self.streams)

    async def stream_without_upgrade(self, request: Request) -> Response:
        raise WrongRequest(
            426,
            code="upgrade_required",
            detail="This address speaks WebSocket.",
            hint=f"Connect with ws://, or read the same as server-sent events at "
            f"/api/batch/{_batch_id(request)}/events.",
            headers={"upgrade": "websocket", "connection": "Upgrade"},
        )

    @property
    def endpoints(self) -> dict[str, dict[str, Callable[[Request], Awaitable[Response]]]]:
        """Path -> method -> endpoint; the WebSocket is not among them."""
        return {
            BATCH: {"GET": self.batch, "DELETE": self.cancel},
            f"{BATCH}/retry": {"POST": self.retry},
            f"{BATCH}/contact-sheet": {"GET": self.contact_sheet},
            f"{BATCH}/events": {"GET": self.events},
            f"{BATCH}/stream": {"GET": self.stream_without_upgrade},
            "/api/batches": {"GET": self.batches},
        }

    def _begin(self, request: Request) -> str | None:
        return urls_begin(request, self.public_url)


def _batch_id(request: Request) -> str:
    return str(request.path_params["batch_id"])
