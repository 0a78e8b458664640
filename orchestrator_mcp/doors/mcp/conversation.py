"""What a bridge remembers of its client, so that another orchestrator can take the place of one that has gone."""

from __future__ import annotations

from typing import Any, Final

import anyio
from mcp_types import INTERNAL_ERROR, ErrorData
from mcp_types.jsonrpc import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

_GONE: Final = (
    "The orchestrator went away before it answered, and another one takes its place. Jobs that were accepted are kept. "
    "Look with list_jobs whether this one was, and submit it again if not; an idempotency_key makes that safe."
)
_MOST_SUBSCRIPTIONS: Final = 1000
_OUR_ID: Final = "orchestrator-bridge-"


class Conversation:
    """The handshake, the subscriptions, and every request that has no answer yet."""

    def __init__(self) -> None:
        self._greeting: JSONRPCRequest | None = None
        self._answered = False
        self._greeted: JSONRPCNotification | None = None
        self._subscriptions: dict[str, dict[str, Any]] = {}
        self._open: dict[str | int, JSONRPCRequest] = {}
        self._repeated: set[str | int] = set()
        self._arriving: set[str | int] = set()  # answered, and the answer is on its way to the client
        self._idle = anyio.Event()  # set when the last open request is answered

    def greeted(self, message: JSONRPCRequest) -> None:
        """Note that the client was answered on this side; an orchestrator hears of its handshake all the same."""
        if message.method == "initialize":
            self._greeting, self._answered = message, True

    @property
    def is_greeted(self) -> bool:
        """Whether the client has shaken hands in the older way, and was answered."""
        return self._greeting is not None and self._answered

    def sent(self, message: JSONRPCMessage) -> None:
        """Note what the client says."""
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/initialized":
            self._greeted = message
        if not isinstance(message, JSONRPCRequest):
            return
        self._open[message.id] = message
        params = message.params or {}
        uri = str(params.get("uri"))
        match message.method:
            case "initialize":
                self._greeting = message
            case "resources/subscribe" if len(self._subscriptions) < _MOST_SUBSCRIPTIONS:
                self._subscriptions[uri] = params
            case "resources/unsubscribe":
                self._subscriptions.pop(uri, None)

    def taken_back(self, message: JSONRPCMessage) -> None:
        """It has not left this machine after all."""
        if isinstance(message, JSONRPCRequest):
            self._open.pop(message.id, None)

    def is_for_client(self, message: JSONRPCMessage) -> bool:
        """Note what the orchestrator says; False for answers to what was repeated on the client's behalf."""
        if not isinstance(message, JSONRPCResponse | JSONRPCError) or message.id is None:
            return True
        asked = self._open.pop(message.id, None)
        if asked is not None and asked is self._greeting:
            self._answered = True
        if message.id in self._repeated:
            self._repeated.discard(message.id)
            return False
        self._arriving.add(message.id)
        return True

    def arrived(self, message: JSONRPCMessage) -> None:
        """The client has what the orchestrator said."""
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._arriving.discard(message.id)
        if not self._open and not self._arriving:
            self._idle.set()

    async def nothing_open(self) -> None:
        """Wait until the client has an answer to every request."""
        while self._open or self._arriving:
            self._idle = anyio.Event()
            await self._idle.wait()

    def handshake(self) -> JSONRPCRequest | None:
        """What to say first to another orchestrator, and to wait for its answer; None in the 2026 era."""
        if self._greeting is None or not self.is_greeted:
            return None  # there was none, or it was lost on the way and is said again with the other open requests
        repeated = self._greeting.model_copy(update={"id": f"{_OUR_ID}hello"})
        self._repeated.add(repeated.id)
        return repeated

    def repetitions(self) -> list[JSONRPCMessage]:
        """What to say next, without waiting."""
        requests = [
            JSONRPCRequest(jsonrpc="2.0", id=f"{_OUR_ID}{number}", method="resources/subscribe", params=params)
            for number, params in enumerate(self._subscriptions.values())
        ]
        self._repeated |= {request.id for request in requests}
        return [*([self._greeted] if self._greeted is not None else []), *requests]

    def open_requests(self) -> tuple[list[JSONRPCMessage], list[JSONRPCMessage]]:
        """What becomes of requests that will get no answer from the orchestrator that has gone.

        Returns:
            Those that can be asked again elsewhere; and answers to the others, which might be done twice.
        """
        requests = list(self._open.values())
        self._open.clear()
        self._arriving.clear()
        self._repeated.clear()
        return (
            [request for request in requests if _is_repeatable(request)],
            [_refusal(request) for request in requests if not _is_repeatable(request)],
        )


def _is_repeatable(request: JSONRPCRequest) -> bool:
    if request.method == "subscriptions/listen":
        return False  # its client has seen the beginning of the answer, and asks anew by itself
    if request.method != "tools/call":
        return True
    params = request.params or {}
    arguments = params.get("arguments")
    return params.get("name") != "submit_job" or (isinstance(arguments, dict) and "idempotency_key" in arguments)


def _refusal(request: JSONRPCRequest) -> JSONRPCMessage:
    if request.method != "tools/call":
        return JSONRPCError(jsonrpc="2.0", id=request.id, error=ErrorData(code=INTERNAL_ERROR, message=_GONE))
    said: dict[str, Any] = {"content": [{"type": "text", "text": _GONE}], "isError": True}  # models see results only
    return JSONRPCResponse(jsonrpc="2.0", id=request.id, result={**said, "resultType": "complete"})
