"""Standard input and output as a door into an orchestrator that runs in this process or in another.

Every MCP host starts a process of its own; all but the first pass their messages on, so that one scheduler remains.
Messages are not changed, so every protocol era goes through.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import anyio
import httpx
from mcp_types import ErrorData
from mcp_types.jsonrpc import JSONRPCError, JSONRPCMessage, JSONRPCRequest, jsonrpc_message_adapter
from pydantic import ValidationError

from orchestrator_mcp.doors.mcp.client_side import ClientSide
from orchestrator_mcp.doors.mcp.lines import LineSplitter
from orchestrator_mcp.doors.mcp.standard_streams import standard_streams
from orchestrator_mcp.errors import OrchestratorError

# The server sends a comment every 15 s: three missed ones and it is gone.
_TIMEOUT: Final = httpx.Timeout(10.0, read=50.0)
_INVALID_REQUEST: Final = -32600
_REFUSED_MESSAGE: Final = frozenset({400, 413, 422})
_ANSWER_SECONDS: Final = 2.0  # for what was asked before the client left
_PAUSE: Final = 0.3  # seconds before the next one is looked for
_log = logging.getLogger(__name__)


class GoneError(OrchestratorError):
    """The orchestrator refused or ended the connection."""

    code = "gone"


@dataclass(frozen=True, kw_only=True)
class Target:
    """An orchestrator to pass messages to.

    Attributes:
        url: where it listens, for example `http://127.0.0.1:9800`, with or without `/sse`.
        token: its access token, or None when it asks for none.
    """

    url: str
    token: str | None


Nearest = Callable[[], AbstractAsyncContextManager[Target]]
"""Finds an orchestrator, however long that takes, and keeps it for as long as the block lasts."""


async def bridge_to_nearest(nearest: Nearest, stopped: anyio.Event) -> int:
    """Pass messages on to whichever orchestrator there is, and to the next one when it goes away.

    The handshake, the subscriptions and the open calls are repeated there, but for what might be done twice. While
    there is none, the client is greeted on this side.

    Args:
        nearest: see `Nearest`.
        stopped: ends everything, in order, when it is set.

    Returns:
        The exit code: 0, when the client closed its end or everything was stopped.
    """
    with anyio.CancelScope() as everything:
        async with standard_streams() as (reads, writes), anyio.create_task_group() as tasks:
            client = ClientSide(writes, everything)
            tasks.start_soon(client.read, reads)
            tasks.start_soon(client.leave_when, stopped)
            await _pass_all_on(client, nearest)
            (everything if stopped.is_set() else tasks.cancel_scope).cancel()  # else what was said is written first
    return 0


async def _pass_all_on(client: ClientSide, nearest: Nearest) -> None:
    while (lost := await _pass_on(client, nearest)) is not None and not client.left:
        if client.connected:
            _log.warning("%s Looking for another one.", lost)
        client.connected = False
        await anyio.sleep(_PAUSE)


async def _pass_on(client: ClientSide, nearest: Nearest) -> str | None:
    """Pass messages on until the client leaves (None), or the orchestrator (the words for it)."""
    lost: str | None = None
    url = ""
    try:
        async with nearest() as target:
            url = target.url.rstrip("/").removesuffix("/sse")
            headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
            with client.talking():
                async with httpx.AsyncClient(headers=headers, timeout=_TIMEOUT, trust_env=False) as http:
                    await _Connection(http, f"{url}/sse", client).run()
    except* (GoneError, httpx.HTTPError) as group:
        lost = _told(url, group)
    if lost is not None:
        await client.give_up()
    return lost


def _told(url: str, lost: BaseExceptionGroup[Exception]) -> str:
    cause: BaseException = lost
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return f"The orchestrator at {url} has gone: {cause or type(cause).__name__}"


class _Connection:
    def __init__(self, http: httpx.AsyncClient, url: str, client: ClientSide) -> None:
        self._http = http
        self._url = url
        self._client = client
        self._endpoint = ""
        self._ready = anyio.Event()
        self._welcomed = anyio.Event()

    async def run(self) -> None:
        """Pass messages until the client leaves.

        Raises:
            GoneError: the orchestrator refused or ended the connection.
            httpx.HTTPError: the connection broke.
        """
        async with self._http.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise GoneError(f"GET {self._url} answered {response.status_code}.")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._from_server, response)
                await self._ready.wait()
                self._client.connected = True
                await self._repeat_what_was_said()
                await self._to_server()
                with anyio.move_on_after(_ANSWER_SECONDS):
                    await self._client.conversation.nothing_open()
                tasks.cancel_scope.cancel()

    async def _repeat_what_was_said(self) -> None:
        conversation = self._client.conversation
        if (hello := conversation.handshake()) is not None:
            await self._post(hello)
            await self._welcomed.wait()
            for message in conversation.repetitions():
                await self._post(message)

    async def _to_server(self) -> None:
        conversation = self._client.conversation
        while (message := await self._client.next()) is not None:
            conversation.sent(message)
            try:
                await self._post(message)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                conversation.taken_back(message)  # nothing has left: the next orchestrator gets it
                raise
            except (httpx.HTTPError, GoneError):
                self._client.taken()
                raise
            self._client.taken()

    async def _from_server(self, response: httpx.Response) -> None:
        async for kind, content in _events(response.aiter_bytes()):
            if kind == "endpoint":
                self._endpoint = self._same_origin(content)
                self._ready.set()
            elif kind == "message" and content:
                try:
                    message = jsonrpc_message_adapter.validate_json(content, by_name=False)
                except ValidationError:
                    continue  # not a message; whatever follows may be one
                if self._client.conversation.is_for_client(message):
                    await self._client.tell(message)
                    self._client.conversation.arrived(message)
                else:
                    self._welcomed.set()
        raise GoneError("it closed the connection.")

    def _same_origin(self, path: str) -> str:
        """Where to post to; the token must not travel to another server."""
        endpoint = urljoin(self._url, path)
        if urlsplit(endpoint)[:2] != urlsplit(self._url)[:2]:
            raise GoneError(f"it names another server to post to ({endpoint[:200]}).")
        return endpoint

    async def _post(self, message: JSONRPCMessage) -> None:
        body = message.model_dump_json(by_alias=True, exclude_unset=True)
        response = await self._http.post(self._endpoint, content=body, headers={"Content-Type": "application/json"})
        if response.status_code in _REFUSED_MESSAGE and isinstance(message, JSONRPCRequest):
            refusal = ErrorData(
                code=_INVALID_REQUEST, message=f"The orchestrator refused the message: HTTP {response.status_code}."
            )
            self._client.conversation.taken_back(message)
            await self._client.tell(JSONRPCError(jsonrpc="2.0", id=message.id, error=refusal))
        elif response.is_error and response.status_code not in _REFUSED_MESSAGE:
            raise GoneError(f"it answered {response.status_code} to a message.")


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
