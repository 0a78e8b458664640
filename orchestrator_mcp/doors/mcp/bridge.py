"""Standard input and output as a door into an orchestrator that runs already.

Every MCP host starts a process of its own; all but the first pass their messages on, so that one scheduler remains.
Messages are not interpreted, so every protocol era goes through.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import anyio
import httpx
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, jsonrpc_message_adapter
from mcp.types.jsonrpc import JSONRPCError, JSONRPCRequest
from pydantic import ValidationError

from orchestrator_mcp.doors.mcp.lines import LineSplitter
from orchestrator_mcp.doors.mcp.standard_streams import standard_streams
from orchestrator_mcp.errors import UnavailableError

# The server sends a comment every 15 s: three missed ones and it is gone.
_TIMEOUT: Final = httpx.Timeout(10.0, read=50.0)
_INVALID_REQUEST: Final = -32600
_REFUSED_MESSAGE: Final = frozenset({400, 413, 422})


async def bridge_stdio(url: str, *, token: str | None) -> int:
    """Pass messages between this process's standard streams and a running orchestrator.

    Args:
        url: where it listens, for example `http://127.0.0.1:9800`, with or without `/sse`.
        token: its access token, or None when it asks for none.

    Returns:
        The exit code: 0 when the client closed its end, 1 when the orchestrator is not there or has gone (said on
        standard error).
    """
    url = url.rstrip("/").removesuffix("/sse")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            httpx.AsyncClient(headers=headers, timeout=_TIMEOUT, trust_env=False) as client,
            standard_streams() as (reads, writes),
        ):
            await _Bridge(client, f"{url}/sse").run(reads, writes)
    except* BrokenPipeError:
        return_code = 0
    except* (UnavailableError, httpx.HTTPError) as lost:
        return_code = 1
        sys.stderr.write(f"{_told(url, lost)}\n")
    else:
        return_code = 0
    return return_code


def _told(url: str, lost: BaseExceptionGroup[Exception]) -> str:
    cause: BaseException = lost
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return f"The orchestrator at {url} has gone: {cause or type(cause).__name__}"


class _Bridge:
    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._endpoint = ""
        self._ready = anyio.Event()

    async def run(self, reads: Any, writes: Any) -> None:
        """Pass messages until the client leaves.

        Raises:
            UnavailableError: the orchestrator refused or ended the connection.
            httpx.HTTPError: the connection broke.
        """
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise UnavailableError(f"GET {self._url} answered {response.status_code}.")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._from_server, response, writes)
                await self._ready.wait()
                async for item in reads:
                    if isinstance(item, SessionMessage):
                        await self._post(item, writes)
                tasks.cancel_scope.cancel()

    async def _from_server(self, response: httpx.Response, writes: Any) -> None:
        async for kind, content in _events(response.aiter_bytes()):
            if kind == "endpoint":
                self._endpoint = self._same_origin(content)
                self._ready.set()
            elif kind == "message" and content:
                try:
                    message = jsonrpc_message_adapter.validate_json(content, by_name=False)
                except ValidationError:
                    continue  # not a message; whatever follows may be one
                await writes.send(SessionMessage(message))
        raise UnavailableError("it closed the connection.")

    def _same_origin(self, path: str) -> str:
        """Where to post to; the token must not travel to another server."""
        endpoint = urljoin(self._url, path)
        if urlsplit(endpoint)[:2] != urlsplit(self._url)[:2]:
            raise UnavailableError(f"it names another server to post to ({endpoint[:200]}).")
        return endpoint

    async def _post(self, item: SessionMessage, writes: Any) -> None:
        message = item.message
        body = message.model_dump_json(by_alias=True, exclude_unset=True)
        response = await self._client.post(self._endpoint, content=body, headers={"Content-Type": "application/json"})
        if response.status_code in _REFUSED_MESSAGE and isinstance(message, JSONRPCRequest):
            refusal = ErrorData(
                code=_INVALID_REQUEST, message=f"The orchestrator refused the message: HTTP {response.status_code}."
            )
            await writes.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=message.id, error=refusal)))
        elif response.is_error and response.status_code not in _REFUSED_MESSAGE:
            raise UnavailableError(f"it answered {response.status_code} to a message.")


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, str]]:
    """The kind and content of each server-sent event."""
    splitter = LineSplitter()
    kind, content = "message", list[str]()
    async for chunk in chunks:
        for line in splitter.feed(chunk):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if content:
                    yield kind, "\n".join(content)
                kind, content = "message", []
            elif name == "event":
                kind = value
            elif name == "data":
                content.append(value)
