"""The WebSocket side: who is connected, and one loop that sends everything in order."""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from orchestrator_mcp.sandbox.bell import Bell
from orchestrator_mcp.sandbox.faults import FaultSet


@dataclass(kw_only=True)
class _Connection:
    socket: WebSocket
    wants_metadata: bool = False
    sent: int = 0


class SocketHub:
    """The connected clients of one server.

    One loop awaits each send, so a client that stops reading stalls all others, as on the real server. A second
    connection with the same client id takes the place of the first, and the place is emptied when either closes.
    """

    def __init__(self, faults: FaultSet, features: Mapping[str, Any]) -> None:
        """Start with nobody connected.

        Args:
            faults: The server's faults.
            features: What is answered to a client that tells its feature flags.
        """
        self._faults = faults
        self._features = features
        self._connections: dict[str, _Connection] = {}
        self._outbox: deque[tuple[str | bytes, str | None]] = deque()
        self._bell = Bell()

    @property
    def clients(self) -> tuple[str, ...]:
        """The ids of those who are connected."""
        return tuple(self._connections)

    def send(self, event: str, content: Any, owner: str | None) -> None:
        """Queue a text message.

        Args:
            event: Its ``type``.
            content: Its ``data``, written down now.
            owner: The client id it is for; None for everybody.
        """
        if self._has(owner):
            self._queue(json.dumps({"type": event, "data": content}), owner)

    def send_frame(self, frame: bytes, owner: str | None) -> None:
        """Queue a binary message.

        Args:
            frame: The whole frame.
            owner: The client id it is for; None for everybody.
        """
        if self._has(owner):
            self._queue(frame, owner)

    def wants_metadata(self, owner: str | None) -> bool:
        """Tell whether a client asked for previews with metadata.

        Args:
            owner: Its client id.
        """
        connection = self._connections.get(owner or "")
        return connection is not None and connection.wants_metadata

    async def publish(self) -> None:
        """Send what is queued, one message after the other, until the server stops."""
        while True:
            await self._bell.until(lambda: bool(self._outbox))
            message, owner = self._outbox.popleft()
            if owner is None:
                for connection in tuple(self._connections.values()):
                    await self._deliver(connection, message)
            elif owner in self._connections:
                await self._deliver(self._connections[owner], message)

    async def attend(
        self, socket: WebSocket, *, status: Callable[[], Any], current_node: Callable[[str], str | None]
    ) -> None:
        """Serve one client until it goes.

        Args:
            socket: An accepted socket.
            status: Gives the queue's present status.
            current_node: Gives the node that now runs for a client id.
        """
        client_id = socket.query_params.get("clientId", "") or uuid.uuid4().hex
        self._connections[client_id] = _Connection(socket=socket)
        try:
            greeting = {"status": status(), "sid": client_id}
            await socket.send_text(json.dumps({"type": "status", "data": greeting}))
            node = current_node(client_id)
            if node is not None:
                await socket.send_text(json.dumps({"type": "executing", "data": {"node": node}}))
            await self._listen(socket, client_id)
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            self._connections.pop(client_id, None)

    async def _listen(self, socket: WebSocket, client_id: str) -> None:
        first = True
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if first and message.get("text"):
                await self._greet(socket, client_id, message["text"])
            first = False

    async def _greet(self, socket: WebSocket, client_id: str, text: str) -> None:
        try:
            words = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(words, dict) or words.get("type") != "feature_flags":
            return
        flags = words.get("data")
        connection = self._connections.get(client_id)
        if connection is not None and isinstance(flags, dict):
            connection.wants_metadata = bool(flags.get("supports_preview_metadata"))
        await socket.send_text(json.dumps({"type": "feature_flags", "data": self._features}))

    async def _deliver(self, connection: _Connection, message: str | bytes) -> None:
        if self._faults.on("ws-deaf"):
            return
        limit = self._faults.number("ws-drop")
        try:
            if limit is not None and connection.sent >= limit:
                await connection.socket.close(1011)
                return
            connection.sent += 1
            if isinstance(message, bytes):
                await connection.socket.send_bytes(message)
            else:
                await connection.socket.send_text(message)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return

    def _queue(self, message: str | bytes, owner: str | None) -> None:
        self._outbox.append((message, owner))
        self._bell.ring()

    def _has(self, owner: str | None) -> bool:
        return bool(self._connections) if owner is None else owner in self._connections
