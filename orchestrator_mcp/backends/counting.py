"""Whose prompts are in a backend's queue: ours, or somebody else's who uses it by hand."""

from __future__ import annotations

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.errors import AnswerTooLargeError


async def count_foreign(backend: Backend) -> int:
    """Look how many prompts a backend has, and tell how many of them are not ours.

    The cheap question gives only their number. Those of ours may be on their way, or have just ended: so it is taken
    for somebody else's what cannot be ours, and where that is not clear, the queue itself is looked at.

    Args:
        backend: one that answers; its `queue_remaining` is renewed.

    Raises:
        BackendError: it does not answer.
    """
    before = backend.most_own
    remaining = backend.queue_remaining = await backend.client.queue_remaining()
    least = max(0, remaining - max(before, backend.most_own))
    if backend.sharing.foreign <= least or remaining == least:
        return least
    try:
        queue = await backend.client.queue()
    except AnswerTooLargeError:
        return min(backend.sharing.foreign, remaining)
    ours = backend.own_prompts
    return sum(prompt.prompt_id not in ours for prompt in (*queue.running, *queue.pending))
