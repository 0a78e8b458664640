"""The prompts of one server: those that wait, the one that runs, and those that ended."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

from orchestrator_mcp.sandbox.bell import Bell

HISTORY_LIMIT = 10_000


class Prompt(NamedTuple):
    """A queued prompt, as the wire shows it.

    A tuple, because the queue is a heap of plain tuples: two prompts with the same number and the same id are
    compared by their graphs, which fails, and that failure is one of the things clients must survive.
    """

    number: float
    prompt_id: str
    graph: dict[str, Any]
    extra: dict[str, Any]
    outputs: list[str]


class PromptQueue:
    """A heap of waiting prompts, the running one, and the history; lost at a restart."""

    def __init__(self, *, bell: Bell, changed: Callable[[], None]) -> None:
        """Make an empty queue.

        Args:
            bell: Rung when something arrives.
            changed: Called at each change of what waits or runs.
        """
        self._bell = bell
        self._changed = changed
        self.pending: list[Prompt] = []
        self.running: Prompt | None = None
        self.history: dict[str, dict[str, Any]] = {}

    def put(self, prompt: Prompt) -> None:
        """Queue a prompt.

        Args:
            prompt: The prompt; duplicates of an id are taken.

        Raises:
            TypeError: If number and id equal those of another one; the prompt is queued nevertheless.
        """
        heapq.heappush(self.pending, prompt)
        self._bell.ring()
        self._changed()

    async def take(self, *, blocked: Callable[[], bool]) -> Prompt:
        """Wait for the next prompt and call it running.

        Args:
            blocked: Whether nothing may be taken now.

        Raises:
            TypeError: If two prompts tie on number and id; the worker dies of it.
        """
        await self._bell.until(lambda: bool(self.pending) and not blocked())
        self.running = heapq.heappop(self.pending)
        self._changed()
        return self.running

    def finish(self, entry: dict[str, Any], *, forget: bool) -> None:
        """Move the running prompt to the history.

        Args:
            entry: The outputs, status and meta.
            forget: Whether the history loses it at once.
        """
        prompt = self.running
        self.running = None
        if prompt is not None and not forget:
            if len(self.history) > HISTORY_LIMIT:
                self.history.pop(next(iter(self.history)))
            self.history[prompt.prompt_id] = {"prompt": list(prompt), **entry}
        self._changed()

    def remaining(self) -> int:
        """Count what waits and runs."""
        return len(self.pending) + (self.running is not None)

    def listing(self) -> dict[str, Any]:
        """Give what ``GET /queue`` shows; the waiting ones in heap order."""
        running = [] if self.running is None else [list(self.running)]
        return {"queue_running": running, "queue_pending": [list(prompt) for prompt in self.pending]}

    def delete(self, prompt_id: str) -> bool:
        """Take one waiting prompt out.

        Args:
            prompt_id: Whose; one match is removed.

        Returns:
            Whether there was one.
        """
        for place, prompt in enumerate(self.pending):
            if prompt.prompt_id == prompt_id:
                self.pending.pop(place)
                heapq.heapify(self.pending)
                self._changed()
                return True
        return False

    def clear(self) -> None:
        """Drop everything that waits."""
        self.pending.clear()
        self._changed()

    def ended(self, max_items: int | None, offset: int) -> dict[str, Any]:
        """List the history in order of completion.

        Args:
            max_items: How many at most; None for all.
            offset: How many to skip; negative counts from the end.
        """
        ids = list(self.history)
        if max_items is not None and offset < 0:
            offset = max(0, len(ids) - max_items)
        end = None if max_items is None else max(offset, 0) + max(max_items, 1)
        return {prompt_id: copy.copy(self.history[prompt_id]) for prompt_id in ids[max(offset, 0) : end]}
