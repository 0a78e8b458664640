"""The commands about what there is: `backends` and `workflows`."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

import anyio
from pydantic import TypeAdapter

from orchestrator_mcp.command.api import Where, find_server, open_api
from orchestrator_mcp.command.ending import ExitCode
from orchestrator_mcp.command.printing import print_json, printing_refusals
from orchestrator_mcp.command.tables import backend_table, paint, workflow_details, workflow_table
from orchestrator_mcp.domain.views import BackendView, WorkflowView


def backends(where: Where, *, as_json: bool) -> int:
    """Show the backends.

    Args:
        where: the server.
        as_json: print the API's answer.

    Returns:
        The exit code.
    """

    async def work() -> int:
        async with open_api(find_server(where)) as api:
            answer = await printing_refusals(partial(api.get, "/api/backends"), as_json=as_json)
            views = api.read(TypeAdapter(list[BackendView]), answer)
        if as_json:
            print_json(answer)
        else:
            paint(backend_table(views))
        return ExitCode.OK

    return anyio.run(work)


def workflows(workflow_id: str | None, where: Where, *, as_json: bool) -> int:
    """Show the workflows, or the parameters of one.

    Args:
        workflow_id: the one; None lists all.
        where: the server.
        as_json: print the API's answer.

    Returns:
        The exit code.
    """

    async def work() -> int:
        path = "/api/workflows" if workflow_id is None else f"/api/workflows/{quote(workflow_id, safe='')}"
        async with open_api(find_server(where)) as api:
            answer = await printing_refusals(partial(api.get, path), as_json=as_json)
            if as_json:
                print_json(answer)
            elif workflow_id is None:
                paint(workflow_table(api.read(TypeAdapter(list[WorkflowView]), answer)))
            else:
                paint(workflow_details(api.read(WorkflowView, answer)))
        return ExitCode.OK

    return anyio.run(work)
