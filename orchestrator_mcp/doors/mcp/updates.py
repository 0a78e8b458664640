"""Telling agents that something which they subscribed to has changed, in both eras of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import anyio
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.events import BackendChanged, Event
from orchestrator_mcp.doors.mcp.resources import backend_uri, is_known, job_uri

PAUSE: Final = 1.0  # seconds between two tellings of one resource
MOST_SUBSCRIPTIONS: Final = 1000  # of one connection
_PATIENCE: Final = 2.0  # seconds that a reader of the older era may take for one notification


class Listeners(InMemorySubscriptionBus):
    """The SDK's fan-out to `subscriptions/listen`, which knows whether anybody listens."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a listener; the answer takes it away again, once."""
        unsubscribe = super().subscribe(listener)
        self.count += 1
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self.count -= 1
            unsubscribe()

        return leave


class Updates:
    """Who wants to hear of which resource, and what has changed since they heard of it.

    Changes of one resource are told at most once a second; a later one waits for its turn and is never lost.

    Args:
        listeners: those of the 2026 era.
        clock: paces what is told.
    """

    def __init__(self, listeners: Listeners, clock: Clock) -> None:
        self._listeners = listeners
        self._clock = clock
        self._subscribed: dict[str, set[Connection]] = {}
        self._by_connection: dict[Connection, set[str]] = {}
        self._changed: dict[str, None] = {}
        self._told_at: dict[str, float] = {}
        self._wake = anyio.Event()

    @property
    def subscribed(self) -> set[str]:
        """What clients of the older era want to hear of."""
        return set(self._subscribed)

    def hear(self, event: Event) -> None:
        """Note what an event changed, if anybody wants to know. Never blocks."""
        uri = backend_uri(event.backend_id) if isinstance(event, BackendChanged) else job_uri(event.job_id)
        if uri in self._subscribed or self._listeners.count:
            self._changed[uri] = None
            self._wake.set()

    async def run(self) -> None:
        """Tell what changed, for ever."""
        while True:
            now = self._clock.monotonic()
            self._told_at = {uri: at for uri, at in self._told_at.items() if now - at < PAUSE}
            for uri in [uri for uri in self._changed if uri not in self._told_at]:
                del self._changed[uri]
                self._told_at[uri] = now
                await self._tell(uri)
            self._wake = anyio.Event()
            pause = min((self._told_at[uri] + PAUSE - now for uri in self._changed if uri in self._told_at), default=60)
            with anyio.move_on_after(max(0.0, pause)):
                await self._wake.wait()

    def subscribe(self, connection: Connection, uri: str) -> None:
        """Let a client of the older era hear of a resource for as long as it is connected.

        Raises:
            MCPError: no resource can have this address, or the client has too many of them.
        """
        if not is_known(uri):
            raise MCPError(INVALID_PARAMS, "There is no resource of this form; see resources/templates/list.")
        if connection not in self._by_connection:
            self._by_connection[connection] = set()
            connection.exit_stack.callback(self._forget, connection)
        if len(self._by_connection[connection]) >= MOST_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"At most {MOST_SUBSCRIPTIONS} resources can be subscribed to.")
        self._by_connection[connection].add(uri)
        self._subscribed.setdefault(uri, set()).add(connection)

    def unsubscribe(self, connection: Connection, uri: str) -> None:
        """Let it hear no more of it."""
        self._by_connection.get(connection, set()).discard(uri)
        connections = self._subscribed.get(uri, set())
        connections.discard(connection)
        if not connections:
            self._subscribed.pop(uri, None)

    async def _tell(self, uri: str) -> None:
        await self._listeners.publish(ResourceUpdated(uri=uri))
        for connection in tuple(self._subscribed.get(uri, ())):
            with anyio.move_on_after(_PATIENCE) as patience:
                await connection.notify("notifications/resources/updated", {"uri": uri})
            if patience.cancelled_caught:  # it reads nothing: the others must not wait for it again
                self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        for uri in tuple(self._by_connection.get(connection, ())):
            self.unsubscribe(connection, uri)
        self._by_connection.pop(connection, None)


class SubscribeRequests:
    """The requests of the older era; the 2026 one has `subscriptions/listen`, which the SDK serves.

    Args:
        updates: what they ask for.
        connection_of: whose request it is.
    """

    def __init__(self, updates: Updates, connection_of: Callable[[ServerRequestContext[Any, Any]], Connection]) -> None:
        self._updates = updates
        self._connection_of = connection_of

    async def subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        """Answer `resources/subscribe`."""
        self._updates.subscribe(self._connection_of(ctx), str(params.uri))
        return EmptyResult()

    async def unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        """Answer `resources/unsubscribe`."""
        self._updates.unsubscribe(self._connection_of(ctx), str(params.uri))
        return EmptyResult()
