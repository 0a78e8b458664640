"""The composition root: builds every object, owns the task groups, and the order of start and stop.

Start: data dir, port, store, recovery and dispatch, then the doors. Stop: the doors, then dispatch, then the store;
renders on the backends go on and are adopted at the next start. Heavy imports come after recovery.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import uvicorn
from anyio.abc import TaskGroup
from starlette.applications import Starlette

from orchestrator_mcp import __version__
from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.backing_up import FOLDER as BACKUPS
from orchestrator_mcp.backing_up import Backups
from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.domain.access import KnownToken, Scope, digest_of
from orchestrator_mcp.domain.steps import AtStep, no_step
from orchestrator_mcp.errors import StartError, StorageError
from orchestrator_mcp.events import Events
from orchestrator_mcp.files import is_network_filesystem
from orchestrator_mcp.listening import reachable_url, take_port
from orchestrator_mcp.logs import hide
from orchestrator_mcp.presence import announce, hold_data_dir
from orchestrator_mcp.reload import Reload, reload_on_hangup
from orchestrator_mcp.retention import Retention
from orchestrator_mcp.scheduler import Dispatcher, Resources
from orchestrator_mcp.service import JobService
from orchestrator_mcp.settings import BackendSettings, CurrentSettings, Settings
from orchestrator_mcp.settings.token_file import OWN, read_token_file
from orchestrator_mcp.shipped import workflow_folders
from orchestrator_mcp.stop_signals import stop_signals
from orchestrator_mcp.storage import StorageWatch
from orchestrator_mcp.store import JobStore
from orchestrator_mcp.store.backups import require_database
from orchestrator_mcp.tokens import load_token
from orchestrator_mcp.workflows.library import WorkflowLibrary

if TYPE_CHECKING:
    from orchestrator_mcp.doors.mcp.tools import AgentServer

log = logging.getLogger(__name__)

HTTP_GRACE: Final = 3  # seconds that open requests have when the server stops
HTTP_PATIENCE: Final = 6.0  # seconds until they are cut
NO_TOKEN: Final = "Whoever can reach this server may do everything: no token is asked for (--insecure-no-auth)."
DATABASE: Final = "orchestrator.db"
SANDBOX_ID: Final = "sandbox"
SANDBOX_STEP_MS: Final = 40.0  # milliseconds of a sampler step: visible progress, quick pictures
SANDBOX_LOAD_MS: Final = 250.0


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How to run, apart from the configuration.

    Attributes:
        any_port: take a free port when the configured one is taken.
        open_to_all: ask for no token, even beyond loopback.
        reload_on_hangup: read the configuration again on SIGHUP.
        at_step: see `domain.steps`; only a chaos run gives one.
    """

    any_port: bool = False
    open_to_all: bool = False
    reload_on_hangup: bool = False
    at_step: AtStep = no_step


@dataclass(frozen=True, kw_only=True)
class Orchestrator:
    """A running one.

    Attributes:
        url: of its HTTP door, as this machine reaches it.
        service: what the doors call.
        agents: the MCP server, for a stdio transport.
        token_file: where the token lies that callers must send, or None.
    """

    url: str
    service: JobService
    agents: AgentServer
    settings: Settings
    token_file: Path | None


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
async def orchestrator(
    settings: Settings, choices: Choices | None = None, *, clock: Clock | None = None
) -> AsyncIterator[Orchestrator]:
    """Run everything for as long as the block lasts.

    Args:
        settings: the configuration.
        choices: see `Choices`.
        clock: the time; the machine's unless given.

    Raises:
        StartError: a port, a folder, the data dir or the database is not to be had.
    """
    choices = choices or Choices()
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        stack.enter_context(hold_data_dir(settings.data_dir))
        port = (settings.server.host, settings.server.port)
        listener = stack.enter_context(take_port(*port, or_any=choices.any_port))
        settings = settings.with_server(port=listener.getsockname()[1])
        _prepare_folders(settings)
        if not settings.backends:
            settings = settings.model_copy(update={"backends": (await stack.enter_async_context(_sandbox()),)})
        service = await stack.enter_async_context(_core(settings, choices, clock))
        yield await stack.enter_async_context(_doors(settings, choices, clock, service, listener))


async def serve(settings: Settings, choices: Choices | None = None, *, ready: Callable[[Orchestrator], None]) -> None:
    """Run until SIGTERM or Ctrl-C.

    Args:
        settings: the configuration.
        choices: see `Choices`.
        ready: called once, when every door is open.

    Raises:
        StartError: see `orchestrator`.
    """
    async with stop_signals() as stopped, orchestrator(settings, choices) as running:
        ready(running)
        await stopped.wait()
        log.info("stopping; renders on the backends go on")


async def serve_stdio(settings: Settings, choices: Choices) -> int:
    """MCP over stdin and stdout: join the orchestrator that runs on this configuration, else run everything here.

    Returns:
        The exit code.
    """
    from orchestrator_mcp.doors.mcp.bridge import bridge_stdio
    from orchestrator_mcp.doors.mcp.stdio import serve_stdio as serve_agents
    from orchestrator_mcp.presence import find_running, is_held

    async with stop_signals() as stopped:
        while is_held(settings.data_dir):
            if (present := find_running(settings.data_dir)) is not None:
                log.info("joining the orchestrator at %s", present.url)
                return await _until(stopped, lambda: bridge_stdio(f"{present.url}/sse", token=present.token))
            await anyio.sleep(0.1)  # the other one is just starting: its note is not written yet
        async with orchestrator(settings, choices) as running:
            log.info("serving MCP over stdio, and %s", running.url)

            async def talk() -> int:
                await serve_agents(running.agents)
                return 0

            return await _until(stopped, talk)


@asynccontextmanager
async def _sandbox() -> AsyncIterator[BackendSettings]:
    """The backend that is there when none is configured; spoken to over loopback like any other."""
    from orchestrator_mcp.sandbox import Sandbox, SandboxOptions

    options = SandboxOptions(step_ms=SANDBOX_STEP_MS, load_ms=SANDBOX_LOAD_MS)
    async with Sandbox(options).serve() as server:
        log.warning("no backends are configured: the built-in sandbox renders slates instead of pictures")
        yield BackendSettings(
            id=SANDBOX_ID, name="Built-in sandbox", host="127.0.0.1", port=server.port, kind="sandbox"
        )


@asynccontextmanager
async def _core(settings: Settings, choices: Choices, clock: Clock) -> AsyncIterator[JobService]:
    """Store, backends, dispatch: recovered and at work when this yields."""
    events = Events(clock)
    network = is_network_filesystem(settings.data_dir)
    store = JobStore(settings.data_dir / DATABASE, tell=events.publish, exclusive=network)
    artifacts = ArtifactStore(settings.data_dir / "artifacts")
    current, owner = CurrentSettings(settings), socket.gethostname()
    pool = BackendPool(current, clock=clock, tell=events.publish)
    reload = Reload(current, pool=pool, store=store, owner=owner, clock=clock)
    dispatcher = Dispatcher(
        Resources(
            store=store,
            pool=pool,
            artifacts=artifacts,
            events=events,
            clock=clock,
            settings=current,
            instance=owner,
            at_step=choices.at_step,
        )
    )
    service = JobService(
        store=store,
        pool=pool,
        library=WorkflowLibrary(workflow_folders(settings.workflows_dirs), lambda: current.now.limits),
        artifacts=artifacts,
        events=events,
        clock=clock,
        settings=current,
        running=lambda: dispatcher.running,
        version=__version__,
        at_step=choices.at_step,
    )
    storage = StorageWatch(lambda: current.now, store, clock)
    service.condition.close_while(lambda: storage.trouble)
    backups = Backups(store, lambda: current.now, clock)
    service.condition.report_trouble(lambda: reload.trouble)
    service.condition.report_trouble(lambda: backups.trouble)
    service.condition.report_notice(lambda: reload.notice)
    await anyio.to_thread.run_sync(require_database, settings.data_dir / DATABASE, settings.data_dir / BACKUPS)
    await store.open()
    async with anyio.create_task_group() as storing:
        storing.start_soon(store.run, name="store")
        try:
            async with pool.opened(), anyio.create_task_group() as work:
                work.start_soon(pool.run, name="backends")
                await work.start(dispatcher.run, name="dispatcher")
                work.start_soon(_sweep, artifacts, name="sweep")
                work.start_soon(service.condition.check_database, name="database check")
                work.start_soon(service.look_after_watchers, name="watchers")
                work.start_soon(Retention(store, artifacts, lambda: current.now.retention, clock).run, name="retention")
                work.start_soon(reload.run, name="reload")
                work.start_soon(storage.run, name="storage")
                work.start_soon(backups.run, name="backups")
                await storage.first_looks()
                if choices.reload_on_hangup:
                    work.start_soon(reload_on_hangup, reload.ask, name="hangup")
                yield service
                work.cancel_scope.cancel()
            await backups.make_last()
        finally:
            store.close()


async def _sweep(artifacts: ArtifactStore) -> None:
    try:
        await artifacts.sweep_temporaries()
    except StorageError as error:
        log.warning("cannot clear temporary files: %s", error)


@asynccontextmanager
async def _doors(
    settings: Settings, choices: Choices, clock: Clock, service: JobService, listener: socket.socket
) -> AsyncIterator[Orchestrator]:
    """HTTP, MCP and the Inbox: open when this yields."""
    from orchestrator_mcp.doors.http import StreamShutdown, build_middleware, build_routes, exception_handlers
    from orchestrator_mcp.doors.mcp.tools import build_server
    from orchestrator_mcp.doors.mcp.transports import McpDoor
    from watcher.inbox import Inbox, InboxLimits
    from watcher.outbox import Outbox
    from watcher.scanner import ScanLimits

    tokens, token_file = _tokens(settings, choices)
    if settings.server.asks_for_token and choices.open_to_all:
        service.condition.report_notice(lambda: NO_TOKEN)
    agents = build_server(service, version=__version__, public_url=settings.server.public_url)
    mcp = McpDoor(agents, max_message_bytes=settings.limits.body_bytes, count=service.counted_stream)
    streams = StreamShutdown()
    routes = build_routes(
        service,
        version=__version__,
        public_url=settings.server.public_url,
        body_bytes=settings.limits.body_bytes,
        body_depth=settings.limits.graph_depth,
        streams=streams,
    )
    web = Starlette(
        routes=[*routes, *mcp.routes],
        middleware=build_middleware(
            tokens=tokens,
            allowed_hosts=settings.server.allowed_hosts,
            cors_origins=settings.server.cors_origins,
            public_url=settings.server.public_url,
        ),
        exception_handlers=exception_handlers(),
    )
    http = HttpServer(
        uvicorn.Config(
            web,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=HTTP_GRACE,
            server_header=False,
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # 300 kB of memory for each listener, to save a few hundred bytes
        )
    )
    scan = ScanLimits(file_bytes=settings.limits.body_bytes, depth=settings.limits.graph_depth)
    inbox = Inbox(settings.inbox_dir, service, clock=clock, limits=InboxLimits(scan=scan), at_step=choices.at_step)
    outbox = Outbox(settings.outbox_dir, settings.inbox_dir, service, clock=clock, at_step=choices.at_step)
    url = reachable_url(settings.server.host, settings.server.port)
    async with mcp.run(), anyio.create_task_group() as tasks:
        tasks.start_soon(http.run_on, [listener], name="http")
        service.expect_deliveries()
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


async def _stop(http: HttpServer, tasks: TaskGroup) -> None:
    http.should_exit = True
    with anyio.move_on_after(HTTP_PATIENCE):
        await http.stopped.wait()
    tasks.cancel_scope.cancel()


async def _until(stopped: anyio.Event, work: Callable[[], object]) -> int:
    """Do some work until it ends or a signal comes; its answer, or 0."""
    code = 0
    async with anyio.create_task_group() as tasks:

        async def do() -> None:
            nonlocal code
            code = await work()  # type: ignore[misc]
            tasks.cancel_scope.cancel()

        tasks.start_soon(do, name="stdio")
        await stopped.wait()
        tasks.cancel_scope.cancel()
    return code


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


def _prepare_folders(settings: Settings) -> None:
    """Make the folders that people are told to use.

    Raises:
        StartError: one cannot be made.
    """
    for key, folder in (("inbox_dir", settings.inbox_dir), ("outbox_dir", settings.outbox_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(
                f"The folder {folder} cannot be made: {error.strerror or error}.",
                hint=f"Check {key} in config.yaml and the permissions of the folder above.",
            ) from error
