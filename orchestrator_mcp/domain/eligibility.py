"""Which backend can run the jobs of a lane at all, and why not, in words."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile, Requirements
from orchestrator_mcp.domain.situation import Candidate, Catalogue

MOST_REMEMBERED: Final = 8_192
"""Answers kept for each catalogue; beyond that it begins anew."""


def refusal(spec: LaneSpec, candidate: Candidate) -> str | None:
    """Why a backend can never run the jobs of a lane as it is now, in words; None when it can.

    Says nothing of whether it is free or online.
    """
    if spec.pin is not None and spec.pin != candidate.backend_id:
        return f"the job is pinned to {spec.pin}"
    if candidate.backend_id in spec.avoid:
        return "an earlier attempt failed there"
    if (blocked := candidate.block(spec)) is not None:
        return blocked
    if missing := spec.capabilities - candidate.capabilities:
        return f"it lacks the capabilities {', '.join(sorted(missing))}"
    if candidate.catalogue is None:
        return None
    return _missing(spec.requirements, candidate.catalogue)


def _missing(requirements: Requirements, catalogue: Catalogue) -> str | None:
    classes = sorted(name for name in requirements.node_classes if not catalogue.has_class(name))
    if classes:
        return f"it lacks the node classes {', '.join(classes[:5])}"
    models = sorted(file.name for file in requirements.models if not has_model(catalogue, file))
    if models:
        return f"it lacks the models {', '.join(models[:5])}"
    return None


def has_model(catalogue: Catalogue, file: ModelFile) -> bool:
    """Whether a loader offers the file, whichever way its system spells folders."""
    options = catalogue.options(file.class_type, file.input)
    return options is None or _portable(file.name) in map(_portable, options)


def _portable(name: str) -> str:
    return name.replace("\\", "/")


def waiting_reasons(
    spec: LaneSpec, candidates: Iterable[Candidate], *, limits: Sequence[str] = (), left_idle: Container[str] = ()
) -> Iterator[tuple[str | None, str]]:
    """Why a queued job of a lane waits: one reason for each backend, in words.

    Args:
        spec: what its jobs need.
        candidates: every backend.
        limits: the named limits that are reached and hold them back.
        left_idle: backends that the last decision left idle although they could take it.
    """
    empty = True
    reached = f"the limit {', '.join(sorted(limits))} is reached: as many such jobs run as may"
    for candidate in candidates:
        empty = False
        if (reason := refusal(spec, candidate)) is not None:
            yield candidate.backend_id, reason
        elif candidate.unavailable is not None:
            yield candidate.backend_id, candidate.unavailable
        elif candidate.catalogue is None:
            yield candidate.backend_id, "it has not yet said which nodes and models it has"
        elif limits:
            yield candidate.backend_id, reached
        elif candidate.running >= candidate.slots:
            yield candidate.backend_id, f"it is busy with {candidate.running} of ours"
        elif candidate.backend_id in left_idle:
            yield candidate.backend_id, "it is free, but others will have done it sooner than it would"
        else:
            yield candidate.backend_id, "it is free; the next job that it can run goes to it"
    if empty:
        yield None, "no backend is configured"


class Eligibility:
    """Remembers which catalogue has what a graph needs, for as long as the catalogue lives.

    A catalogue never changes once it is read, so an answer stays true. Keep one of these from decision to decision.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Catalogue, dict[Requirements, bool]] = WeakKeyDictionary()

    def can_run(self, spec: LaneSpec, candidate: Candidate) -> bool:
        """Whether a backend has said that it has all that a lane needs.

        Args:
            spec: what its jobs need.
            candidate: the backend; one that has said nothing yet can run nothing.
        """
        catalogue = candidate.catalogue
        if catalogue is None or not spec.capabilities <= candidate.capabilities:
            return False
        if candidate.block(spec) is not None:
            return False
        if candidate.backend_id in spec.avoid or spec.pin not in (None, candidate.backend_id):
            return False
        return self._has(catalogue, spec.requirements)

    def _has(self, catalogue: Catalogue, requirements: Requirements) -> bool:
        answers = self._known.setdefault(catalogue, {})
        answer = answers.get(requirements)
        if answer is None:
            if len(answers) >= MOST_REMEMBERED:
                answers.clear()
            answer = answers[requirements] = _missing(requirements, catalogue) is None
        return answer
