"""The orchestrator's `/api` as the command line uses it: where it is, what to ask, and its refusals in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from orchestrator_mcp import __version__
from orchestrator_mcp.command.ending import UnreachableError, UsageError
from orchestrator_mcp.errors import OrchestratorError
from orchestrator_mcp.machine.listening import reachable_url
from orchestrator_mcp.machine.presence import find_running
from orchestrator_mcp.redaction import hide
from orchestrator_mcp.settings import load_settings

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_MOST_DETAIL: Final = 2000  # characters of a refusal that are shown

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the command line says about the server to talk to.

    Attributes:
        url: its address; None finds the one that runs on the configuration.
        config: the configuration file, or None to look for it.
        token: what it asks for; None reads it from the token file of the one that was found.
    """

    url: str | None = None
    config: Path | None = None
    token: str | None = None


@dataclass(frozen=True, kw_only=True)
class Server:
    """An orchestrator to talk to.

    Attributes:
        url: without a slash at the end.
        token: to send along, or None.
    """

    url: str
    token: str | None = None


class RefusedError(OrchestratorError):
    """The server said no.

    Args:
        message: its words.
        status: the HTTP status.
        body: the answer as it came.
        hint: its hint.
    """

    code = "refused"

    def __init__(self, message: str, *, status: int, body: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.body = body


def find_server(where: Where) -> Server:
    """Decide which server to talk to: the one named, else the one that runs on the configuration, else its address.

    The token of a local file goes only to the server that the same configuration leads to, never to a named url.

    Raises:
        SettingsError: the configuration is wrong.
        UsageError: the url is none.
    """
    if where.url is not None:
        return Server(url=_checked_url(where.url), token=where.token)
    settings = load_settings(where.config)
    if (present := find_running(settings.data_dir)) is not None:
        return Server(url=present.url, token=where.token or present.token)
    return Server(url=reachable_url(settings.server.host, settings.server.port), token=where.token)


class Api:
    """Asks one orchestrator; make it with `open_api`."""

    def __init__(self, client: httpx.AsyncClient, server: Server) -> None:
        self._client = client
        self.server = server

    async def get(self, path: str, **query: Any) -> str:
        """What stands at a path, as JSON text.

        Raises:
            RefusedError: the server said no.
            UnreachableError: it does not answer, or is no orchestrator.
        """
        return await self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    async def post(self, path: str, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> str:
        """Send a document; the answer as JSON text. Raises as `get` does."""
        try:
            body = json.dumps(document, allow_nan=False)
        except ValueError as error:
            raise UsageError(f"This cannot be written as JSON: {error}.") from error
        sent = {"content-type": "application/json", **(headers or {})}
        return await self._ask("POST", path, content=body, headers=sent)

    async def send_file(self, path: str, chunks: AsyncIterator[bytes], *, size: int) -> str:
        """Send a file as it is read; the answer as JSON text. Raises as `get` does.

        Args:
            path: where to.
            chunks: its bytes.
            size: how many there are.
        """
        sent = {"content-type": "application/octet-stream", "content-length": str(size)}
        return await self._ask("POST", path, content=chunks, headers=sent)

    async def delete(self, path: str) -> str:
        """Delete what stands at a path; the answer as JSON text. Raises as `get` does."""
        return await self._ask("DELETE", path)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[str]]:
        """Open a stream of server-sent events; gives its lines.

        Raises:
            RefusedError: the server said no.
            httpx.RequestError: the connection is not to be had, or broke.
        """
        timeout = httpx.Timeout(30.0, connect=5.0, read=50.0)  # it sends a comment every 15 s
        headers = {"accept": "text/event-stream"}
        async with self._client.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.is_error:
                await response.aread()
                raise refusal(response)
            yield response.aiter_lines()

    async def _ask(self, method: str, path: str, **what: Any) -> str:
        try:
            response = await self._client.request(method, path, **what)
        except httpx.RequestError as error:
            raise unreachable(self.server, error) from error
        if response.is_error:
            raise refusal(response)
        if "json" not in response.headers.get("content-type", ""):
            self._raise_stranger()
        return response.text

    def _raise_stranger(self) -> NoReturn:
        raise UnreachableError(
            f"What answers at {self.server.url} is no orchestrator.", hint="Say where the orchestrator is with --url."
        )

    def read(self, shape: type[T] | TypeAdapter[T], text: str) -> T:
        """Read an answer.

        Args:
            shape: what it should be.
            text: the JSON.

        Raises:
            UnreachableError: it is something else.
        """
        adapter: TypeAdapter[T] = shape if isinstance(shape, TypeAdapter) else TypeAdapter(shape)
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise UnreachableError(
                f"The answer of {self.server.url} is not what version {__version__} expects ({place}: {first['msg']}).",
                hint="Use the command line of the version that the server has, or check --url.",
            ) from error


@asynccontextmanager
async def open_api(server: Server) -> AsyncIterator[Api]:
    """A client for the length of the block."""
    headers = {"user-agent": f"orchestrator-mcp/{__version__}"}
    if server.token:
        hide(server.token)
        headers["authorization"] = f"Bearer {server.token}"
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=_TIMEOUT, trust_env=False) as client:
        yield Api(client, server)


def job_path(job_id: str) -> str:
    """The path of a job."""
    return f"/api/job/{quote(job_id, safe='')}"


def unreachable(server: Server, error: Exception) -> UnreachableError:
    """The error for a server that does not answer.

    Args:
        server: where it should be.
        error: what httpx raised.
    """
    reason = "it takes too long" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return UnreachableError(
        f"No orchestrator answers at {server.url}: {reason[:300]}.",
        hint="Start one with `orchestrator-mcp serve`, or say where it is with --url.",
    )


def refusal(response: httpx.Response) -> RefusedError:
    """The error for an answer that says no, in the server's own words.

    Args:
        response: read to its end.
    """
    body = response.text
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "detail" not in document:
        return RefusedError(
            f"{response.url} answered {response.status_code} {response.reason_phrase}.",
            status=response.status_code,
            body=body,
            hint="Is that an orchestrator? Say where it is with --url.",
        )
    hint = document.get("hint")
    message, hint = _words(document["detail"]), hint if isinstance(hint, str) else None
    if hint and message.endswith(hint):  # who reads only the detail is to have the hint too
        message = message.removesuffix(hint).rstrip()
    if response.status_code == 401:
        hint = "Set ORCHESTRATOR_TOKEN to the token; its file is named when the server starts."
    if response.status_code == 404 and hint is None and response.url.path.startswith("/api/job/"):
        hint = "`orchestrator-mcp status` lists the newest jobs."
    return RefusedError(message, status=response.status_code, body=body, hint=hint)


def _words(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(_field_words(entry) for entry in detail[:20])[:_MOST_DETAIL]
    return str(detail)[:_MOST_DETAIL]


def _field_words(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    place = ".".join(str(part) for part in entry.get("loc", ()) if part not in {"body", "query"})
    message = str(entry.get("msg", "is wrong"))
    allowed = entry.get("allowed")
    told = isinstance(allowed, list) and all(str(name) in message for name in allowed)
    known = f" (allowed: {', '.join(map(str, allowed[:10]))})" if isinstance(allowed, list) and not told else ""
    return f"{place}: {message}{known}" if place else f"{message}{known}"


def _checked_url(url: str) -> str:
    spelled = url if "://" in url else f"http://{url}"
    try:
        parsed = urlsplit(spelled)
        httpx.URL(spelled)
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(f"--url: {url[:200]!r} is no address: {error}.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.hostname:
        raise UsageError(f"--url: {url[:200]!r} is no address such as http://127.0.0.1:9800.")
    return spelled.rstrip("/").removesuffix("/api")
