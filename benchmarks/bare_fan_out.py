"""A bare Starlette loop that sends the same bytes to everybody: `python -m benchmarks.bare_fan_out EVENTS`.

Every listener gets the first event when it comes; the others begin, at the pace at which they were recorded, when
somebody deletes the job. Prints its url and process as one line of JSON, and stops when its standard input ends.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from orchestrator_mcp.command.serving import FASTEST_LOOP


class Replay:
    """Recorded events, sent again.

    Args:
        events: the second of each, counted from anywhere, and its text.
    """

    def __init__(self, events: Sequence[tuple[float, str]]) -> None:
        self._events = events
        self._ready = [anyio.Event() for _ in events]
        self._ready[0].set()

    async def delete(self, _request: Request) -> Response:
        """Let the others follow."""
        for ready, (at, _), (before, _) in zip(self._ready[1:], self._events[1:], self._events, strict=False):
            await anyio.sleep(max(0.0, at - before))
            ready.set()
        return Response()

    async def texts(self) -> AsyncIterator[str]:
        """Each event when it is due."""
        for ready, (_, text) in zip(self._ready, self._events, strict=True):
            await ready.wait()
            yield text

    async def stream(self, socket: WebSocket) -> None:
        """Tell it over a WebSocket."""
        await socket.accept()
        async for text in self.texts():
            await socket.send_text(text)
        await socket.close()

    async def events(self, _request: Request) -> Response:
        """Tell it as server-sent events."""

        async def lines() -> AsyncIterator[str]:
            async for text in self.texts():
                yield f"data: {text}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")


def main() -> None:
    """Serve on a free port."""
    replay = Replay([(at, text) for at, text in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))])
    routes = [
        Route("/api/job/{job_id}", replay.delete, methods=["DELETE"]),
        Route("/api/job/{job_id}/events", replay.events),
        WebSocketRoute("/api/job/{job_id}/stream", replay.stream),
    ]
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        sys.stdout.write(json.dumps([f"http://127.0.0.1:{listener.getsockname()[1]}", os.getpid()]) + "\n")
        sys.stdout.flush()
        threading.Thread(target=_end_with_input, daemon=True).start()
        loop = "uvloop" if FASTEST_LOOP["use_uvloop"] else "asyncio"
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, loop=loop, ws_per_message_deflate=False)
        uvicorn.Server(config).run(sockets=[listener])


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
