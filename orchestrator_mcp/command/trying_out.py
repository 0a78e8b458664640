"""`submit --dry-run`: what a job would be, and which backends could render it; nothing is queued."""

from __future__ import annotations

from functools import partial

import anyio

from orchestrator_mcp.command.api import Where, find_server, open_api
from orchestrator_mcp.command.ending import ExitCode, say
from orchestrator_mcp.command.manifest import Changes, build_manifest
from orchestrator_mcp.command.printing import print_json, printing_refusals
from orchestrator_mcp.command.tables import paint, prospect_table
from orchestrator_mcp.command.uploading import read_inputs, with_uploads
from orchestrator_mcp.domain.dry_runs import DryRunView


def try_out(target: str, changes: Changes, where: Where, *, as_json: bool) -> int:
    """Try a job without queueing it.

    Args:
        target: see `build_manifest`.
        changes: see `build_manifest`.
        where: the server.
        as_json: print the API's answer, the graph with every value included.

    Returns:
        The exit code: a job that would be refused is refused.
    """
    manifest, inputs = build_manifest(target, changes), read_inputs(changes.inputs)

    async def work() -> int:
        async with open_api(find_server(where)) as api:
            whole = await printing_refusals(partial(with_uploads, api, manifest, inputs), as_json=as_json)
            answer = await printing_refusals(partial(api.post, "/api/job?dry_run=1", whole), as_json=as_json)
            if as_json:
                print_json(answer)
            else:
                _show(api.read(DryRunView, answer))
            return ExitCode.OK

    return anyio.run(work)


def _show(view: DryRunView) -> None:
    for warning in view.warnings:
        say(f"Note: {warning}")
    paint(prospect_table(view.backends))
    say("It would wait in the queue." if view.would_wait else "It would begin at once.")
    say("Nothing was queued. With --json the whole graph is shown.")
