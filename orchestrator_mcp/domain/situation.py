"""What placement is told: lanes with work, backends as they are now, and what it answers. Snapshots, free of locks.

What is measured comes in as numbers: a lane says how long its next job takes on a backend of pace 1, a backend says
its pace and what it takes to load a model there. A number that is not known yet is left out, and then nothing is
concluded from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.lanes import LaneSpec, ModelFile

_Snapshot = TypeVar("_Snapshot", "Lane", "Candidate")


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
        served: when one of its jobs was last given to a backend, milliseconds; 0 for never.
        seconds: what its next job takes on a backend of pace 1 that has the models warm, above 0; None while unknown.
        signature: the kind of work that `seconds` was learned from; backends may have a pace of their own for it.
        units: how much work its next job is (size x steps), above 0; 1.0 where nobody counts.
        load: what loading its models takes where a backend has no figure of its own, seconds.
        share: how far its source is served already, weighted seconds (`Shares.tag`); lanes of a source carry the same.
        weight: of its source, above 0; twice the weight is twice the share.
        rooms: for each named limit that its jobs count against, how many more may start now.
        deadline: of the job at its head, milliseconds; of such a lane no job is due earlier.
        last_deadline: of the job at its end.
    """

    id: int
    spec: LaneSpec
    priority: int
    since: int
    count: int
    served: int = 0
    seconds: float | None = None
    signature: str = ""
    units: float = 1.0
    load: float = 0.0
    share: float = 0.0
    weight: float = 1.0
    rooms: Mapping[str, int] = field(default_factory=dict, hash=False)
    deadline: int | None = None
    last_deadline: int = 0

    @property
    def waiting_from(self) -> int:
        """Since when nobody has looked after it, milliseconds."""
        return self.since if self.since > self.served else self.served


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What a backend holds now; how long that still takes may be asked later, so it stays true while time passes.

    Attributes:
        begun: when each render began, milliseconds, and what it takes.
        waiting: seconds that the rest takes, which has not begun.
    """

    begun: tuple[tuple[int, Estimate], ...] = ()
    waiting: float = 0.0

    def left(self, now: int) -> float:
        """Seconds until all of it is done.

        Args:
            now: milliseconds.
        """
        return self.waiting + sum(takes.remaining(max(0, now - began) / 1000) for began, takes in self.begun)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backend as placement sees it: a snapshot, free of locks.

    Attributes:
        backend_id: its id.
        epoch: the lease under which jobs are dispatched to it.
        unavailable: why it takes nothing now (offline, disabled, closed, …), or None.
        capabilities: its labels.
        slots: 1, or 2 with a standby.
        running: attempts that it holds now.
        catalogue: its nodes and models; None while unknown.
        warm: the model key of its last render, or of the one that it does now.
        sandbox: whether it renders slates.
        warm_since: since when it has rendered with that model and no other, milliseconds; 0 for long ago.
        loaded: the model files that it has in memory, if that is known better than by `warm`.
        pace: how long it takes for what takes 1 second on a backend of pace 1; above 0, 2.0 is half as fast.
        paces: signature -> pace, where it differs.
        loads: model key -> seconds that loading takes there.
        blocked: what failed there and goes elsewhere for a while: `LaneSpec.needs` -> why, in words.
        holding: what it holds now, as work; None while it is not known how long that takes.
        given: when it was last given a job, milliseconds; 0 for long ago.
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
    warm_since: int = 0
    loaded: frozenset[ModelFile] = frozenset()
    pace: float = 1.0
    paces: Mapping[str, float] = field(default_factory=dict, hash=False)
    loads: Mapping[str, float] = field(default_factory=dict, hash=False)
    blocked: Mapping[str, str] = field(default_factory=dict, hash=False)
    holding: Holding | None = None
    given: int = 0

    @property
    def idle(self) -> bool:
        return self.unavailable is None and self.running == 0

    @property
    def has_room(self) -> bool:
        """Whether it is idle, or renders and has room for a standby."""
        return self.running < self.slots and self.unavailable is None

    @property
    def standing_by(self) -> bool:
        """It renders, and has room for a standby."""
        return self.unavailable is None and 0 < self.running < self.slots

    def left(self, now: int) -> float:
        """Seconds until all that it holds is done; 0.0 if that is nothing, or nobody knows.

        Args:
            now: milliseconds.
        """
        return self.holding.left(now) if self.running and self.holding is not None else 0.0

    def has_warm(self, spec: LaneSpec) -> bool:
        """Whether it need not load anything for the jobs of a lane."""
        key = spec.model_key
        return (
            not key or key == self.warm or (bool(spec.requirements.models) and spec.requirements.models <= self.loaded)
        )

    def block(self, spec: LaneSpec) -> str | None:
        """Why the jobs of a lane avoid it for a while, or None; those that are pinned to it do not."""
        return self.blocked.get(spec.needs) if self.blocked and spec.pin is None else None

    def render_seconds(self, lane: Lane) -> float | None:
        """How long the next job of a lane takes here once its models are there; None while unknown."""
        if lane.seconds is None:
            return None
        return lane.seconds * self.paces.get(lane.signature, self.pace)

    def load_seconds(self, lane: Lane) -> float:
        """How long its models take to load here if they must be; 0.0 if they are warm."""
        return 0.0 if self.has_warm(lane.spec) else self.loads.get(lane.spec.model_key, lane.load)


@dataclass(frozen=True, kw_only=True)
class LastRender:
    """What a backend rendered last of ours, as it is on record.

    Attributes:
        prompt_id: the prompt.
        model_key: the models that it had loaded for it.
    """

    prompt_id: str
    model_key: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The next `count` jobs of a lane go to a backend."""

    lane_id: int
    backend_id: str
    count: int = 1


def with_facts(snapshot: _Snapshot, **facts: object) -> _Snapshot:
    """The same with more facts, as `dataclasses.replace` does, in a tenth of the time.

    There may be thousands of lanes and backends, before each decision.

    Args:
        snapshot: a lane or a candidate.
        facts: its fields, by name; not checked.
    """
    known = object.__new__(type(snapshot))
    known.__dict__.update(snapshot.__dict__)
    known.__dict__.update(facts)
    return known
