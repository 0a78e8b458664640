"""Which models are being served: a backend works at them now, and will soon take the next job.

A job whose model is served is not passed over, however long it waits: its turn comes in the order of arrival. Without
this, the jobs of a long batch would look neglected after a minute, and models would be loaded to help where nothing
was wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from orchestrator_mcp.domain.situation import Candidate, Lane


class Group(Protocol):
    """Backends that can run the same."""

    def fits(self, lane: Lane) -> bool:
        """Whether they can run a lane."""


_Group = TypeVar("_Group", bound=Group)


class Serving(Generic[_Group]):
    """Who serves which model, in one round.

    Args:
        candidates: every backend.
        group_of: backend -> those that can run the same.
        now: milliseconds.
        soon: a backend that is free again within so many milliseconds goes on serving its model.

    Attributes:
        changes: how often it has changed who serves a model.
    """

    def __init__(self, candidates: Iterable[Candidate], group_of: Mapping[str, _Group], now: int, soon: int) -> None:
        self._group_of = group_of
        self._now, self._soon = now, soon
        self._groups: defaultdict[str, Counter[_Group]] = defaultdict(Counter)
        self._serves: dict[str, str] = {}
        self.changes = 0
        for candidate in candidates:
            if candidate.warm and self._goes_on(candidate):
                self._add(candidate, candidate.warm)

    def _goes_on(self, candidate: Candidate) -> bool:
        if candidate.unavailable is not None:
            return False
        if not candidate.running or self._now - candidate.given < self._soon:
            return True
        return candidate.holding is not None and 1000 * candidate.left(self._now) <= self._soon

    def _add(self, candidate: Candidate, model: str) -> None:
        self._serves[candidate.backend_id] = model
        self._count(candidate, model, 1)

    def _count(self, candidate: Candidate, model: str, difference: int) -> None:
        groups, group = self._groups[model], self._group_of[candidate.backend_id]
        before = groups[group]
        groups[group] = before + difference
        if not groups[group]:
            del groups[group]
        if not before or group not in groups:
            self.changes += 1

    def given(self, lane: Lane, candidate: Candidate) -> None:
        """A backend was given a job: it serves that model, and no other."""
        model, before = lane.spec.model_key, self._serves.get(candidate.backend_id)
        if model == before:
            return
        if before is not None:
            self._count(candidate, self._serves.pop(candidate.backend_id), -1)
        if model:
            self._add(candidate, model)

    def left_by(self, lanes: Mapping[str, Lane], model: str) -> Iterator[str]:
        """The kinds of need that none of those who serve a model can run.

        Args:
            lanes: a lane for each kind of need for the model.
            model: which.
        """
        groups = self._groups.get(model, ())
        return (kind for kind, lane in lanes.items() if not any(group.fits(lane) for group in groups))

    def by_another(self, lane: Lane, candidate: Candidate) -> bool:
        """Whether another backend serves a lane's model and can run the lane."""
        model = lane.spec.model_key
        own = self._group_of[candidate.backend_id] if self._serves.get(candidate.backend_id) == model else None
        groups = self._groups.get(model, Counter())
        return any(count > (group is own) and group.fits(lane) for group, count in groups.items())
