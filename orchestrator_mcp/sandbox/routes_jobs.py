"""The job routes that newer servers have: one look at a prompt, whether it waits, runs or has ended."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator_mcp.sandbox.exchange import json_answer, plain, server_of
from orchestrator_mcp.sandbox.server import SandboxServer

_SINCE = (0, 26, 0)
_ENDINGS = {
    "execution_success": "completed",
    "execution_error": "failed",
    "execution_interrupted": "cancelled",
}


def _jobs(server: SandboxServer) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for prompt_id, entry in server.queue.history.items():
        if "status" not in entry:
            continue  # the fault history-silent: such old servers have no jobs
        last = entry["status"]["messages"][-1][0]
        found[prompt_id] = {
            "id": prompt_id,
            "status": _ENDINGS.get(last, "failed"),
            "priority": entry["prompt"][0],
            "outputs_count": sum(len(items) for ui in entry["outputs"].values() for items in ui.values()),
            "outputs": entry["outputs"],
            "execution_status": entry["status"],
        }
    waiting = [(prompt, "pending") for prompt in sorted(server.queue.pending, key=lambda prompt: prompt[:2])]
    running = [] if server.queue.running is None else [(server.queue.running, "in_progress")]
    for prompt, status in [*running, *waiting]:
        found[prompt.prompt_id] = {
            "id": prompt.prompt_id,
            "status": status,
            "priority": prompt.number,
            "outputs_count": 0,
        }
    return found


async def _list(request: Request) -> Response:
    server = server_of(request)
    if server.version < _SINCE:
        return plain(404, "404: Not Found")
    wanted = request.query_params.get("status")
    jobs = [job for job in _jobs(server).values() if wanted is None or job["status"] in wanted.split(",")]
    offset = int(request.query_params.get("offset", "0"))
    limit = int(request.query_params["limit"]) if "limit" in request.query_params else len(jobs)
    page = jobs[offset : offset + limit]
    shown = [{k: v for k, v in job.items() if k not in ("outputs", "execution_status")} for job in page]
    pagination = {
        "offset": offset,
        "limit": limit,
        "total": len(jobs),
        "has_more": offset + len(page) < len(jobs),
    }
    return json_answer({"jobs": shown, "pagination": pagination})


async def _one(request: Request) -> Response:
    server = server_of(request)
    if server.version < _SINCE:
        return plain(404, "404: Not Found")
    job = _jobs(server).get(request.path_params["prompt_id"])
    return json_answer({"error": "Job not found"}, 404) if job is None else json_answer(job)


async def _cancel(request: Request) -> Response:
    server = server_of(request)
    if server.version < _SINCE:
        return plain(405, "405: Method Not Allowed")
    prompt_id = request.path_params["prompt_id"]
    running = server.queue.running
    if running is not None and running.prompt_id == prompt_id:
        server.interrupt()
        return json_answer({"cancelled": True})
    return json_answer({"cancelled": server.queue.delete(prompt_id)})


JOB_ROUTES = [
    Route("/api/jobs", _list),
    Route("/api/jobs/{prompt_id}", _one),
    Route("/api/jobs/{prompt_id}/cancel", _cancel, methods=["POST"]),
]
