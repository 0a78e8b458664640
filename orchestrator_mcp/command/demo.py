"""`orchestrator-mcp demo`: one job through each door, in a folder of its own, with nothing else installed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from rich.console import Console

from orchestrator_mcp.app import Choices, Orchestrator, orchestrator
from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.command.api import Api, Server, open_api
from orchestrator_mcp.command.board import Board, board_for, job_words
from orchestrator_mcp.command.demo_doors import submit_by_file, submit_by_http, submit_by_mcp
from orchestrator_mcp.command.ending import ExitCode, UsageError, known_cause
from orchestrator_mcp.command.following import follow
from orchestrator_mcp.command.results import Delivered, check_delivery
from orchestrator_mcp.domain.views import JobView
from orchestrator_mcp.errors import StartError, UnavailableError
from orchestrator_mcp.logs import configure_logging
from orchestrator_mcp.machine.shipped import shipped
from orchestrator_mcp.machine.stop_signals import stop_signals
from orchestrator_mcp.settings import Settings

PATIENCE: Final = 120.0  # seconds for all three jobs; they take four
_OURS: Final = frozenset({"data", "logs", "Inbox", "Outbox"})


@dataclass(frozen=True, kw_only=True)
class Door:
    """One of the three ways in.

    Attributes:
        label: what it is called on the screen.
        submit: hands a job in there; gives its id.
    """

    label: str
    submit: Callable[[], Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A job that came through a door, and what became of it.

    Attributes:
        delivered: its folder in Outbox; None when it did not complete.
    """

    door: Door
    job: JobView
    delivered: Delivered | None


def run_demo(folder: Path | None, *, keep: bool, port: int) -> int:
    """Start an orchestrator with the built-in sandbox, render through each door, show where the pictures lie.

    Args:
        folder: where data, Inbox and Outbox go; None makes a temporary folder, which stays unless the start fails.
        keep: leave it running until Ctrl-C.
        port: to listen on; 0 takes a free one.

    Returns:
        The exit code.

    Raises:
        UsageError: the folder has other things in it.
        StartError: the port or folder is not to be had.
    """
    with _place(folder) as place, configure_logging(place / "logs", "info", console=False):
        return anyio.run(partial(_demo, place, keep, port))


def demo_settings(folder: Path, port: int) -> Settings:
    """A configuration that keeps everything in one folder.

    Args:
        folder: the folder.
        port: to listen on; 0 takes a free one.
    """
    folders = {f"{name.casefold()}_dir": folder / name for name in ("data", "Inbox", "Outbox")}
    return Settings.model_validate(
        {**folders, "log_dir": folder / "logs", "workflows_dir": [shipped("workflows")], "server": {"port": port}}
    )


async def _demo(folder: Path, keep: bool, port: int) -> int:
    console = Console(highlight=False)
    clock = SystemClock()
    begun = clock.monotonic()
    code = ExitCode.INTERRUPTED
    say = partial(console.print, markup=False, soft_wrap=True)
    say(f"Starting an orchestrator with the built-in sandbox in {folder}")
    async with (
        stop_signals() as stopped,
        orchestrator(demo_settings(folder, port), Choices()) as running,
        open_api(Server(url=running.url)) as api,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_cancel_when, stopped, tasks.cancel_scope)
        say(f"It listens on {running.url}. One job goes through each of its three doors.\n")
        rendered = await _render_all(running, api, clock, board_for(console))
        _report(console, running, rendered, seconds=clock.monotonic() - begun, keep=keep)
        code = ExitCode.OK if all(one.delivered for one in rendered) else ExitCode.FAILED
        if keep and code is ExitCode.OK:
            await stopped.wait()
        tasks.cancel_scope.cancel()
    return code


async def _cancel_when(stopped: anyio.Event, scope: anyio.CancelScope) -> None:
    await stopped.wait()
    scope.cancel()


async def _render_all(running: Orchestrator, api: Api, clock: Clock, board: Board) -> list[Rendered]:
    doors = (
        Door(label="MCP tool call", submit=partial(submit_by_mcp, running.url)),
        Door(label="HTTP POST", submit=partial(submit_by_http, api)),
        Door(label="Inbox file", submit=partial(submit_by_file, api, running.settings.inbox_dir, clock)),
    )
    rendered: dict[str, Rendered] = {}

    async def render(door: Door) -> None:
        board.tell(door.label, "submitting")
        job_id = await door.submit()
        job = await follow(api, job_id, clock, partial(board.show, door.label))
        rendered[door.label] = await _deliver(door, job, running.settings.outbox_dir, clock)

    try:
        with anyio.fail_after(PATIENCE), board.showing():
            async with anyio.create_task_group() as tasks:
                for door in doors:
                    tasks.start_soon(render, door, name=door.label)
    except TimeoutError as error:
        raise UnavailableError(
            f"The jobs did not end within {PATIENCE:.0f} s.", hint=f"See {running.settings.log_dir}/orchestrator.log."
        ) from error
    return [rendered[door.label] for door in doors]


async def _deliver(door: Door, job: JobView, outbox: Path, clock: Clock) -> Rendered:
    if job.status != "completed":
        return Rendered(door=door, job=job, delivered=None)
    return Rendered(door=door, job=job, delivered=await check_delivery(outbox, job, clock))


def _report(console: Console, running: Orchestrator, rendered: list[Rendered], *, seconds: float, keep: bool) -> None:
    say = partial(console.print, markup=False, soft_wrap=True)
    say()
    for one in rendered:
        for path in one.delivered.files if one.delivered else ():
            say(f"{one.door.label + ':':<15}{path}")
        if one.delivered is None:
            say(f"{one.door.label}: {job_words(one.job)}", style="red")
    if any(one.delivered is None for one in rendered):
        say(f"\nThe log says more: {running.settings.log_dir}/orchestrator.log")
        return
    total = sum(len(one.delivered.files) for one in rendered if one.delivered)
    say(f"\n{total} pictures in {seconds:.1f} s. Size and SHA-256 of each are those in the result.json beside it.")
    say("The sandbox drew them: slates that show what was asked for, not diffusion renders.")
    say(f"\nOpen {'until you press Ctrl-C' if keep else 'only while it runs (--keep leaves it running)'}:")
    for what, where in (("API, to try", "/docs"), ("Jobs", "/api/jobs"), ("MCP", "/mcp")):
        say(f"  {what:<15}{running.url}{where}")
    say(f"  {'First picture':<15}{rendered[0].job.outputs[0].url}")
    say(f"\nDrop manifests into {running.settings.inbox_dir}." if keep else "\nNext: orchestrator-mcp serve")


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """The folder of the demo; a temporary one goes again when the start fails."""
    if folder is not None:
        yield _prepared(folder)
        return
    place = Path(tempfile.mkdtemp(prefix="orchestrator-demo-"))
    try:
        yield place
    except (StartError, BaseExceptionGroup) as error:
        if isinstance(known_cause(error), StartError):
            shutil.rmtree(place, ignore_errors=True)
        raise


def _prepared(folder: Path) -> Path:
    place = folder.expanduser().resolve()
    try:
        place.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in place.iterdir() if entry.name not in _OURS)
    except OSError as error:
        raise UsageError(f"--folder: {place} cannot be used: {error.strerror or error}.") from error
    if others:
        raise UsageError(
            f"--folder: {place} has other things in it, for example {others[0]!r}.",
            hint="Name an empty folder, or one that does not exist yet.",
        )
    return place
