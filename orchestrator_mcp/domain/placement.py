"""The pure choice: which lane's next job goes to which backend. No I/O, no await, no clock.

A backend renders one prompt at a time. A second slot is a *standby*: a prompt that waits in the backend's own queue
and closes the gap between two renders. It is given only when no idle backend could take the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile

AGEING: Final = 60_000  # milliseconds of waiting that are worth one step of priority


class Catalogue(Protocol):
    """What a backend said it has (`/object_info`)."""

    def has_class(self, name: str) -> bool:
        """Whether it knows the node class."""

    def options(self, class_type: str, input_name: str) -> tuple[str, ...] | None:
        """The values that a combo input takes, or None when it is no combo."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A lane with work, as the store sees it now.

    Attributes:
        id: the lane's row.
        spec: what its jobs need.
        priority: of the job at its head.
        since: when that job was submitted, milliseconds.
        count: how many jobs it holds.
    """

    id: int
    spec: LaneSpec
    priority: int
    since: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backend as placement sees it: a snapshot, free of locks.

    Attributes:
        backend_id: its id.
        epoch: the lease under which jobs are dispatched to it.
        unavailable: why it takes nothing now (offline, disabled, …), or None.
        capabilities: its labels.
        slots: 1, or 2 with a standby.
        running: attempts that it holds now.
        catalogue: its nodes and models; None while unknown.
        warm: the model key of its last render.
        sandbox: whether it renders slates.
    """

    backend_id: str
    epoch: int
    unavailable: str | None
    capabilities: frozenset[str]
    slots: int
    running: int
    catalogue: Catalogue | None
    warm: str = ""
    sandbox: bool = False

    @property
    def idle(self) -> bool:
        return self.unavailable is None and self.running == 0

    @property
    def standing_by(self) -> bool:
        """It renders, and has room for a standby."""
        return self.unavailable is None and 0 < self.running < self.slots


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The next `count` jobs of a lane go to a backend."""

    lane_id: int
    backend_id: str
    count: int = 1


def refusal(spec: LaneSpec, candidate: Candidate) -> str | None:
    """Why a backend can never run the jobs of a lane as it is now, in words; None when it can.

    Says nothing of whether it is free or online.
    """
    if spec.pin is not None and spec.pin != candidate.backend_id:
        return f"the job is pinned to {spec.pin}"
    if candidate.backend_id in spec.avoid:
        return "an earlier attempt failed there"
    if missing := spec.capabilities - candidate.capabilities:
        return f"it lacks the capabilities {', '.join(sorted(missing))}"
    if candidate.catalogue is None:
        return None
    return _missing(spec, candidate.catalogue)


def _missing(spec: LaneSpec, catalogue: Catalogue) -> str | None:
    classes = sorted(name for name in spec.requirements.node_classes if not catalogue.has_class(name))
    if classes:
        return f"it lacks the node classes {', '.join(classes[:5])}"
    models = sorted(file.name for file in spec.requirements.models if not has_model(catalogue, file))
    if models:
        return f"it lacks the models {', '.join(models[:5])}"
    return None


def has_model(catalogue: Catalogue, file: ModelFile) -> bool:
    """Whether a loader offers the file, whichever way its system spells folders."""
    options = catalogue.options(file.class_type, file.input)
    return options is None or _portable(file.name) in map(_portable, options)


def _portable(name: str) -> str:
    return name.replace("\\", "/")


def waiting_reasons(spec: LaneSpec, candidates: Iterable[Candidate]) -> Iterator[tuple[str | None, str]]:
    """Why a queued job of a lane waits: one reason for each backend, in words."""
    empty = True
    for candidate in candidates:
        empty = False
        if (reason := refusal(spec, candidate)) is not None:
            yield candidate.backend_id, reason
        elif candidate.unavailable is not None:
            yield candidate.backend_id, candidate.unavailable
        elif candidate.catalogue is None:
            yield candidate.backend_id, "it has not yet said which nodes and models it has"
        elif candidate.running >= candidate.slots:
            yield candidate.backend_id, f"it is busy with {candidate.running} of ours"
        else:
            yield candidate.backend_id, "it is free; the next job that it can run goes to it"
    if empty:
        yield None, "no backend is configured"


def choose(lanes: Sequence[Lane], candidates: Sequence[Candidate], now: int) -> list[Choice]:
    """Give free slots to the heads of lanes.

    Args:
        lanes: those with work.
        candidates: every backend.
        now: milliseconds since the Unix epoch.

    Returns:
        What to claim, in this order; never more jobs than slots, never a backend that cannot run the lane.
    """
    ordered = sorted(lanes, key=lambda lane: (-_urgency(lane, now), lane.since, lane.id))
    left = {lane.id: lane.count for lane in ordered}
    idle = [candidate for candidate in candidates if candidate.idle]
    choices = list(_share_out(ordered, left, idle))
    standby = [candidate for candidate in candidates if candidate.standing_by]
    if taken := {choice.backend_id for choice in choices}:
        idle = [candidate for candidate in idle if candidate.backend_id not in taken]
    hungry = [lane for lane in ordered if left[lane.id] and not any(_fits(lane, candidate) for candidate in idle)]
    return choices + list(_share_out(hungry, left, standby))


def _urgency(lane: Lane, now: int) -> float:
    return lane.priority + max(0, now - lane.since) / AGEING


def _fits(lane: Lane, candidate: Candidate) -> bool:
    return candidate.catalogue is not None and refusal(lane.spec, candidate) is None


def _share_out(lanes: Sequence[Lane], left: dict[int, int], free: Sequence[Candidate]) -> Iterator[Choice]:
    """One job a lane in turn, until no lane has a job that a free backend can take."""
    open_lanes = list(lanes)
    remaining = list(free)
    while open_lanes and remaining:
        still_open = []
        for lane in open_lanes:
            if not left[lane.id]:
                continue
            fitting = [candidate for candidate in remaining if _fits(lane, candidate)]
            if not fitting:
                continue
            best = min(fitting, key=lambda candidate: (candidate.warm != lane.spec.model_key, candidate.backend_id))
            remaining.remove(best)
            left[lane.id] -= 1
            still_open.append(lane)
            yield Choice(lane_id=lane.id, backend_id=best.backend_id)
        open_lanes = still_open
