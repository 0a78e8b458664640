"""Whose turn it is among sources: of those that have something, the one that was served least."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Final

from orchestrator_mcp.domain.backlog import Backlog, Fits, Queue
from orchestrator_mcp.domain.situation import Lane

_Entry = tuple[float, int, str, Queue]


class Order:
    """Some queues, one for each source, least served first; shared by all backends.

    Where a source stands only ever rises in a round, so an entry is put right when somebody comes to it.

    Args:
        queues: one for each source.
        backlog: knows where sources stand.
    """

    def __init__(self, queues: Iterable[Queue], backlog: Backlog) -> None:
        self._tags: Final = backlog.tags
        self._entries: list[_Entry] = sorted((self._tags[q.source], q.eldest, q.source, q) for q in queues)

    def __iter__(self) -> Iterator[tuple[float, Queue]]:
        entries, tags = self._entries, self._tags
        at = 0
        while at < len(entries):
            tag, eldest, source, queue = entries[at]
            if tag == tags[source]:
                yield tag, queue
                at += 1
            else:
                del entries[at]
                insort(entries, (tags[source], eldest, source, queue), lo=at)


class Turns:
    """Whose turn it is for backends that can run the same.

    Args:
        order: of the sources.
        backlog: what is left.
        fits: whether these backends can run a lane.
    """

    def __init__(self, order: Order, backlog: Backlog, fits: Fits) -> None:
        self._order = order
        self._backlog = backlog
        self._fits = fits
        self._next: dict[str, int] = {}

    def first(self) -> tuple[float, Queue] | None:
        """The source that was served least of those that have something for them, and where it stands."""
        return next(self.in_order(), None)

    def in_order(self) -> Iterator[tuple[float, Queue]]:
        """The sources that have something for them, least served first; nothing may be taken meanwhile."""
        return ((tag, queue) for tag, queue in self._order if self.head(queue) is not None)

    def head(self, queue: Queue) -> Lane | None:
        """Its first lane that these backends can run; what is passed here never comes back in this round."""
        at = self._next.get(queue.source, 0)
        lanes = queue.lanes
        while at < len(lanes) and not (self._backlog.open(lanes[at]) and self._fits(lanes[at])):
            at += 1
        self._next[queue.source] = at
        return lanes[at] if at < len(lanes) else None

    def lanes(self, queue: Queue) -> Iterator[Lane]:
        """What these backends can run of a source, in order."""
        if self.head(queue) is None:
            return
        lanes = queue.lanes
        for at in range(self._next[queue.source], len(lanes)):
            if self._backlog.open(lanes[at]) and self._fits(lanes[at]):
                yield lanes[at]
