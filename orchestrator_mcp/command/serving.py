"""The commands that run an orchestrator until a signal comes: `serve`, `stdio`, and `serve --reload`."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import active_children, connection, parent_process
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import typer

from orchestrator_mcp import __version__
from orchestrator_mcp.command.ending import ExitCode, plain_errors, say
from orchestrator_mcp.logs import configure_logging
from orchestrator_mcp.machine.presence import is_held
from orchestrator_mcp.settings import Settings, load_settings, locate_config

if TYPE_CHECKING:
    from orchestrator_mcp.app import Orchestrator

log = logging.getLogger(__name__)
R = TypeVar("R")

_PACKAGES = ("orchestrator_mcp", "watcher")
_STOP_SECONDS = 10

FASTEST_LOOP: Final = {"use_uvloop": find_spec("uvloop") is not None}
"""uvicorn brings uvloop where there is one; it tells a crowd of listeners in two thirds of the time."""

TURN_OF_A_THREAD: Final = 0.0005
"""Seconds that the event loop may hold the interpreter while another thread wants it. SQLite gives it back at each
statement: at Python's 0.005 a commit beside a busy loop waits ten times as long for each of them."""

OLD_ONCE_IN: Final = 100
"""The garbage collector looks through all that is old at each so many of its middle rounds. At Python's 10 it does so
every second when much is rendered, for a tenth of a second each time, and finds nothing: jobs leave no circles."""


@dataclass(frozen=True, kw_only=True)
class ServeChoices:
    """What the command line says about a server; picklable, because `--reload` hands it to a child.

    Attributes:
        host: replaces the configured one.
        port: replaces the configured one.
        config: the configuration file, or None to look for it.
        log_level: debug, info, warning or error.
        insecure_no_auth: ask for no token, even beyond loopback.
    """

    host: str | None = None
    port: int | None = None
    config: Path | None = None
    log_level: str = "info"
    insecure_no_auth: bool = False


def serve(choices: ServeChoices) -> int:
    """Run an orchestrator until SIGTERM or Ctrl-C.

    Returns:
        The exit code.

    Raises:
        SettingsError: the configuration is wrong.
        StartError: a port, folder or database is not to be had.
    """
    with _leaving_quietly():
        settings = load_settings(choices.config, host=choices.host, port=choices.port)
        with _logging(settings, choices.log_level):
            from orchestrator_mcp import app  # it takes a second, and a wrong file is to be told at once

            how = app.Choices(open_to_all=choices.insecure_no_auth, reload_on_hangup=True)
            work = partial(app.serve, settings, how, ready=lambda running: say(ready_text(running)))
            _run(work)
    return ExitCode.OK


def serve_stdio(config: Path | None, log_level: str) -> int:
    """MCP over standard input and output, until the client closes its end or a signal comes.

    Returns:
        The exit code.

    Raises:
        SettingsError: the configuration is wrong.
        StartError: a folder or the database is not to be had.
    """
    with _leaving_quietly():
        settings = load_settings(config)
        with _logging(settings, log_level):
            from orchestrator_mcp import app

            return _run(partial(app.serve_stdio, settings, app.Choices(any_port=True)))


def _run(work: Callable[[], Awaitable[R]]) -> R:
    """The event loop of a program that does nothing else."""
    former, (young, middle, old) = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(TURN_OF_A_THREAD)
    gc.set_threshold(young, middle, OLD_ONCE_IN)
    try:
        return anyio.run(work, backend_options=FASTEST_LOOP)
    finally:
        sys.setswitchinterval(former)
        gc.set_threshold(young, middle, old)


def serve_and_reload(choices: ServeChoices) -> int:
    """Run an orchestrator in a child that starts anew whenever the program or its configuration changes.

    Returns:
        The exit code.

    Raises:
        SettingsError: a configuration file was named and does not exist.
    """
    try:
        _watch(locate_config(choices.config), choices)
    except KeyboardInterrupt:  # it came while no watch stood; a child may just have been started
        for child in active_children():
            child.terminate()
            child.join(_STOP_SECONDS)
    return ExitCode.OK


def _watch(config: Path | None, choices: ServeChoices) -> None:
    """Run the child, and anew at each change, until Ctrl-C or SIGTERM."""
    from watchfiles import run_process

    package = Path(__file__).resolve().parent.parent
    code = [package.parent / name for name in _PACKAGES if (package.parent / name).is_dir()]
    say(f"Reloading on changes in {', '.join(map(str, [*code, *([config] if config else [])]))}.")
    # Folders one by one and not recursively: beside the configuration lie the data and the Inbox, which change all
    # the time, and a watch on the file itself would be lost when an editor replaces it.
    run_process(
        *[folder for root in code for folder in (root, *root.rglob("*")) if folder.is_dir()],
        *([config.parent] if config else []),
        recursive=False,
        target=_serve_child,
        args=(choices,),
        target_type="function",
        watch_filter=lambda _change, path: is_watched(Path(path), code, config),
        sigint_timeout=_STOP_SECONDS,
    )


def is_watched(path: Path, code: list[Path], config: Path | None) -> bool:
    """Whether a change of this file calls for a new start: our Python files, and the configuration.

    Args:
        path: what changed.
        code: the folders of the program.
        config: the configuration file, if there is one.
    """
    if config is not None and path == config:
        return True
    return path.suffix == ".py" and any(folder in path.parents for folder in code)


def ready_text(running: Orchestrator) -> str:
    """The block that is shown when every door is open.

    Args:
        running: the orchestrator.
    """
    settings = running.settings
    lines = [
        f"Orchestrator {__version__} is ready.",
        f"  API      {running.url}/api  (try it at {running.url}/docs)",
        f"  MCP      {running.url}/mcp  (streamable HTTP; SSE at {running.url}/sse)",
        f"  Inbox    {settings.inbox_dir}",
        f"  Outbox   {settings.outbox_dir}",
        f"  Config   {settings.config_file or 'none found: the defaults'}",
        f"  Backends {_backends_text(settings)}",
    ]
    if (path := running.token_file) is not None:
        lines += [f"  Token    {path}", f"  Header   Authorization: Bearer {_token_text(path)}"]
    return "\n".join(lines)


def _backends_text(settings: Settings) -> str:
    backends = [backend for backend in settings.backends if backend.enabled]
    if not backends:
        return "none is enabled; jobs wait until one is (`orchestrator-mcp backends` shows them)"
    if [(backend.id, backend.kind) for backend in backends] == [("sandbox", "sandbox")]:
        return "the built-in sandbox, which draws placeholder pictures; name your ComfyUI servers in config.yaml"
    return ", ".join(f"{backend.id} ({backend.url})" for backend in backends[:5]) + (
        f" and {len(backends) - 5} more" if len(backends) > 5 else ""
    )


def _token_text(path: Path) -> str:
    """The token for a person at a terminal; a log or journal gets the place to find it."""
    if not sys.stderr.isatty():
        return "<the content of that file>"
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "<the content of that file>"


@contextmanager
def _logging(settings: Settings, level: str) -> Iterator[None]:
    """Log to stderr, and to the file unless another orchestrator writes it already."""
    with configure_logging(None if is_held(settings.data_dir) else settings.log_dir, level):
        for warning in settings.warnings:
            log.warning("%s", warning)
        yield


@contextmanager
def _leaving_quietly() -> Iterator[None]:
    """End with exit code 0 on a signal that comes before the orchestrator listens for signals itself."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(ExitCode.OK)

    former = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, action in former.items():
            signal.signal(number, action)


def _serve_child(choices: ServeChoices) -> None:
    """What the child of `--reload` runs; its errors are told in words, and the next change starts it again."""
    threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    try:
        with plain_errors():
            serve(choices)
    except typer.Exit as ending:
        sys.exit(ending.exit_code)


def _stop_with_parent() -> None:
    """Stop this child when its parent is gone: killed, or by a Ctrl-C that the child was too young to hear."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)  # the second ends a child that does not stop
