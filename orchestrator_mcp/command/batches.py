"""What the commands about jobs do when they are given a batch, and `retry`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import anyio
from rich.console import Console

from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.command.api import Api, Where, find_server, open_api
from orchestrator_mcp.command.board import Board, batch_words, board_for
from orchestrator_mcp.command.ending import ExitCode, UsageError, say
from orchestrator_mcp.command.following import follow_stream
from orchestrator_mcp.command.manifest import read_value
from orchestrator_mcp.command.printing import print_json, printing_refusals
from orchestrator_mcp.command.tables import batch_details, paint
from orchestrator_mcp.domain.batch_views import BatchAcceptedView, BatchEvent, BatchView
from orchestrator_mcp.domain.batches import MODE
from orchestrator_mcp.domain.jobs import job8

_BAD: Final = frozenset({"failed", "cancelled"})
_DELIVERY_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2


def batch_path(batch_id: str) -> str:
    """The path of a batch."""
    return f"/api/batch/{quote(batch_id, safe='')}"


def read_variations(pairs: Sequence[str]) -> dict[str, Any] | None:
    """The field `batch` from `name=values` texts; None without any.

    Args:
        pairs: as they stand on the command line: `steps=20,30`, `seed={"count": 12}`, `mode=zip`.

    Raises:
        UsageError: one is no pair, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        name = name.strip()
        if not separator or not name or not text:
            raise UsageError(
                f"--vary: {pair[:80]!r} is no pair.", hint="Write name=values, such as --vary steps=20,30."
            )
        if name in found:
            raise UsageError(f"--vary: {name[:80]!r} is given twice.")
        found[name] = text if name == MODE else _values(text, name)
    return found or None


def _values(text: str, name: str) -> Any:
    """A list or object where it reads as such in JSON, else what stands between commas."""
    whole = read_value(text, name=name)
    if isinstance(whole, list | dict):
        return whole
    return [read_value(part.strip(), name=name) for part in text.split(",")]


async def accepted(api: Api, answer: str, *, watch: bool, as_json: bool) -> int:
    """Say that a batch was accepted, and follow it if that is wished.

    Args:
        api: whom to ask.
        answer: what the API said.
        watch: stay until it has ended.
        as_json: print the API's answer; with `watch`, each event of its stream on a line.

    Returns:
        The exit code.
    """
    view = api.read(BatchAcceptedView, answer)
    if as_json and not watch:
        print_json(answer)
        return ExitCode.OK
    for warning in view.warnings:
        say(f"Note: {warning}")
    if watch:
        return await watch_batch(api, view.batch_id, as_json=as_json)
    sys.stdout.write(f"{view.batch_id}\n")
    counted = "1 job was" if view.count == 1 else f"{view.count} jobs were"
    say(f"{counted} accepted. Follow with: orchestrator-mcp status {view.batch_id} --watch")
    return ExitCode.OK


def retry(batch_id: str, where: Where, *, watch: bool, as_json: bool) -> int:
    """Do the failed and cancelled jobs of a batch again.

    Args:
        batch_id: the batch.
        where: the server.
        watch: stay until the batch has ended.
        as_json: as for `accepted`.

    Returns:
        The exit code.
    """

    async def work() -> int:
        async with open_api(find_server(where)) as api:
            ask = partial(api.post, f"{batch_path(batch_id)}/retry", {})
            answer = await printing_refusals(ask, as_json=as_json)
            return await accepted(api, answer, watch=watch, as_json=as_json)

    return anyio.run(work)


async def show_batch(api: Api, batch_id: str, *, as_json: bool) -> int:
    """Show where a batch stands; the exit code tells whether it failed or was cancelled."""
    answer = await printing_refusals(partial(api.get, batch_path(batch_id)), as_json=as_json)
    batch = api.read(BatchView, answer)
    if as_json:
        print_json(answer)
    else:
        paint(batch_details(batch))
    return _code_of(batch)


async def cancel_batch(api: Api, batch_id: str, *, as_json: bool) -> str:
    """Cancel a batch; the API's answer. Raises RefusedError."""
    answer = await api.delete(batch_path(batch_id))
    if not as_json:
        counts: Mapping[str, int] = api.read(BatchView, answer).counts
        rest = counts["queued"] + counts["running"]
        ended = f"{counts['cancelled']} jobs are cancelled"
        sys.stdout.write(f"{batch_id}: {ended}{f', {rest} will be' if rest else ''}\n")
    return answer


async def watch_batch(api: Api, batch_id: str, *, as_json: bool) -> int:
    """Follow a batch to its end; the exit code tells whether it failed or was cancelled."""
    clock, path = SystemClock(), f"{batch_path(batch_id)}/events"
    try:
        if as_json:
            last = await follow_stream(api, path, BatchEvent, clock, lambda event: print_json(event.text))
            return _code_of(last.batch)
        board = board_for(Console(highlight=False))
        with board.showing():
            last = await follow_stream(api, path, BatchEvent, clock, partial(_show, board, job8(batch_id)))
    except anyio.get_cancelled_exc_class():  # Ctrl-C
        say(f"The batch goes on. Come back with: orchestrator-mcp status {batch_id} --watch")
        raise
    paint(batch_details(await _delivered(api, last.batch, clock)))
    return _code_of(last.batch)


def _show(board: Board, label: str, event: BatchEvent) -> None:
    board.tell(label, batch_words(event.batch), fraction=event.batch.progress)


async def _delivered(api: Api, batch: BatchView, clock: Clock) -> BatchView:
    """The batch with the path of its folder in Outbox, if that comes within a moment."""
    with anyio.move_on_after(_DELIVERY_SECONDS):
        while batch.path is None:
            await clock.sleep(_LOOK_SECONDS)
            batch = api.read(BatchView, await api.get(batch_path(batch.batch_id)))
    return batch


def _code_of(batch: BatchView) -> int:
    return ExitCode.FAILED if batch.status in _BAD else ExitCode.OK
