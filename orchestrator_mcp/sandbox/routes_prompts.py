"""Routes for prompts: taking them, the queue, the history, and stopping."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator_mcp.sandbox.exchange import json_answer, json_body, plain, server_of, trouble
from orchestrator_mcp.sandbox.prompts import Prompt
from orchestrator_mcp.sandbox.server import SandboxServer
from orchestrator_mcp.sandbox.validation import GraphCheck, refusal

_OWN_IDS_SINCE = (0, 3, 45)
_CANONICAL_IDS_SINCE = (0, 25, 0)
_TARGETED_INTERRUPT_SINCE = (0, 3, 57)


class _InvalidPromptId(Exception):
    """A newer server refuses a prompt id that is no canonical uuid."""


async def _queue_remaining(request: Request) -> Response:
    return json_answer(server_of(request).status())


async def _take_prompt(request: Request) -> Response:
    server = server_of(request)
    body = await json_body(request)
    delay = server.faults.number("prompt-delay")
    if delay is not None:
        await server.clock.sleep(delay / 1000)
    if server.faults.on("prompt-refuse-500"):
        return trouble()
    answer = _judge(server, body)
    if answer.status_code == 200 and server.faults.on("prompt-drop"):
        server.cut(request.scope.get("client"))
    if answer.status_code == 200 and server.faults.on("prompt-500"):
        return trouble()
    return answer


def _judge(server: SandboxServer, body: Any) -> Response:
    number = _number(server, body)
    if "prompt" not in body:
        error = refusal("no_prompt", "No prompt provided", "No prompt provided")
        return json_answer({"error": error, "node_errors": {}}, 400)
    try:
        prompt_id = _prompt_id(server, body)
    except _InvalidPromptId:
        error = refusal("invalid_prompt_id", "Invalid prompt_id", "prompt_id must be a canonical UUID")
        return json_answer({"error": error, "node_errors": {}}, 400)
    graph = body["prompt"]
    check = GraphCheck(
        graph,
        choices=server.choices,
        picture_check=server.folders.wrong_picture,
        without=server.options.without,
    )
    verdict = check.verdict(body.get("partial_execution_targets"))
    extra = body.get("extra_data", {})
    if "client_id" in body:
        extra["client_id"] = body["client_id"]
    if verdict.error is not None:
        return json_answer({"error": verdict.error, "node_errors": verdict.node_errors}, 400)
    server.accept(Prompt(number, prompt_id, graph, extra, verdict.outputs))
    return json_answer({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})


def _number(server: SandboxServer, body: Any) -> float:
    """Draw the place in the queue; even a prompt that is refused later uses a number up."""
    if "number" in body:
        return float(body["number"])
    number = -server.next_number if body.get("front") else server.next_number
    server.next_number += 1
    return number


def _prompt_id(server: SandboxServer, body: dict[str, Any]) -> str:
    given = body.get("prompt_id")
    if given is None or server.version < _OWN_IDS_SINCE:
        return str(uuid.uuid4())
    prompt_id = str(given)
    if server.version >= _CANONICAL_IDS_SINCE and not _canonical(prompt_id):
        raise _InvalidPromptId
    return prompt_id


def _canonical(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


async def _queue(request: Request) -> Response:
    return json_answer(server_of(request).queue.listing())


async def _change_queue(request: Request) -> Response:
    queue = server_of(request).queue
    body = await json_body(request)
    if body.get("clear"):
        queue.clear()
    for prompt_id in body.get("delete", ()):
        queue.delete(prompt_id)
    return plain(200)


async def _history(request: Request) -> Response:
    query = request.query_params
    max_items = int(query["max_items"]) if "max_items" in query else None
    offset = int(query["offset"]) if "offset" in query else -1
    return json_answer(server_of(request).queue.ended(max_items, offset))


async def _history_of(request: Request) -> Response:
    prompt_id = request.path_params["prompt_id"]
    history = server_of(request).queue.history
    return json_answer({prompt_id: history[prompt_id]} if prompt_id in history else {})


async def _change_history(request: Request) -> Response:
    history = server_of(request).queue.history
    body = await json_body(request)
    if body.get("clear"):
        history.clear()
    for prompt_id in body.get("delete", ()):
        history.pop(prompt_id, None)
    return plain(200)


async def _interrupt(request: Request) -> Response:
    server = server_of(request)
    try:
        body = await json_body(request)
    except ValueError:
        body = {}
    prompt_id = body.get("prompt_id") if isinstance(body, dict) else None
    running = server.queue.running
    targeted = bool(prompt_id) and server.version >= _TARGETED_INTERRUPT_SINCE
    if not targeted or (running is not None and running.prompt_id == prompt_id):
        server.interrupt()
    return plain(200)


async def _free(request: Request) -> Response:
    body = await json_body(request)
    server = server_of(request)
    server.free(**{key: True for key in ("unload_models", "free_memory") if body.get(key)})
    return plain(200)


PROMPT_ROUTES = [
    Route("/prompt", _queue_remaining),
    Route("/prompt", _take_prompt, methods=["POST"]),
    Route("/queue", _queue),
    Route("/queue", _change_queue, methods=["POST"]),
    Route("/history", _history),
    Route("/history", _change_history, methods=["POST"]),
    Route("/history/{prompt_id}", _history_of),
    Route("/interrupt", _interrupt, methods=["POST"]),
    Route("/free", _free, methods=["POST"]),
]
