"""The client at this process's standard streams, across every connection to an orchestrator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp_types.jsonrpc import JSONRPCMessage, JSONRPCRequest

from orchestrator_mcp.doors.mcp.conversation import Conversation
from orchestrator_mcp.doors.mcp.greeting import answer_to, list_to

_MOST_WAITING: Final = 1000  # messages of a client that nobody takes


class ClientSide:
    """What a client says, until an orchestrator takes it.

    Args:
        writes: messages to the client.
        everything: cancelled when the client leaves, or is left, while no orchestrator is spoken to.

    Attributes:
        conversation: what was said.
        left: whether it has closed its end.
        connected: whether an orchestrator listens, or has listened a moment ago.
    """

    def __init__(self, writes: ObjectSendStream[JSONRPCMessage], everything: anyio.CancelScope) -> None:
        self._writes = writes
        self._alone = self._scope = everything
        self._waiting: deque[JSONRPCMessage] = deque()  # oldest first
        self._news = anyio.Event()  # set when it has said something, or left
        self._room = anyio.Event()  # set when something that waited was taken
        self.conversation = Conversation()
        self.left = False
        self.connected = False

    async def read(self, reads: ObjectReceiveStream[JSONRPCMessage]) -> None:
        """Take in what the client says, until it leaves; then what it has asked is still answered."""
        async for message in reads:
            if not self.connected and await self._greet(message):
                continue
            self._waiting.append(message)
            self._news.set()
            if len(self._waiting) >= _MOST_WAITING:
                self._room = anyio.Event()
                await self._room.wait()  # the pipe keeps the rest
        self.left = True
        self._news.set()
        if not self.connected and not self._asks:
            self._scope.cancel()

    async def leave_when(self, stopped: anyio.Event) -> None:
        """Leave the client without another word when this is set; an orchestrator of our own can stop in order."""
        await stopped.wait()
        self.left = True
        self._scope.cancel()

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Only what is done in this block ends at once when the client leaves; what stands around it ends in order."""
        with anyio.CancelScope() as self._scope:
            yield
        self._scope = self._alone

    async def next(self) -> JSONRPCMessage | None:
        """What it said first, without taking it away; None when it has left."""
        while not self._waiting:
            if self.left:
                return None
            self._news = anyio.Event()
            await self._news.wait()
        return self._waiting[0]

    def taken(self) -> None:
        """An orchestrator has taken what it said first."""
        self._waiting.popleft()
        self._room.set()

    async def give_up(self) -> None:
        """The orchestrator has gone: what was open is asked again of the next one, or answered with a word about it."""
        again, lost = self.conversation.open_requests()
        self._waiting.extendleft(reversed(again))
        for message in lost:
            await self.tell(message)

    async def tell(self, message: JSONRPCMessage) -> None:
        """Pass a message to the client; one that has gone misses nothing."""
        with suppress(anyio.BrokenResourceError):
            await self._writes.send(message)

    @property
    def _asks(self) -> bool:
        return any(isinstance(message, JSONRPCRequest) for message in self._waiting)

    async def _greet(self, message: JSONRPCMessage) -> bool:
        """Answer a greeting, or for a list that never changes, while an orchestrator is still looked for or started.

        A request that waits already decides how an orchestrator will speak; no greeting overtakes it.
        """
        if not isinstance(message, JSONRPCRequest):
            return False
        answer = list_to(message, greeted=self.conversation.is_greeted)
        if answer is None and (message.method == "ping" or not self._asks):
            answer = answer_to(message)
        if answer is None:
            return False
        self.conversation.greeted(message)
        await self.tell(answer)
        return True
