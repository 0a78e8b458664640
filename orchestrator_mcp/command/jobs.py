"""The commands about jobs: `submit`, `rerun`, `status`, `cancel`. Thin: each asks `/api` and shows the answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from rich.console import Console
from rich.live import Live

from orchestrator_mcp.clock import Clock, SystemClock
from orchestrator_mcp.command import batches
from orchestrator_mcp.command.api import Api, RefusedError, Where, find_server, job_path, open_api
from orchestrator_mcp.command.board import board_for, job_words
from orchestrator_mcp.command.ending import ExitCode, UsageError, say, say_error
from orchestrator_mcp.command.following import follow
from orchestrator_mcp.command.manifest import Changes, build_manifest, names_file, with_changes
from orchestrator_mcp.command.printing import print_json, printing_refusals
from orchestrator_mcp.command.tables import job_details, job_table, paint
from orchestrator_mcp.command.uploading import read_inputs, with_uploads
from orchestrator_mcp.domain.jobs import is_batch_id, job8
from orchestrator_mcp.domain.views import AcceptedView, JobListView, JobView

_BAD: Final = frozenset({"failed", "cancelled"})
_REFRESH_SECONDS: Final = 1.0
_DELIVERY_SECONDS: Final = 1.5
_LOOK_SECONDS: Final = 0.1


def submit(target: str, changes: Changes, where: Where, *, watch: bool, as_json: bool) -> int:
    """Hand in a job.

    Args:
        target: see `build_manifest`.
        changes: see `build_manifest`.
        where: the server.
        watch: stay until it has ended.
        as_json: print the API's answer; with `watch`, each event of its stream on a line.

    Returns:
        The exit code.
    """
    manifest, inputs = build_manifest(target, changes), read_inputs(changes.inputs)
    return _hand_in("/api/job", manifest, where, inputs=inputs, watch=watch, as_json=as_json)


def rerun(target: str, changes: Changes, where: Where, *, watch: bool, as_json: bool) -> int:
    """Do a job again, exactly or with changes.

    Args:
        target: the id of a job that the server knows; or a file, such as a `result.json` of any farm.
        changes: what is to be otherwise.
        where: the server.
        watch: stay until the new job has ended.
        as_json: as for `submit`.

    Returns:
        The exit code.
    """
    if names_file(target):
        return submit(target, changes, where, watch=watch, as_json=as_json)
    path = f"{job_path(target)}/rerun"
    body, inputs = with_changes({}, changes), read_inputs(changes.inputs)
    return _hand_in(path, body, where, inputs=inputs, watch=watch, as_json=as_json)


def _hand_in(
    path: str, body: dict[str, Any], where: Where, *, inputs: Mapping[str, Path], watch: bool, as_json: bool
) -> int:
    async def work() -> int:
        async with open_api(find_server(where)) as api:
            whole = await printing_refusals(partial(with_uploads, api, body, inputs), as_json=as_json)
            answer = await printing_refusals(partial(api.post, path, whole), as_json=as_json)
            if "batch_id" in api.read(dict[str, Any], answer):
                return await batches.accepted(api, answer, watch=watch, as_json=as_json)
            accepted = api.read(AcceptedView, answer)
            if as_json and not watch:
                print_json(answer)
            else:
                for warning in accepted.warnings:
                    say(f"Note: {warning}")
            if watch:
                return await _watch(api, accepted.job_id, as_json=as_json)
            if not as_json:
                sys.stdout.write(f"{accepted.job_id}\n")
                say(f"Accepted. Follow it with: orchestrator-mcp status {accepted.job_id} --watch")
            return ExitCode.OK

    return anyio.run(work)


def status(job_id: str | None, where: Where, *, watch: bool, states: Sequence[str], limit: int, as_json: bool) -> int:
    """Show a job, or the newest ones.

    Args:
        job_id: the job; None shows a table of the newest.
        where: the server.
        watch: a job: stay until it has ended; the table: renew it until Ctrl-C.
        states: in the table, only jobs in these.
        limit: how many rows the table has at most.
        as_json: print the API's answer.

    Returns:
        The exit code: for one job it tells whether the job failed or was cancelled.
    """

    async def work() -> int:
        async with open_api(find_server(where)) as api:
            if job_id is None:
                return await _list(api, watch=watch, states=states, limit=limit, as_json=as_json)
            if is_batch_id(job_id):
                look = batches.watch_batch if watch else batches.show_batch
                return await look(api, job_id, as_json=as_json)
            if watch:
                return await _watch(api, job_id, as_json=as_json)
            answer = await printing_refusals(partial(api.get, job_path(job_id)), as_json=as_json)
            job = api.read(JobView, answer)
            if as_json:
                print_json(answer)
            else:
                paint(job_details(job))
            return _code_of(job)

    return anyio.run(work)


def cancel(job_ids: Sequence[str], where: Where, *, as_json: bool) -> int:
    """Cancel jobs.

    Args:
        job_ids: the jobs.
        where: the server.
        as_json: print the API's answers, one a line.

    Returns:
        The exit code: that one of them could not be cancelled, too.
    """

    async def work() -> int:
        code = ExitCode.OK
        async with open_api(find_server(where)) as api:
            for job_id in job_ids:
                try:
                    of_batch = is_batch_id(job_id)
                    answer = await (
                        batches.cancel_batch(api, job_id, as_json=as_json) if of_batch else api.delete(job_path(job_id))
                    )
                except RefusedError as error:
                    code = ExitCode.FAILED
                    say_error(error)
                    answer = error.body
                else:
                    if not as_json and not of_batch:
                        sys.stdout.write(f"{job_id}: {_cancel_words(api, answer)}\n")
                if as_json:
                    print_json(answer)
        return code

    return anyio.run(work)


def _cancel_words(api: Api, answer: str) -> str:
    job = api.read(JobView, answer)
    return "cancelled" if job.status == "cancelled" else f"will be cancelled ({job_words(job)})"


async def _list(api: Api, *, watch: bool, states: Sequence[str], limit: int, as_json: bool) -> int:
    console = Console()
    if watch and (as_json or not console.is_terminal):
        raise UsageError("The table renews itself only on a terminal.", hint="Name a JOB with --watch.")
    ask = partial(api.get, "/api/jobs", limit=limit, status=",".join(states) or None)
    if not watch:
        answer = await printing_refusals(ask, as_json=as_json)
        page = api.read(JobListView, answer)
        if as_json:
            print_json(answer)
        else:
            paint(job_table(page.jobs))
        return ExitCode.OK
    clock = SystemClock()
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            live.update(job_table(api.read(JobListView, await ask()).jobs), refresh=True)
            await clock.sleep(_REFRESH_SECONDS)


async def _watch(api: Api, job_id: str, *, as_json: bool) -> int:
    clock = SystemClock()
    try:
        if as_json:
            job = await follow(api, job_id, clock, lambda event: print_json(event.model_dump_json()))
            return _code_of(job)
        board = board_for(Console(highlight=False))
        with board.showing():
            job = await follow(api, job_id, clock, partial(board.show, job8(job_id)))
    except anyio.get_cancelled_exc_class():  # Ctrl-C
        say(f"The job goes on. Come back with: orchestrator-mcp status {job_id} --watch")
        raise
    paint(job_details(await _delivered(api, job, clock)))
    return _code_of(job)


async def _delivered(api: Api, job: JobView, clock: Clock) -> JobView:
    """The job with the paths of its copies in Outbox, if they come within a moment."""
    with anyio.move_on_after(_DELIVERY_SECONDS):
        while job.outputs and job.outputs[0].path is None:
            await clock.sleep(_LOOK_SECONDS)
            job = api.read(JobView, await api.get(job_path(job.job_id)))
    return job


def _code_of(job: JobView) -> int:
    return ExitCode.FAILED if job.status in _BAD else ExitCode.OK
