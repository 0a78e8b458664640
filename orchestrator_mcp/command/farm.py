"""The commands about what there is: `backends` and `workflows`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import quote

import anyio
from pydantic import TypeAdapter

from orchestrator_mcp.command.api import Api, Where, find_server, open_api
from orchestrator_mcp.command.ending import ExitCode
from orchestrator_mcp.command.printing import print_json, printing_refusals
from orchestrator_mcp.command.tables import backend_details, backend_table, paint, workflow_details, workflow_table
from orchestrator_mcp.domain.views import BackendView, WorkflowView


def backend_path(backend_id: str) -> str:
    """The path of a backend."""
    return f"/api/backends/{quote(backend_id, safe='')}"


def backends(backend_id: str | None, where: Where, *, as_json: bool) -> int:
    """Show the backends, or one of them in full.

    Args:
        backend_id: the one; None lists all.
        where: the server.
        as_json: print the API's answer.

    Returns:
        The exit code.
    """

    async def work() -> int:
        path = "/api/backends" if backend_id is None else backend_path(backend_id)
        async with open_api(find_server(where)) as api:
            answer = await printing_refusals(partial(api.get, path), as_json=as_json)
            if as_json:
                print_json(answer)
            elif backend_id is None:
                paint(backend_table(api.read(TypeAdapter(list[BackendView]), answer)))
            else:
                paint(backend_details(api.read(BackendView, answer)))
        return ExitCode.OK

    return anyio.run(work)


def operate(action: str, backend_id: str, note: str, where: Where, *, as_json: bool) -> int:
    """Drain, pause, resume, enable or disable a backend, and show it as it is then.

    Args:
        action: which of these.
        backend_id: the backend.
        note: why; may be empty.
        where: the server.
        as_json: print the API's answer.

    Returns:
        The exit code.
    """
    query = f"?note={quote(note, safe='')}" if note else ""
    return _changed(lambda api: api.post(f"{backend_path(backend_id)}/{action}{query}", {}), where, as_json=as_json)


def unblock(backend_id: str, signature: str | None, where: Where, *, as_json: bool) -> int:
    """Forget what failed on a backend, and show it as it is then.

    Args:
        backend_id: the backend.
        signature: only this kind of work; None for all.
        where: the server.
        as_json: print the API's answer.

    Returns:
        The exit code.
    """
    query = f"?signature={quote(signature, safe='')}" if signature is not None else ""
    return _changed(lambda api: api.delete(f"{backend_path(backend_id)}/blocked{query}"), where, as_json=as_json)


def _changed(change: Callable[[Api], Awaitable[str]], where: Where, *, as_json: bool) -> int:
    async def work() -> int:
        async with open_api(find_server(where)) as api:
            answer = await printing_refusals(partial(change, api), as_json=as_json)
            if as_json:
                print_json(answer)
            else:
                paint(backend_details(api.read(BackendView, answer)))
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
