"""From a request to what the service takes: the manifest in a body, the filters in a query, the urls to answer with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal, TypeVar

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import HTTPConnection, Request

from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.domain.documents import MAX_BYTES, MAX_DEPTH, parse_document
from orchestrator_mcp.domain.dry_runs import refuse_dry_field
from orchestrator_mcp.domain.manifests import Changes, Manifest, problems_in, warnings_about
from orchestrator_mcp.domain.views import Status
from orchestrator_mcp.domain.wishes import LONGEST_NOTE
from orchestrator_mcp.domain.workflow_documents import as_manifest, is_around
from orchestrator_mcp.doors.http.answers import WrongRequest
from orchestrator_mcp.doors.http.uploads import FORM, Form, media_type_of, received, received_file, received_form
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.service import ManifestInFile, manifest_in_file
from orchestrator_mcp.service.previewing import LONGEST_SIDE, SHORTEST_SIDE

Q = TypeVar("Q", bound=BaseModel)
IDEMPOTENCY_HEADER: Final = "idempotency-key"
_THREAD_FROM: Final = 256 * 1024  # bytes; smaller bodies are read faster than a thread is reached
_CHARSETS: Final = frozenset({"", "utf-8", "utf8", "utf-16"})
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


_CARRIERS: Final = ("image/", "video/", "audio/", "model/")
_ANY_FILE: Final = "application/octet-stream"
_PARTS: Final = ("workflow", "manifest")
_BODY: Final = "limits.body_bytes"
_UPLOAD: Final = "limits.upload_bytes"


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """How large a body may be.

    Attributes:
        document: bytes of JSON.
        depth: how deep that may be nested.
        upload: bytes of a file, such as a picture that carries a workflow.
    """

    document: int = MAX_BYTES
    depth: int = MAX_DEPTH
    upload: int = 100 * 10**6


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
    batch_id: str | None = Field(default=None, max_length=200, description="Only jobs of this batch.")
    limit: int = Field(default=50, ge=1, le=500, description="How many jobs a page has.")
    cursor: str | None = Field(default=None, pattern=r"^[0-9]{0,18}$", description="`next_cursor` of the page before.")


class SubmitQuery(BaseModel):
    """The query of `POST /api/job` and of a rerun. Unknown names are refused: a misspelt `dry_run` would render."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: Literal["1", "true", "0", "false"] = Field(
        default="0", description="`1`: say what the job would be and which backends could run it, and queue nothing."
    )

    @property
    def is_dry(self) -> bool:
        """Whether nothing is to be queued."""
        return self.dry_run in ("1", "true")


class OperateQuery(BaseModel):
    """The query of `POST /api/backends/{backend_id}/drain` and its like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    note: str = Field(default="", max_length=LONGEST_NOTE, description="Why; shown with the backend.")


class UnblockQuery(BaseModel):
    """The query of `DELETE /api/backends/{backend_id}/blocked`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signature: str | None = Field(
        default=None, max_length=200, description="Only this kind of work, as `blocked` names it; all without it."
    )


class PreviewQuery(BaseModel):
    """The query of `GET /api/job/{job_id}/preview`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(default=None, max_length=300, description="One output; all on one sheet without it.")
    longest: int | None = Field(
        default=None,
        ge=SHORTEST_SIDE,
        le=LONGEST_SIDE,
        description="Pixels of the longer side; 768 for a picture and 1,536 for a sheet without it.",
    )


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


def location(path: str, public_url: str | None) -> dict[str, str]:
    """The header that says where something new is: below the configured address, else on the server that was asked."""
    return {"location": f"{(public_url or '').rstrip('/')}{path}"}


async def read_manifest(request: Request, limits: BodyLimits) -> ReadManifest:
    """Take the manifest out of a POST, whatever its body is.

    JSON is a manifest, or a workflow in any format. A picture, film or sound carries a workflow. A form has a file of
    any of these kinds as `workflow`, and may have a manifest for it as `manifest`.

    Args:
        request: the POST.
        limits: how large the body may be.

    Raises:
        WrongRequest: it is nothing of this by its headers (415), or no form (400).
        TooLargeError: it is longer than allowed.
        ManifestError: it is no manifest, and no workflow is in it.
        ClientDisconnect: the client left while sending.
    """
    key, kind = _idempotency_key(request), media_type_of(request)
    _check_coding(request)
    if kind == FORM:
        return await _read_form(request, key, limits)
    if kind.startswith(_CARRIERS) or kind == _ANY_FILE:
        async with received_file(request, limits.upload, limit=_UPLOAD) as file:
            found = await _in_file(file, None, limits)
        return _checked(found.document, key=key, warnings=found.warnings)
    _check_type(request)
    raw = await _read_body(request, limits.document)
    if len(raw) < _THREAD_FROM:
        return manifest_from(raw, key=key, limits=limits)
    return await anyio.to_thread.run_sync(lambda: manifest_from(raw, key=key, limits=limits))


def manifest_from(raw: bytes, *, key: str | None, limits: BodyLimits) -> ReadManifest:
    """Read a manifest document, or a workflow that stands alone; see `read_manifest`.

    Args:
        raw: the body.
        key: the idempotency key of the header, if there was one.
        limits: how large and deep it may be.
    """
    document = parse_document(raw, max_bytes=limits.document, max_depth=limits.depth)
    return _checked(as_manifest(document), key=key)


async def read_changes(request: Request, job_id: str, limits: BodyLimits) -> ReadManifest:
    """Take the manifest that does a job again out of a POST; its body may be empty.

    Args:
        request: the POST.
        job_id: the job.
        limits: how large the body may be.

    Raises:
        WrongRequest: it is not JSON by its headers.
        TooLargeError: it is longer than allowed.
        ManifestError: a field is wrong.
        ClientDisconnect: the client left while sending.
    """
    key = _idempotency_key(request)
    _check_coding(request)
    raw = await _read_body(request, limits.document)
    document: dict[str, Any] = {}
    if raw:
        _check_type(request)
        document = parse_document(raw, max_bytes=limits.document, max_depth=limits.depth)
    known = {name: value for name, value in document.items() if name in Changes.model_fields}
    refuse_dry_field(document)
    said = warnings_about(document, tuple(Changes.model_fields))
    return _checked({**known, "rerun_of": job_id}, key=key, warnings=said)


async def _read_form(request: Request, key: str | None, limits: BodyLimits) -> ReadManifest:
    async with received_form(request, limits.upload, limit=_UPLOAD, most_field=limits.document) as form:
        if odd := sorted({*form.files, *form.fields} - set(_PARTS)):
            message = f"the form has a part that means nothing here; it takes {' and '.join(_PARTS)}"
            raise ManifestError.at(odd[0][:80], message=message, code="unknown_name", allowed=_PARTS)
        workflow = form.files.get("workflow")
        if workflow is None:
            raise ManifestError.at("workflow", message="the form needs a file of this name", code="missing")
        label = workflow.name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
        found = await _in_file(workflow.content, label or None, limits)
        given = await anyio.to_thread.run_sync(_manifest_part, form, limits)
    if given and not is_around(found.document):
        message = "is no workflow; send one here, or a picture that carries one, or no part called manifest"
        raise ManifestError.at("workflow", message=message, code="conflicting")
    return _checked({**found.document, **given}, key=key, warnings=found.warnings)


def _manifest_part(form: Form, limits: BodyLimits) -> dict[str, Any]:
    """What a form says beside its workflow; it may be a field or a file, and may be missing."""
    file = form.files.get("manifest")
    raw = form.fields.get("manifest", "").encode() if file is None else file.content.read(limits.document + 1)
    given = parse_document(raw, max_bytes=limits.document, max_depth=limits.depth) if raw.strip() else {}
    if given.get("workflow") is not None or given.get("workflow_json") is not None:
        message = "the workflow is a file of this form already; leave it out of the manifest"
        raise ManifestError.at("manifest", "workflow", message=message, code="conflicting")
    return given


async def _in_file(file: BinaryIO, label: str | None, limits: BodyLimits) -> ManifestInFile:
    most, depth = limits.document, limits.depth
    return await anyio.to_thread.run_sync(lambda: manifest_in_file(file, label=label, most=most, depth=depth))


def _checked(document: dict[str, Any], *, key: str | None, warnings: Sequence[str] = ()) -> ReadManifest:
    refuse_dry_field(document)
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
    return ReadManifest(manifest=manifest, warnings=(*warnings, *warnings_about(document)))


def read_filters(request: Request) -> JobFilters:
    """Take the filters out of the query of `GET /api/jobs`.

    Raises:
        ManifestError: a name, status or number that does not exist.
    """
    pairs = _query(request, repeatable="status")
    states = [word.strip() for name, value in pairs if name == "status" for word in value.split(",") if word.strip()]
    try:
        return JobFilters.model_validate({**{n: v for n, v in pairs if n != "status"}, "status": states})
    except ValidationError as error:
        raise ManifestError(problems_in(error, fields=tuple(JobFilters.model_fields), place=("query",))) from error


def read_preview_query(request: Request) -> PreviewQuery:
    """Take the query of `GET /api/job/{job_id}/preview`. Raises as `read_query` does."""
    return read_query(request, PreviewQuery)


def read_query(request: Request, shape: type[Q]) -> Q:
    """Take the query of a request in which every name stands once.

    Args:
        request: the request.
        shape: what may stand there.

    Raises:
        ManifestError: a name or number that cannot be.
    """
    try:
        return shape.model_validate(dict(_query(request)))
    except ValidationError as error:
        raise ManifestError(problems_in(error, fields=tuple(shape.model_fields), place=("query",))) from error


def _query(request: Request, *, repeatable: str | None = None) -> list[tuple[str, str]]:
    pairs = [(name, value) for name, value in request.query_params.multi_items() if value]
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1 and name != repeatable]
    if twice:
        raise ManifestError.at("query", twice[0], message="it stands there more than once", code="repeated")
    return pairs


def last_event_id(request: Request) -> int | None:
    """The number of the last event that a reader of the stream has seen, if it says one that can be."""
    value = request.headers.get("last-event-id", "").strip()
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def _check_type(request: Request) -> None:
    _, _, rest = request.headers.get("content-type", "").partition(";")
    if media_type_of(request) != "application/json":
        raise WrongRequest(
            415,
            code="not_json",
            detail="The body must be JSON in UTF-8, a picture or film, or a form with a file, and say so.",
            hint='Send the header "Content-Type: application/json", or the type of the picture.',
        )
    charset = re.search(r"charset\s*=\s*\"?([A-Za-z0-9._-]*)", rest, re.IGNORECASE)
    if charset and charset[1].casefold() not in _CHARSETS:
        raise WrongRequest(
            415,
            code="not_json",
            detail=f"The body says to be in {charset[1]}; JSON in UTF-8 is read, and in UTF-16 with a byte order mark.",
            hint="Send it in UTF-8, and leave charset out.",
        )


def _check_coding(request: Request) -> None:
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
    body = bytearray()
    async for chunk in received(request, most, limit=_BODY):
        body += chunk
    return bytes(body)
