"""From a request to what the service takes: the manifest in a body, the filters in a query, the urls to answer with."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import HTTPConnection, Request

from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.domain.documents import parse_document
from orchestrator_mcp.domain.manifests import Manifest, problems_in, unknown_fields
from orchestrator_mcp.domain.views import Status
from orchestrator_mcp.doors.http.answers import WrongRequest
from orchestrator_mcp.errors import ManifestError, TooLargeError, nearest

IDEMPOTENCY_HEADER: Final = "idempotency-key"
_THREAD_FROM: Final = 256 * 1024  # bytes; smaller bodies are read faster than a thread is reached
_MOST_WARNINGS: Final = 20
_CHARSETS: Final = frozenset({"", "utf-8", "utf8", "utf-16"})
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, kw_only=True)
class ReadManifest:
    """What came in a body: the manifest, and what there is to say about it."""

    manifest: Manifest
    warnings: tuple[str, ...]


class JobFilters(BaseModel):
    """The query of `GET /api/jobs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: tuple[Status, ...] = Field(
        default=(), description="Only these states; give it several times, or with commas between.", max_length=10
    )
    workflow_id: str | None = Field(default=None, max_length=200, description="Only jobs of this workflow.")
    backend_id: str | None = Field(
        default=None, max_length=200, description="Only jobs whose present or last backend is this."
    )
    source: str | None = Field(default=None, max_length=200, description="Only jobs whose `metadata.source` is this.")
    limit: int = Field(default=50, ge=1, le=500, description="How many jobs a page has.")
    cursor: str | None = Field(default=None, pattern=r"^[0-9]{0,18}$", description="`next_cursor` of the page before.")


def caller_of(connection: HTTPConnection) -> Caller:
    """Who sent this, as the token guard found."""
    caller = connection.scope["state"]["caller"]
    assert isinstance(caller, Caller)  # the guard stands in front of every route but those that are open
    return caller


def urls_begin(connection: HTTPConnection, public_url: str | None) -> str | None:
    """What absolute urls in the answer begin with.

    Args:
        connection: the request or WebSocket.
        public_url: the configured address, which wins.

    Returns:
        `scheme://host[:port]` without a slash at the end; None when the Host header is no host.
    """
    if public_url:
        return public_url.rstrip("/")
    host = connection.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        return None
    return f"{_SCHEMES.get(connection.scope.get('scheme', 'http'), 'http')}://{host}"


async def read_manifest(request: Request, *, most: int, depth: int) -> ReadManifest:
    """Take the manifest out of a POST.

    Args:
        request: the POST.
        most: how many bytes its body may have.
        depth: how deep its JSON may be nested.

    Raises:
        WrongRequest: it is not JSON by its headers (415).
        TooLargeError: it is longer than allowed.
        ManifestError: it is no manifest.
        ClientDisconnect: the client left while sending.
    """
    _check_type(request)
    key = _idempotency_key(request)
    raw = await _read_body(request, most)
    if len(raw) < _THREAD_FROM:
        return manifest_from(raw, key=key, most=most, depth=depth)
    return await anyio.to_thread.run_sync(lambda: manifest_from(raw, key=key, most=most, depth=depth))


def manifest_from(raw: bytes, *, key: str | None, most: int, depth: int) -> ReadManifest:
    """Read a manifest document; see `read_manifest`.

    Args:
        raw: the body.
        key: the idempotency key of the header, if there was one.
        most: how many bytes the body may have.
        depth: how deep its JSON may be nested.
    """
    document = parse_document(raw, max_bytes=most, max_depth=depth)
    if key is not None:
        if document.get("idempotency_key", key) != key:
            raise ManifestError.at(
                "header",
                "Idempotency-Key",
                message="the header and the field idempotency_key differ",
                code="conflicting",
                hint="Send one of them.",
            )
        document = {**document, "idempotency_key": key}
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise ManifestError(problems_in(error, fields=("workflow_json", *Manifest.model_fields))) from error
    return ReadManifest(manifest=manifest, warnings=warnings_about(document))


def warnings_about(document: dict[str, Any]) -> tuple[str, ...]:
    """One sentence for each top-level field that means nothing here."""
    names = unknown_fields(document)
    known = ("workflow_json", *Manifest.model_fields)
    told = [_unknown_field(name, nearest(name, known, most=1)) for name in names[:_MOST_WARNINGS]]
    rest = len(names) - len(told)
    return (*told, f"{rest} more unknown fields were ignored.") if rest else tuple(told)


def _unknown_field(name: str, near: tuple[str, ...]) -> str:
    question = f" Did you mean {near[0]!r}?" if near else ""
    return f"The unknown field {name!r} was ignored.{question}"


def read_filters(request: Request) -> JobFilters:
    """Take the filters out of the query of `GET /api/jobs`.

    Raises:
        ManifestError: a name, status or number that does not exist.
    """
    pairs = [(name, value) for name, value in request.query_params.multi_items() if value]
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1 and name != "status"]
    if twice:
        raise ManifestError.at("query", twice[0], message="it stands there more than once", code="repeated")
    states = [word.strip() for name, value in pairs if name == "status" for word in value.split(",") if word.strip()]
    try:
        return JobFilters.model_validate({**{n: v for n, v in pairs if n != "status"}, "status": states})
    except ValidationError as error:
        raise ManifestError(problems_in(error, fields=tuple(JobFilters.model_fields), place=("query",))) from error


def last_event_id(request: Request) -> int | None:
    """The number of the last event that a reader of the stream has seen, if it says one that can be."""
    value = request.headers.get("last-event-id", "").strip()
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def _check_type(request: Request) -> None:
    media_type, _, rest = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([A-Za-z0-9._-]*)", rest, re.IGNORECASE)
    spelled = charset[1].casefold() if charset else ""
    if media_type.strip().casefold() != "application/json" or spelled not in _CHARSETS:
        raise WrongRequest(
            415,
            code="not_json",
            detail="The body must be JSON in UTF-8, and say so.",
            hint='Send the header "Content-Type: application/json".',
        )
    if request.headers.get("content-encoding", "identity").strip().casefold() != "identity":
        raise WrongRequest(
            415,
            code="compressed",
            detail="Compressed bodies are not taken.",
            hint="Send the body without Content-Encoding.",
            headers={"accept-encoding": "identity"},
        )


def _idempotency_key(request: Request) -> str | None:
    values = {value.strip() for value in request.headers.getlist(IDEMPOTENCY_HEADER)}
    if len(values) > 1:
        raise ManifestError.at(
            "header", "Idempotency-Key", message="it stands there with different values", code="repeated"
        )
    return values.pop() if values else None


async def _read_body(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
        raise _too_large(most)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than {most:,} bytes.",
        hint="Put pictures into the backend's input folder instead of the manifest, or raise limits.body_bytes.",
        details={"limit": most},
    )
