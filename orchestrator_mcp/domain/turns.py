"""Whose turn it is among sources: of those that have something, the one that was served least."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

from orchestrator_mcp.domain.backlog import Backlog, Queue
from orchestrator_mcp.domain.situation import Lane

_One = TypeVar("_One")
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
        kinds: the kinds of need that these backends can be given.

    Attributes:
        kinds: the same.
    """

    def __init__(self, order: Order, backlog: Backlog, kinds: frozenset[str]) -> None:
        self._order = order
        self._backlog = backlog
        self.kinds = kinds
        self._next: dict[str, int] = {}
        self._done: set[str] = set()
        self._empty = not kinds

    def first(self) -> tuple[float, Lane] | None:
        """The lane whose turn it is, and where its source stands, which was served least of those that have one."""
        if self._empty:
            return None
        for tag, queue in self._order:
            lane = self.head(queue)
            if lane is not None:
                return tag, lane
        self._empty = True
        return None

    def sources(self) -> Iterator[str]:
        """Who has something for them, least served first; nothing may be taken meanwhile."""
        if self._empty:
            return iter(())
        return (queue.source for _, queue in self._order if self._serves(queue))

    def lanes(self) -> Iterator[tuple[float, Lane]]:
        """All that they can run, and where its source stands, in order; nothing may be taken meanwhile."""
        if self._empty:
            return
        kinds, is_open = self.kinds, self._backlog.open
        for tag, queue in self._order:
            if (head := self.head(queue)) is None:
                continue
            yield tag, head
            lanes = queue.lanes
            for at in range(self._next[queue.source] + 1, len(lanes)):
                if lanes[at].spec.kind in kinds and is_open(lanes[at]):
                    yield tag, lanes[at]

    def _serves(self, queue: Queue) -> bool:
        """Whether they can run anything of it; to put thousands of lanes in order for that would cost more."""
        source = queue.source
        if source in self._done:
            return False
        lanes, kinds, is_open = queue.any_order, self.kinds, self._backlog.open
        for at in range(self._next.get(source, 0), len(lanes)):
            if lanes[at].spec.kind in kinds and is_open(lanes[at]):
                return True
        self._done.add(source)
        return False

    def head(self, queue: Queue) -> Lane | None:
        """Its first lane that these backends can run; what is passed here never comes back in this round."""
        source = queue.source
        if source in self._done:
            return None
        lanes, kinds, is_open = queue.lanes, self.kinds, self._backlog.open
        for at in range(self._next.get(source, 0), len(lanes)):
            lane = lanes[at]
            if lane.spec.kind in kinds and is_open(lane):
                self._next[source] = at
                return lane
        self._done.add(source)
        return None


class Replayed(Generic[_One]):
    """An iterator that is asked for only as far as somebody looks, and may be looked at again from its beginning.

    Args:
        source: asked for each thing once.
    """

    def __init__(self, source: Iterator[_One]) -> None:
        self._source = source
        self._seen: list[_One] = []

    def __iter__(self) -> Iterator[_One]:
        yield from self._seen
        for one in self._source:
            self._seen.append(one)
            yield one
