"""A WebSocket client that keeps what it hears."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import websockets

from orchestrator_mcp.sandbox import FaultProxy, SandboxServer


class Listener:
    """One connected client.

    Attributes:
        heard: Every text message so far.
        frames: Every binary message so far.
    """

    def __init__(self, socket: websockets.ClientConnection) -> None:
        """Listen on a connected socket."""
        self.socket = socket
        self.heard: list[dict[str, Any]] = []
        self.frames: list[bytes] = []

    async def until(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Listen until a message of a type with these values comes."""
        while True:
            message = await self.socket.recv()
            if isinstance(message, bytes):
                self.frames.append(message)
                continue
            words = json.loads(message)
            self.heard.append(words)
            content = words["data"]
            if words["type"] == kind and all(content.get(key, "") == value for key, value in wanted.items()):
                found: dict[str, Any] = content
                return found

    def kinds(self) -> list[str]:
        """List the types of what was heard."""
        return [words["type"] for words in self.heard]


@asynccontextmanager
async def listening(
    server: SandboxServer | FaultProxy, client_id: str = "", *, metadata: bool = False
) -> AsyncIterator[Listener]:
    """Connect to a server as a client, and hear the first status."""
    query = f"?clientId={client_id}" if client_id else ""
    async with websockets.connect(f"ws://127.0.0.1:{server.port}/ws{query}", max_size=None) as socket:
        listener = Listener(socket)
        if metadata:
            flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
            await socket.send(json.dumps(flags))
            await listener.until("feature_flags")
        else:
            await listener.until("status")
        yield listener
