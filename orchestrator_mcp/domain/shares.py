"""Fair shares between sources: who was served least, weighted, goes first (start-time fair queueing)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

MOST_SOURCES: Final = 4_096
"""Beyond so many, whoever was served longest ago is forgotten, and so begins with nobody's advantage."""


class Shares:
    """How far each source has been served, in weighted seconds of work on a backend of pace 1.

    A source that had nothing queued begins where the one stands that was served least of those who had: nobody
    saves up a claim by staying away, and nobody is made to wait for what others got meanwhile.
    """

    def __init__(self) -> None:
        self._finish: OrderedDict[str, float] = OrderedDict()
        self._waiting: frozenset[str] = frozenset()
        self._floor = 0.0

    def tags(self, waiting: Iterable[str]) -> Mapping[str, float]:
        """Where sources stand that have a job queued now; `Lane.share` of their lanes."""
        return {source: self._tag(source) for source in waiting}

    def saw(self, waiting: Iterable[str]) -> None:
        """Learn who had a job queued at the last decision.

        Args:
            waiting: all of them, also those who were given all that they had.
        """
        sources = frozenset(waiting)
        for source in sources - self._waiting:
            self._finish[source] = self._tag(source)
        if sources:
            self._floor = max(self._floor, min(self._finish[source] for source in sources))
        self._waiting = sources
        self._forget()

    def charge(self, source: str, seconds: float, weight: float = 1.0) -> None:
        """A job of a source was given to a backend.

        Args:
            source: whose it is.
            seconds: what it is expected to take on a backend of pace 1.
            weight: of the source, above 0.
        """
        self._finish[source] = self._tag(source) + max(0.0, seconds) / weight
        self._finish.move_to_end(source)
        self._forget()

    def settle(self, source: str, expected: float, actual: float, weight: float = 1.0) -> None:
        """A job took something else than was expected, or came back unrendered (`actual` 0.0).

        Args:
            source: whose it is.
            expected: what was charged, seconds.
            actual: what it took, in seconds of a backend of pace 1.
            weight: as it was charged.
        """
        if source in self._finish:
            self._finish[source] += (max(0.0, actual) - max(0.0, expected)) / weight

    def copy(self) -> Shares:
        """The same, to be asked elsewhere while this one goes on."""
        other = Shares()
        other._finish, other._waiting, other._floor = self._finish.copy(), self._waiting, self._floor
        return other

    def _tag(self, source: str) -> float:
        finish = self._finish.get(source, 0.0)
        return finish if source in self._waiting and source in self._finish else max(self._floor, finish)

    def _forget(self) -> None:
        while len(self._finish) > max(MOST_SOURCES, len(self._waiting)):
            source, finish = self._finish.popitem(last=False)
            if source in self._waiting:
                self._finish[source] = finish
