"""Fair shares between sources: who was served least, weighted, goes first (start-time fair queueing)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

MOST_SOURCES: Final = 4_096
"""Beyond so many, whoever was served longest ago is forgotten, and so begins with nobody's advantage."""


class Shares:
    """How far each source has been served, in weighted seconds of work on a backend of pace 1.

    A source that had nothing to do begins where those stand who are served least: nobody saves up a claim by
    staying away, and nobody is made to wait for what others got meanwhile.
    """

    def __init__(self) -> None:
        self._finish: OrderedDict[str, float] = OrderedDict()
        self._floor = 0.0

    def tags(self, waiting: Iterable[str]) -> Mapping[str, float]:
        """Where sources stand now; `Lane.share` of their lanes.

        Args:
            waiting: the sources that have a job queued. Call it with all of them, before each decision.
        """
        sources = set(waiting)
        known = [self._finish[source] for source in sources if source in self._finish]
        if known:
            self._floor = max(self._floor, min(known))
        return {source: max(self._floor, self._finish.get(source, 0.0)) for source in sources}

    def tag(self, source: str) -> float:
        """Where one source stands; not before those who were served least when it was last asked for all."""
        return max(self._floor, self._finish.get(source, 0.0))

    def charge(self, source: str, seconds: float, weight: float = 1.0) -> None:
        """A job of a source was given to a backend.

        Args:
            source: whose it is.
            seconds: what it is expected to take on a backend of pace 1; 1.0 while unknown.
            weight: of the source, above 0.
        """
        self._finish[source] = self.tag(source) + max(0.0, seconds) / weight
        self._finish.move_to_end(source)
        if len(self._finish) > MOST_SOURCES:
            _, finish = self._finish.popitem(last=False)
            self._floor = max(self._floor, min(finish, *self._finish.values()))

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
