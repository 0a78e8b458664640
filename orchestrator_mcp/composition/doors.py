"""HTTP, MCP and the Inbox, hung before the service. Heavy to import: the app does so after recovery."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import anyio
import uvicorn
from anyio.abc import TaskGroup
from starlette.applications import Starlette

from orchestrator_mcp import __version__
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.composition.choices import Choices, Orchestrator
from orchestrator_mcp.domain.access import KnownToken, Scope, digest_of
from orchestrator_mcp.doors.http import (
    BodyLimits,
    Directory,
    HttpProtocol,
    OpenStreams,
    build_middleware,
    build_routes,
    exception_handlers,
)
from orchestrator_mcp.doors.mcp.tools import build_server
from orchestrator_mcp.doors.mcp.transports import McpDoor
from orchestrator_mcp.logs import hide
from orchestrator_mcp.machine.listening import reachable_url
from orchestrator_mcp.machine.presence import announce
from orchestrator_mcp.machine.tokens import load_token
from orchestrator_mcp.service import JobService
from orchestrator_mcp.settings import Settings
from orchestrator_mcp.settings.token_file import OWN, read_token_file
from watcher.inbox import Inbox, InboxLimits
from watcher.outbox import Outbox
from watcher.scanner import ScanLimits

log = logging.getLogger(__name__)

HTTP_GRACE: Final = 3  # seconds that open requests have when the server stops
HTTP_PATIENCE: Final = 6.0  # seconds until they are cut
NO_TOKEN: Final = "Whoever can reach this server may do everything: no token is asked for (--insecure-no-auth)."


class HttpServer(uvicorn.Server):
    """uvicorn without its hold on signals, which belong to the app, and with a word when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()
        self.stopped = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    async def run_on(self, sockets: list[socket.socket]) -> None:
        """Serve until `should_exit` is set."""
        try:
            await self.serve(sockets=sockets)
        finally:
            self.stopped.set()


@asynccontextmanager
async def doors(
    settings: Settings, choices: Choices, clock: Clock, service: JobService, listener: socket.socket
) -> AsyncIterator[Orchestrator]:
    """HTTP, MCP and the Inbox: open when this yields."""
    tokens, token_file = _tokens(settings, choices)
    if settings.server.asks_for_token and choices.open_to_all:
        service.condition.report_notice(lambda: NO_TOKEN)
    agents = build_server(service, version=__version__, public_url=settings.server.public_url)
    mcp = McpDoor(agents, max_message_bytes=settings.limits.body_bytes, count=service.counted_stream)
    streams = OpenStreams()
    http = _http(_web(settings, service, tokens, mcp, streams))
    inbox, outbox = _watchers(settings, choices, clock, service)
    url = reachable_url(settings.server.host, settings.server.port)
    async with mcp.run(), anyio.create_task_group() as tasks:
        tasks.start_soon(http.run_on, [listener], name="http")
        tasks.start_soon(streams.run, name="open streams")
        service.expect_deliveries()
        service.condition.report_notice(lambda: inbox.notice)
        for door in (inbox, outbox):
            service.condition.report_trouble(lambda door=door: door.trouble)  # type: ignore[misc]
            tasks.start_soon(door.run, name=type(door).__name__.lower())
        await http.ready.wait()
        announce(settings.data_dir, url=url, token_file=token_file, version=__version__)
        try:
            yield Orchestrator(url=url, service=service, agents=agents, settings=settings, token_file=token_file)
        finally:
            with anyio.CancelScope(shield=True):
                streams.close()
                await mcp.close_streams()
                await _stop(http, tasks)


def _web(
    settings: Settings, service: JobService, tokens: tuple[KnownToken, ...], mcp: McpDoor, streams: OpenStreams
) -> Starlette:
    most, deepest = settings.limits.body_bytes, settings.limits.graph_depth
    routes = build_routes(
        service,
        version=__version__,
        public_url=settings.server.public_url,
        limits=lambda: BodyLimits(document=most, depth=deepest, upload=service.upload_bytes),
        streams=streams,
    )
    return Starlette(
        routes=[Directory([*routes, *mcp.routes])],
        middleware=build_middleware(
            tokens=tokens,
            allowed_hosts=settings.server.allowed_hosts,
            cors_origins=settings.server.cors_origins,
            public_url=settings.server.public_url,
        ),
        exception_handlers=exception_handlers(),
    )


def _http(web: Starlette) -> HttpServer:
    return HttpServer(
        uvicorn.Config(
            web,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=HTTP_GRACE,
            server_header=False,
            http=HttpProtocol,
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # 300 kB of memory for each listener, to save a few hundred bytes
        )
    )


def _watchers(settings: Settings, choices: Choices, clock: Clock, service: JobService) -> tuple[Inbox, Outbox]:
    limits = settings.limits
    scan = ScanLimits(
        file_bytes=limits.body_bytes, depth=limits.graph_depth, picture_bytes=lambda: service.upload_bytes
    )
    inbox = Inbox(settings.inbox_dir, service, clock=clock, limits=InboxLimits(scan=scan), at_step=choices.at_step)
    return inbox, Outbox(settings.outbox_dir, settings.inbox_dir, service, clock=clock, at_step=choices.at_step)


async def _stop(http: HttpServer, tasks: TaskGroup) -> None:
    http.should_exit = True
    with anyio.move_on_after(HTTP_PATIENCE):
        await http.stopped.wait()
    tasks.cancel_scope.cancel()


def _tokens(settings: Settings, choices: Choices) -> tuple[tuple[KnownToken, ...], Path | None]:
    """Who may come in with which token: nobody needs one on loopback, unless a file of them is configured.

    Raises:
        SettingsError: that file is wrong.
        StartError: the server's own token can be neither read nor made.
    """
    server = settings.server
    if not server.asks_for_token:
        return (), None
    if choices.open_to_all:
        log.warning("%s: %s", server.host, NO_TOKEN)
        return (), None
    token, path, _ = load_token(settings.data_dir)
    hide(token)
    log.warning("callers must show the token that lies in %s", path)
    own = KnownToken(name=OWN, scope=Scope.ADMIN, digest=digest_of(token.encode()))
    return (own, *(read_token_file(server.tokens_file) if server.tokens_file else ())), path
