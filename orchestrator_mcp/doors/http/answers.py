"""Every answer that is not a file or a stream: views as JSON, and errors as `{"detail": …}`.

One dict says which error of the tree is which status; the lookup goes along the MRO, so a new error has the status of
its parent until somebody says otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import anyio
from pydantic import BaseModel, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler, Receive, Scope, Send
from starlette.websockets import WebSocket

from orchestrator_mcp.domain.text import told
from orchestrator_mcp.domain.views import BackendView, OutputView, WorkflowView
from orchestrator_mcp.errors import (
    BackendError,
    CallerError,
    ConflictError,
    ForbiddenError,
    ManifestError,
    NoBackendCanError,
    NotFoundError,
    OrchestratorError,
    Problem,
    TooLargeError,
    TooManyError,
    UnavailableError,
)

STATUS: Final[dict[type[OrchestratorError], int]] = {
    CallerError: 400,
    ManifestError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    ForbiddenError: 403,
    TooLargeError: 413,
    UnavailableError: 503,
    TooManyError: 429,
    BackendError: 502,
    OrchestratorError: 500,
}
_JSON: Final = "application/json"
_SEEING_OFF_SECONDS: Final = 1.0
_PLACES: Final = frozenset({"body", "query", "path", "header"})
_BACKENDS: Final = TypeAdapter(list[BackendView])
_OUTPUTS: Final = TypeAdapter(list[OutputView])
_WORKFLOWS: Final = TypeAdapter(list[WorkflowView])


class WrongRequest(HTTPException):
    """A request that no route can take as it is: its method, its type, its size.

    Args:
        status: the HTTP status, 400 to 499.
        code: a stable word for programs.
        detail: what is wrong, one sentence.
        hint: what to send instead.
        headers: headers of the answer.
    """

    def __init__(
        self, status: int, *, code: str, detail: str, hint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.hint = hint


def answer(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One view as JSON.

    Args:
        view: what the service gave.
        status: the HTTP status.
        headers: further headers.
    """
    return Response(view.model_dump_json(), status, headers, _JSON)


def answer_backends(views: Sequence[BackendView]) -> Response:
    """The backends, as the bare JSON list that the API document promises."""
    return Response(_BACKENDS.dump_json(list(views)), media_type=_JSON)


def answer_once(request: Request, text: bytes, *, digest: str) -> Response:
    """JSON that is already written; 304 for a caller that has it.

    Args:
        request: what asked.
        text: the JSON.
        digest: what tells it from another.
    """
    tag = f'"{digest}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type=_JSON)


def answer_outputs(views: Sequence[OutputView]) -> Response:
    """The outputs of a job, as a bare JSON list."""
    return Response(_OUTPUTS.dump_json(list(views)), media_type=_JSON)


def answer_workflows(views: Sequence[WorkflowView]) -> Response:
    """The workflows of the library, as a bare JSON list."""
    return Response(_WORKFLOWS.dump_json(list(views)), media_type=_JSON)


def status_of(error: OrchestratorError) -> int:
    """The HTTP status of an error: that of the nearest class in its MRO which has one."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_document(detail: str | list[dict[str, Any]], *, code: str, hint: str | None = None) -> dict[str, Any]:
    """The body of every error answer.

    Args:
        detail: one sentence, or one entry per wrong field.
        code: a stable word for programs.
        hint: what to do next, or None.
    """
    document: dict[str, Any] = {"detail": detail, "code": code}
    return document if hint is None else {**document, "hint": hint}


def wrong_fields(problems: Iterable[Problem], place: str) -> list[dict[str, Any]]:
    """The entries of a 422: where, what, which kind, and what would be right if that can be listed.

    Args:
        problems: what is wrong.
        place: where paths begin that do not name their place: `body` or `query`.
    """
    return [_wrong_field(problem, place) for problem in problems]


def _wrong_field(problem: Problem, place: str) -> dict[str, Any]:
    named = bool(problem.path) and problem.path[0] in _PLACES
    loc = list(problem.path) if named else [place, *problem.path]
    entry = {"loc": loc, "msg": problem.message, "type": problem.code}
    return {**entry, "allowed": list(problem.allowed)} if problem.allowed else entry


def error_response(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """An error as JSON; whatever JSON cannot carry becomes text.

    Args:
        status: the HTTP status.
        document: see `error_document`.
        headers: headers of the answer.
    """
    body = json.dumps(document, ensure_ascii=True, default=str)
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, _JSON)


def render_error(error: OrchestratorError, *, place: str) -> Response:
    """The answer to an error of the tree.

    Args:
        error: what the service raised.
        place: `body` or `query`; see `wrong_fields`.
    """
    headers: dict[str, str] = {}
    if isinstance(error, UnavailableError):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    detail = wrong_fields(error.problems, place) if isinstance(error, ManifestError) else str(error)
    document = error_document(detail, code=error.code, hint=error.hint)
    if isinstance(error, NoBackendCanError):
        document["backends"] = {name: told(reason) for name, reason in error.details["backends"].items()}
    return error_response(status_of(error), document, headers)


def render_http_error(error: HTTPException, *, method: str, path: str) -> Response:
    """The answer to what routing found wrong: an unknown path, a wrong method, a wrong type.

    Args:
        error: what was raised.
        method: the request's method.
        path: the request's path.
    """
    headers = dict(error.headers or {})
    if isinstance(error, WrongRequest):
        return error_response(
            error.status_code, error_document(error.detail, code=error.code, hint=error.hint), headers
        )
    shown = path[:200]
    if error.status_code == 404:
        hint = "The routes are listed under /docs and in /openapi.json."
        return error_response(404, error_document(f"There is nothing at {shown}.", code="unknown_path", hint=hint))
    if error.status_code == 405:
        allowed = ", ".join(sorted(word.strip() for word in headers.get("Allow", "").split(",")))
        document = error_document(
            f"{shown} does not take {method[:20]}; it takes {allowed}.", code="method_not_allowed"
        )
        return error_response(405, document, {"allow": allowed})
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return error_response(error.status_code, error_document(error.detail, code=code), headers)


async def _on_error(request: Request | WebSocket, error: Exception) -> Response:
    assert isinstance(error, OrchestratorError)
    if status_of(error) == 500:
        raise error
    place = "body" if request.scope.get("method") in {"POST", "PUT", "PATCH"} else "query"
    response = render_error(error, place=place)
    return _RefusedHandshake(response, code=error.code) if isinstance(request, WebSocket) else response


async def _on_http_error(request: Request | WebSocket, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = render_http_error(error, method=request.scope.get("method", "GET"), path=request.scope["path"])
    if isinstance(request, WebSocket):
        return _RefusedHandshake(response, code=error.code if isinstance(error, WrongRequest) else "refused")
    return response


class _RefusedHandshake(Response):
    """The answer to a WebSocket handshake that comes to nothing; Starlette hands it the server's own `receive`."""

    def __init__(self, response: Response, *, code: str) -> None:
        super().__init__()
        self._response = response
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_refusal(self._response, scope, receive, send, code=self._code)


def exception_handlers() -> dict[Any, ExceptionHandler]:
    """What Starlette is to do with the errors that reach it; bugs are left to `FaultGuard`."""
    return {OrchestratorError: _on_error, HTTPException: _on_http_error}


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    status: int,
    code: str,
    detail: str,
    hint: str | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer instead of the application, to a request or to a WebSocket handshake.

    Args:
        scope: the ASGI scope.
        receive: its receive.
        send: its send.
        status: the HTTP status.
        code: a stable word for programs.
        detail: what is wrong.
        hint: what to do.
        headers: raw headers; a name may come more than once.
    """
    response = error_response(status, error_document(detail, code=code, hint=hint))
    response.raw_headers.extend(headers)
    await send_refusal(response, scope, receive, send, code=code)


async def send_refusal(response: Response, scope: Scope, receive: Receive, send: Send, *, code: str) -> None:
    """Send an answer in place of the application's, also to a WebSocket handshake.

    Args:
        response: what to send.
        scope: the ASGI scope.
        receive: its receive.
        send: its send.
        code: a stable word, for servers that cannot refuse a handshake with a response.
    """
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": code})
        return
    await response(scope, receive, send)
    if scope["type"] == "websocket":
        await _see_off(receive)


async def _see_off(receive: Receive) -> None:
    """Stay until the refused connection is gone.

    uvicorn 0.54 logs an error for each refused handshake whose application returns sooner: it takes the handshake for
    unfinished until it has seen the connection close.
    """
    with anyio.move_on_after(_SEEING_OFF_SECONDS):
        for _ in ("connect", "refused", "connection lost"):
            await receive()
