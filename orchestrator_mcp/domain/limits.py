"""Named limits: at most so many jobs of a sort at once, whatever is free. For licences, memory, or one big model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from orchestrator_mcp.domain.lanes import LaneSpec


@dataclass(frozen=True, kw_only=True)
class Limit:
    """At most `most` jobs at once.

    Attributes:
        name: what callers are told.
        most: how many may run or stand by at once; 0 stops them.
        label: jobs that require this label count; None for none.
        model: jobs that load a model file of this name count; `*` and `?` stand for anything; None for none.
        workflow: jobs with this workflow id count, likewise.
        source: jobs of this source count; None for none.
    """

    name: str
    most: int
    label: str | None = None
    model: str | None = None
    workflow: str | None = None
    source: str | None = None

    def names(self, workflow_id: str) -> bool:
        """Whether it counts the jobs of a workflow."""
        return self.workflow is not None and fnmatchcase(workflow_id.casefold(), self.workflow.casefold())

    def counts(self, spec: LaneSpec) -> bool:
        """Whether the jobs of a lane count against it."""
        if self.label is not None and self.label.casefold() in {label.casefold() for label in spec.capabilities}:
            return True
        if self.source is not None and self.source == spec.source:
            return True
        if spec.workflow and self.names(spec.workflow):
            return True
        if self.model is None:
            return False
        wanted = self.model.casefold()
        return any(fnmatchcase(file.name.casefold(), wanted) for file in spec.requirements.models)


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """How many jobs may wait.

    Attributes:
        total: of everybody; None for any number.
        by_source: how many of a source; `*` is whoever is not named, and without it they have no limit.
        word: what a source is called to callers.
    """

    total: int | None = None
    by_source: Mapping[str, int] = field(default_factory=dict)
    word: str = "source"

    def of(self, source: str) -> int | None:
        """How many jobs of a source may wait; None for any number."""
        return self.by_source.get(source, self.by_source.get("*"))

    def called(self, source: str) -> str:
        """A source in words."""
        return f"the {self.word} {source!a}" if source else f"those without a {self.word}"


NO_LIMITS: Final = QueueLimits()


def rooms(limits: Sequence[Limit], running: Iterable[LaneSpec]) -> Mapping[str, int]:
    """How many more may start now under each limit, by its name; never below 0.

    Args:
        limits: all of them.
        running: the needs of each job that a backend holds.
    """
    left = {limit.name: limit.most for limit in limits}
    for spec in running:
        for limit in limits:
            if limit.counts(spec):
                left[limit.name] -= 1
    return {name: max(0, room) for name, room in left.items()}
