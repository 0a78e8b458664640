"""What a backend still holds of us that nobody waits for, and whether a sick one looks well again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.backends.queues import QueuedPrompt
from orchestrator_mcp.errors import BackendError

log = logging.getLogger(__name__)


async def clear_abandoned(backend: Backend) -> None:
    """Stop the prompts that we gave up on and that are still there; forget those that are gone.

    Their jobs went elsewhere while the backend was out of reach or did not obey; nobody fetches what they make.

    Args:
        backend: one that answers.

    Raises:
        BackendError: it does not answer after all.
    """
    queue = await backend.client.queue()
    for prompt_id, marker in list(backend.abandoned.items()):
        pending = _found(queue.pending, prompt_id, marker)
        running = _found(queue.running, prompt_id, marker)
        if pending is not None:
            log.info("deleting the abandoned prompt %s", pending.prompt_id)
            await backend.client.delete_queued(pending.prompt_id)
        elif running is not None:
            await backend.client.cancel_running(running.prompt_id)
        else:
            log.debug("the abandoned prompt %s is gone", prompt_id)
            backend.abandoned.pop(prompt_id, None)


async def still_sick(backend: Backend) -> str | None:
    """Why a trial would be in vain, in words; None when one makes sense.

    Args:
        backend: one whose breaker is open.

    Raises:
        BackendError: it does not answer.
    """
    if backend.abandoned:
        return "it still holds a prompt that was told to stop"
    queue = await backend.client.queue()
    if queue.pending and not queue.running:
        return "it holds prompts and runs none"
    return None


async def still_warm(backend: Backend) -> str:
    """The models that our last render before this start has left in a backend's memory.

    Args:
        backend: one that answers; it is asked once.

    Returns:
        Nothing if it restarted since, rendered something else, or does not say.
    """
    left, backend.left = backend.left, None
    if left is None:
        return ""
    try:
        newest = await backend.client.newest_prompt()
    except BackendError as error:
        log.info("it is not known what the backend has in memory: %s", error.message)
        return ""
    return left.model_key if newest == left.prompt_id else ""


def _found(prompts: tuple[QueuedPrompt, ...], prompt_id: str, marker: Mapping[str, Any]) -> QueuedPrompt | None:
    return next((prompt for prompt in prompts if prompt.prompt_id == prompt_id or prompt.marker == marker), None)
