"""Standard input and output as a door into an orchestrator that runs already.

Every MCP host starts a process of its own; all but the first pass their messages on, so that one scheduler remains.
Messages are not changed, so every protocol era goes through.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import anyio
import httpx
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, jsonrpc_message_adapter
from mcp.types.jsonrpc import JSONRPCError, JSONRPCMessage, JSONRPCRequest
from pydantic import ValidationError

from orchestrator_mcp.doors.mcp.conversation import Conversation
from orchestrator_mcp.doors.mcp.lines import LineSplitter
from orchestrator_mcp.doors.mcp.standard_streams import standard_streams
from orchestrator_mcp.errors import UnavailableError

# The server sends a comment every 15 s: three missed ones and it is gone.
_TIMEOUT: Final = httpx.Timeout(10.0, read=50.0)
_INVALID_REQUEST: Final = -32600
_REFUSED_MESSAGE: Final = frozenset({400, 413, 422})
_MOST_WAITING: Final = 1000  # messages of a client that nobody takes
_PAUSE: Final = 0.3  # seconds before the next one is looked for
_log = logging.getLogger(__name__)


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


async def bridge_stdio(url: str, *, token: str | None) -> int:
    """Pass messages between this process's standard streams and a running orchestrator.

    Args:
        url: see `Target`.
        token: see `Target`.

    Returns:
        The exit code: 0 when the client closed its end, 1 when the orchestrator is not there or has gone (said on
        standard error).
    """

    @asynccontextmanager
    async def fixed() -> AsyncIterator[Target]:
        yield Target(url=url, token=token)

    return await _bridge(fixed, for_ever=False)


async def bridge_to_nearest(nearest: Nearest) -> int:
    """Pass messages on to whichever orchestrator there is, and to the next one when it goes away.

    The handshake, the subscriptions and the open calls are repeated there, but for what might be done twice.

    Args:
        nearest: see `Nearest`.

    Returns:
        The exit code: 0, when the client closed its end.
    """
    return await _bridge(nearest, for_ever=True)


async def _bridge(nearest: Nearest, *, for_ever: bool) -> int:
    code = 0
    try:
        async with standard_streams() as (reads, writes), anyio.create_task_group() as tasks:
            client = _ClientSide(writes)
            tasks.start_soon(client.read, reads, tasks.cancel_scope)
            while (lost := await _pass_on(client, nearest)) is not None:
                if client.left:
                    break
                if not for_ever:
                    sys.stderr.write(f"{lost}\n")
                    code = 1
                    break
                if client.connected:
                    _log.warning("%s Looking for another one.", lost)
                client.connected = False
                await anyio.sleep(_PAUSE)
            tasks.cancel_scope.cancel()
    except* BrokenPipeError:
        pass  # the client has gone without closing its end first
    return code


async def _pass_on(client: _ClientSide, nearest: Nearest) -> str | None:
    """Pass messages on until the client leaves (None), or the orchestrator (the words for it)."""
    lost: str | None = None
    url = ""
    try:
        async with nearest() as target:
            url = target.url.rstrip("/").removesuffix("/sse")
            headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
            async with httpx.AsyncClient(headers=headers, timeout=_TIMEOUT, trust_env=False) as http:
                await _Connection(http, f"{url}/sse", client).run()
    except* (UnavailableError, httpx.HTTPError) as group:
        lost = _told(url, group)
    if lost is not None:
        await client.give_up()
    return lost


def _told(url: str, lost: BaseExceptionGroup[Exception]) -> str:
    cause: BaseException = lost
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return f"The orchestrator at {url} has gone: {cause or type(cause).__name__}"


class _ClientSide:
    """The client at this process's standard streams, across every connection to an orchestrator.

    Attributes:
        conversation: what was said.
        waiting: what it said and nobody was told yet, oldest first.
        left: whether it has closed its end.
        news: set when it has said something, or left.
        room: set when something that waited was taken.
        connected: whether an orchestrator has listened since the last one went away.
    """

    def __init__(self, writes: Any) -> None:
        self._writes = writes
        self.conversation = Conversation()
        self.waiting: deque[JSONRPCMessage] = deque()
        self.left = False
        self.news = anyio.Event()
        self.room = anyio.Event()
        self.connected = False

    async def read(self, reads: Any, everything: anyio.CancelScope) -> None:
        """Take in what the client says, until it leaves."""
        async for item in reads:
            if not isinstance(item, SessionMessage):
                continue
            self.waiting.append(item.message)
            self.news.set()
            if len(self.waiting) >= _MOST_WAITING:
                self.room = anyio.Event()
                await self.room.wait()  # the pipe keeps the rest
        self.left = True
        self.news.set()
        if not self.connected:
            everything.cancel()

    async def next(self) -> JSONRPCMessage | None:
        """What it said first, without taking it away; None when it has left."""
        while not self.waiting:
            if self.left:
                return None
            self.news = anyio.Event()
            await self.news.wait()
        return self.waiting[0]

    def taken(self) -> None:
        """An orchestrator has taken what it said first."""
        self.waiting.popleft()
        self.room.set()

    async def give_up(self) -> None:
        """The orchestrator has gone: what was open is asked again of the next one, or answered with a word about it."""
        again, lost = self.conversation.open_requests()
        self.waiting.extendleft(reversed(again))
        await self.tell(lost)

    async def tell(self, messages: list[JSONRPCMessage]) -> None:
        """Pass messages to the client."""
        for message in messages:
            await self._writes.send(SessionMessage(message))


class _Connection:
    def __init__(self, http: httpx.AsyncClient, url: str, client: _ClientSide) -> None:
        self._http = http
        self._url = url
        self._client = client
        self._endpoint = ""
        self._ready = anyio.Event()
        self._welcomed = anyio.Event()

    async def run(self) -> None:
        """Pass messages until the client leaves.

        Raises:
            UnavailableError: the orchestrator refused or ended the connection.
            httpx.HTTPError: the connection broke.
        """
        async with self._http.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise UnavailableError(f"GET {self._url} answered {response.status_code}.")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._from_server, response)
                await self._ready.wait()
                self._client.connected = True
                await self._repeat_what_was_said()
                await self._to_server()
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
            except (httpx.HTTPError, UnavailableError):
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
                    await self._client.tell([message])
                else:
                    self._welcomed.set()
        raise UnavailableError("it closed the connection.")

    def _same_origin(self, path: str) -> str:
        """Where to post to; the token must not travel to another server."""
        endpoint = urljoin(self._url, path)
        if urlsplit(endpoint)[:2] != urlsplit(self._url)[:2]:
            raise UnavailableError(f"it names another server to post to ({endpoint[:200]}).")
        return endpoint

    async def _post(self, message: JSONRPCMessage) -> None:
        body = message.model_dump_json(by_alias=True, exclude_unset=True)
        response = await self._http.post(self._endpoint, content=body, headers={"Content-Type": "application/json"})
        if response.status_code in _REFUSED_MESSAGE and isinstance(message, JSONRPCRequest):
            refusal = ErrorData(
                code=_INVALID_REQUEST, message=f"The orchestrator refused the message: HTTP {response.status_code}."
            )
            self._client.conversation.taken_back(message)
            await self._client.tell([JSONRPCError(jsonrpc="2.0", id=message.id, error=refusal)])
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
