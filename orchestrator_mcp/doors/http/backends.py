"""The routes about backends: what they are, and what operators do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from orchestrator_mcp.domain.wishes import Action
from orchestrator_mcp.doors.http.answers import answer, answer_backends, answer_once
from orchestrator_mcp.doors.http.reading import OperateQuery, UnblockQuery, caller_of, read_query
from orchestrator_mcp.service import JobService

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class BackendDoor:
    """The endpoints, over one service.

    Attributes:
        service: what answers.
    """

    service: JobService

    @property
    def endpoints(self) -> dict[str, dict[str, Endpoint]]:
        """Path -> method -> endpoint."""
        one = "/api/backends/{backend_id}"
        return {
            "/api/backends": {"GET": self.backends},
            one: {"GET": self.backend},
            f"{one}/object_info": {"GET": self.node_classes},
            f"{one}/blocked": {"DELETE": self.unblock},
            **{f"{one}/{action.value}": {"POST": self._acting(action)} for action in Action},
        }

    async def backends(self, request: Request) -> Response:
        return answer_backends(self.service.backends())

    async def backend(self, request: Request) -> Response:
        return answer(self.service.backend(_backend_id(request)))

    async def node_classes(self, request: Request) -> Response:
        found = await self.service.node_classes(_backend_id(request))
        return answer_once(request, found.text, digest=found.digest)

    async def unblock(self, request: Request) -> Response:
        signature = read_query(request, UnblockQuery).signature
        return answer(self.service.operators.unblock(_backend_id(request), signature, by=caller_of(request)))

    def _acting(self, action: Action) -> Endpoint:
        async def act(request: Request) -> Response:
            note, by = read_query(request, OperateQuery).note, caller_of(request)
            return answer(await self.service.operators.act(_backend_id(request), action, by=by, note=note))

        return act


def _backend_id(request: Request) -> str:
    return str(request.path_params["backend_id"])
