"""One listening port, served by uvicorn's protocols.

uvicorn's own ``Server`` takes the signals, ticks ten times a second and owns all its ports together. Here a thousand
ports live in one process and each can be taken down and put up again alone, so uvicorn's protocols are hung on the
event loop directly: this is the one module that speaks to asyncio.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import anyio.lowlevel
import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

_BACKLOG = 1024
KEEP_ALIVE: Final = 75  # seconds that a connection may be idle, as with aiohttp, which ComfyUI serves with
_TURNS = 3  # of the event loop, within which an accepted connection is made, and a cut one has told its request


def quiet_config(app: ASGIApp) -> uvicorn.Config:
    """Configure uvicorn's protocols without touching the program's logging.

    Args:
        app: The application that all ports share.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        server_header=False,
        date_header=False,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        ws_max_size=1 << 30,
        h11_max_incomplete_event_size=1 << 20,
        timeout_keep_alive=KEEP_ALIVE,
    )
    config.load()
    return config


def bound_socket(host: str, port: int) -> socket.socket:
    """Bind a socket without listening.

    Args:
        host: An address of this machine.
        port: The port; 0 for a free one.

    Returns:
        The socket.

    Raises:
        OSError: If the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay (40 ms an answer) off only on sockets that say TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # where it would let two programs have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


class Listener:
    """A port that can be opened and closed again and again."""

    def __init__(self, config: uvicorn.Config, host: str, port: int) -> None:
        """Take the port; nothing is served until it is opened.

        Args:
            config: From ``quiet_config``.
            host: An address of this machine.
            port: The port; 0 for a free one.

        Raises:
            OSError: If the port is taken.
        """
        self._config = config
        self._bound: socket.socket | None = bound_socket(host, port)
        self.host = host
        self.port: int = self._bound.getsockname()[1]
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Start to serve.

        Raises:
            OSError: If somebody else has taken the port since it was closed.
        """
        listening = self._bound or bound_socket(self.host, self.port)
        self._bound = None
        self._state = ServerState()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol_factory(), sock=listening, backlog=_BACKLOG)

    async def close(self) -> None:
        """Stop to serve at once: the port is free, and every connection is cut."""
        if self._bound is not None:
            self._bound.close()
            self._bound = None
        if self._server is None:
            return
        server, self._server = self._server, None
        await _finish_accepting(server)
        server.close()
        for connection in list(self._state.connections):
            _abort(connection)
        for _ in range(_TURNS):
            await anyio.lowlevel.checkpoint()
        tasks = set(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def cut(self, client: tuple[str, int] | None) -> None:
        """Cut one client's connection.

        Args:
            client: Its address and port.
        """
        for connection in list(self._state.connections):
            if getattr(connection, "client", None) == client:
                _abort(connection)

    def _protocol_factory(self) -> Callable[[], asyncio.Protocol]:
        config, state = self._config, self._state

        def make() -> asyncio.Protocol:
            protocol_class: Any = config.http_protocol_class
            protocol: Any = protocol_class(config=config, server_state=state, app_state={})
            protocol.access_log = False
            made: asyncio.Protocol = protocol
            return made

        return make


async def _finish_accepting(server: asyncio.Server) -> None:
    """Accept no more, and let those be made that were just accepted: asyncio forgets them when its server closes."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        with suppress(NotImplementedError):  # on Windows nothing is read from a listening socket
            loop.remove_reader(listening.fileno())
    for _ in range(_TURNS):
        await anyio.lowlevel.checkpoint()


def _abort(connection: Any) -> None:
    transport = getattr(connection, "transport", None)
    if transport is not None:
        transport.abort()
