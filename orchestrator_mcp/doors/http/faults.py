"""The supervision boundary of the HTTP door: a bug becomes a 500 with a number that stands in the log as well."""

from __future__ import annotations

import logging
import secrets

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator_mcp.doors.http.answers import refuse

logger = logging.getLogger(__name__)


class FaultGuard:
    """Outermost layer: nothing that goes wrong inside reaches the server or the caller as a traceback.

    Args:
        app: what is supervised.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        sent: set[str] = set()

        async def noting_send(message: Message) -> None:
            sent.add(message["type"])
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except ClientDisconnect:
            return
        except Exception:
            number = secrets.token_hex(6)
            logger.exception("A request failed in an unforeseen way: %s %s", scope["path"][:200], number)
            if not sent:
                await _apologise(scope, receive, send, number)
            elif scope["type"] == "http":
                # Half an answer must not look like a whole one: only an error makes the server cut the connection.
                raise
            elif sent.isdisjoint({"websocket.close", "websocket.http.response.start"}):
                await send({"type": "websocket.close", "code": 1011, "reason": f"internal error {number}"})


async def _apologise(scope: Scope, receive: Receive, send: Send, number: str) -> None:
    await refuse(
        scope,
        receive,
        send,
        status=500,
        code="internal_error",
        detail=f"Something went wrong here that is not your fault (number {number}).",
        hint=f"The log has the details under {number}.",
    )
