"""Listens to one backend's WebSocket. A slow reader stalls every client of that ComfyUI, so ours never waits."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress
from typing import Final, Self
from urllib.parse import quote

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from orchestrator_mcp.backends.messages import (
    GraphProgressed,
    Message,
    NodeProgressed,
    PreviewReceived,
    StatusChanged,
    TextReceived,
    parse_message,
)
from orchestrator_mcp.backends.transport import USER_AGENT, foreign_errors_mapped, secret_headers
from orchestrator_mcp.errors import BackendAmbiguousError, BackendError
from orchestrator_mcp.settings import BackendSettings

MOST_FRAME_BYTES: Final = 64 * 2**20
MOST_HELD_BYTES: Final = 64 * 2**20
MOST_EVENTS: Final = 10_000
MOST_UPDATES: Final = 1_000

_PING_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 1.0
_FRAMES_IN_LIBRARY: Final = 8
_INLINE_BYTES: Final = 256_000
_FEATURES: Final = '{"type":"feature_flags","data":{"supports_preview_metadata":true}}'


def update_key(message: Message) -> Hashable | None:
    """What an update is about, so that a newer one can take its place; None for events, which are never dropped.

    Args:
        message: anything a backend says.
    """
    match message:
        case StatusChanged():
            return ("status",)
        case NodeProgressed(prompt_id=prompt_id, node=node):
            return ("progress", prompt_id, node)
        case GraphProgressed(prompt_id=prompt_id):
            return ("graph", prompt_id)
        case PreviewReceived(prompt_id=prompt_id):
            return ("preview", prompt_id)
        case TextReceived(node=node):
            return ("text", node)
        case _:
            return None


class Mailbox:
    """What was heard and not yet taken: events in order, of updates only the newest.

    Args:
        backend_id: who talks.
        most_events: events held before the listener counts as too slow.
        most_updates: updates held before the oldest is dropped.
        most_bytes: size of all frames held.
    """

    def __init__(
        self,
        backend_id: str,
        *,
        most_events: int = MOST_EVENTS,
        most_updates: int = MOST_UPDATES,
        most_bytes: int = MOST_HELD_BYTES,
    ) -> None:
        self._backend_id = backend_id
        self._most_events = most_events
        self._most_updates = most_updates
        self._most_bytes = most_bytes
        self._held: OrderedDict[Hashable, tuple[Message, int]] = OrderedDict()
        self._updates: OrderedDict[Hashable, None] = OrderedDict()
        self._bytes = 0
        self._numbers = itertools.count()
        self._ended: BackendError | None = None
        self._bell = anyio.Event()

    def __len__(self) -> int:
        return len(self._held)

    def put(self, message: Message, size: int) -> None:
        """Take a message in.

        Args:
            message: what was heard.
            size: bytes of its frame.

        Raises:
            BackendAmbiguousError: so many events wait that the listener must start afresh.
        """
        key = update_key(message)
        if key is None:
            self._held[next(self._numbers)] = (message, size)
        else:
            self._forget(key)
            self._held[key] = (message, size)
            self._updates[key] = None
        self._bytes += size
        self._make_room()
        self._bell.set()

    def close(self, error: BackendError) -> None:
        """Say that nothing more will come; what is held can still be taken.

        Args:
            error: why; raised to the listener at the end.
        """
        self._ended = error
        self._bell.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._held:
            if self._ended is not None:
                raise self._ended
            self._bell = anyio.Event()
            await self._bell.wait()
        key, (message, size) = self._held.popitem(last=False)
        self._updates.pop(key, None)
        self._bytes -= size
        return message

    def _make_room(self) -> None:
        while self._updates and (len(self._updates) > self._most_updates or self._bytes > self._most_bytes):
            self._forget(next(iter(self._updates)))
        if len(self._held) - len(self._updates) > self._most_events or self._bytes > self._most_bytes:
            raise BackendAmbiguousError(
                f"Backend {self._backend_id} sent more events than could be taken; listening starts afresh.",
                backend_id=self._backend_id,
            )

    def _forget(self, key: Hashable) -> None:
        if key in self._updates:
            del self._updates[key]
            _, size = self._held.pop(key)
            self._bytes -= size


class _Connect(connect):
    """A connection that follows no redirects: they could lead away from the backend that was configured."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def listen(
    backend: BackendSettings, client_id: str, *, open_timeout: float
) -> AsyncIterator[AsyncIterator[Message]]:
    """Open a WebSocket and hear what happens to the prompts sent under a client id.

    Take a fresh `client_id` for every connection: when an older one of the same id is closed at last, ComfyUI goes
    silent on the new one without a word.

    Args:
        backend: whom to listen to.
        client_id: the `client_id` of the prompts.
        open_timeout: seconds for connection and handshake.

    Yields:
        The messages; iterating raises a `BackendError` when the connection has ended.

    Raises:
        BackendError: no connection could be made.
    """
    action = "WS /ws"
    socket: ClientConnection | None = None
    try:
        with foreign_errors_mapped(backend.id, action, sent=lambda: True):
            socket = await _opened(backend, client_id, open_timeout)
        with suppress(ConnectionClosed):  # the reader finds out, and hears first what came before
            await socket.send(_FEATURES)
        mailbox = Mailbox(backend.id)
        async with _task_group() as tasks:
            tasks.start_soon(_fill, mailbox, socket, backend.id, name=f"events of {backend.id}")
            yield mailbox
            tasks.cancel_scope.cancel()
    finally:
        if socket is not None:
            with anyio.CancelScope(shield=True):
                await socket.close()


async def _opened(backend: BackendSettings, client_id: str, open_timeout: float) -> ClientConnection:
    scheme = "wss" if backend.scheme == "https" else "ws"
    address = backend.url.partition("://")[2]
    return await _Connect(
        f"{scheme}://{address}/ws?clientId={quote(client_id, safe='')}",
        additional_headers=secret_headers(backend),
        user_agent_header=USER_AGENT,
        compression=None,
        proxy=None,
        open_timeout=open_timeout,
        ping_interval=_PING_SECONDS,
        ping_timeout=_PING_SECONDS,
        close_timeout=_CLOSE_SECONDS,
        max_size=MOST_FRAME_BYTES,
        max_queue=_FRAMES_IN_LIBRARY,
    )


async def _fill(mailbox: Mailbox, socket: ClientConnection, backend_id: str) -> None:
    try:
        with foreign_errors_mapped(backend_id, "WS /ws", sent=lambda: True):
            async for frame in socket:
                message = await _parsed(frame)
                if message is not None:
                    mailbox.put(message, len(frame))
        raise BackendAmbiguousError(f"Backend {backend_id} closed its event stream.", backend_id=backend_id)
    except BackendError as error:
        mailbox.close(error)


async def _parsed(frame: str | bytes) -> Message | None:
    if len(frame) > _INLINE_BYTES:
        return await anyio.to_thread.run_sync(parse_message, frame)
    return parse_message(frame)


@asynccontextmanager
async def _task_group() -> AsyncIterator[TaskGroup]:
    """A task group that lets the body's own exception through as it is, not in a group."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        alone = group.exceptions[0]
        raise alone from alone.__cause__
