"""What is known beforehand: what each backend has warm, how fast it is, and when jobs will be done.

Learned of the attempts that run here; `domain.experience` draws the conclusions. On the event loop only, but for the
decision itself, which takes a frozen outlook to the store's thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from orchestrator_mcp.backends.backend import Backend
from orchestrator_mcp.clock import Clock, to_millis
from orchestrator_mcp.domain.deadlines import raised_priorities
from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.eta import Wait
from orchestrator_mcp.domain.experience import Experience, Standby, Work
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.outlook import Outlook
from orchestrator_mcp.domain.placement import Candidate, Choice, Eligibility, Lane
from orchestrator_mcp.domain.speeds import Learned
from orchestrator_mcp.settings import SchedulingSettings

MOST_LANES: Final = 512
"""With more lanes than this nothing is said of when a queued job's turn comes: working it out would take too long."""

MOST_STEPS: Final = 30_000
"""Pairs of a lane with another or a backend that are looked at, at most, for what is told within `FRESH`."""

PART: Final = 50
"""Jobs that a decision hands out at once, so that a farm that is idle as a whole holds up nobody else."""

FRESH: Final = (
    500  # milliseconds for which a look at the queue and all backends does for saying when a job will be done
)


class Foresight:
    """Learns from attempts, and tells the dispatcher and callers.

    Args:
        clock: the time.
        scheduling: who gets how much.
    """

    def __init__(self, clock: Clock, scheduling: SchedulingSettings) -> None:
        self._clock = clock
        self._experience = Experience()
        self.configure(scheduling)
        self._falls: dict[str, tuple[Backend, int]] = {}
        self._eligibility = Eligibility()
        self._decided: Decision | None = None
        self._seen: _Look | None = None

    def configure(self, scheduling: SchedulingSettings) -> None:
        """Take other weights, limits and patience; they hold from the next decision on."""
        patience = round(scheduling.patience * 1000)
        self._experience.configure(scheduling.weights, scheduling.named_limits, patience=patience)

    def given(self, attempt: str, backend_id: str, lane_id: int, spec: LaneSpec) -> None:
        """A backend was given a job.

        Args:
            attempt: a name of its own.
            backend_id: who got it.
            lane_id: from which lane.
            spec: what it needs, and what sort of work it is.
        """
        work = Work(spec=spec, signature=spec.signature, units=spec.units)
        self._experience.given(attempt, backend_id, lane_id, work, self._now())

    def began(self, attempt: str, backend_id: str) -> None:
        """A backend has begun to render an attempt.

        Args:
            attempt: as it was given.
            backend_id: who has it.
        """
        self._experience.began(attempt, backend_id, self._now())

    def ended(
        self,
        attempt: str,
        backend_id: str,
        *,
        rendered: bool,
        seconds: float | None = None,
        was_warm: bool | None = None,
    ) -> None:
        """A backend no longer works for an attempt; what is said a second time counts for nothing.

        Args:
            attempt: as it was given.
            backend_id: who had it.
            rendered: whether it went through to its end, and something can be learned of it.
            seconds: what the backend says it took.
            was_warm: whether its models were there already, if that is known.
        """
        self._experience.ended(attempt, backend_id, self._now(), rendered=rendered, seconds=seconds, was_warm=was_warm)

    def emptied(self, backend: Backend) -> None:
        """Nothing is warm on a backend any more."""
        backend.warm = ""
        self._experience.emptied(backend.id)

    def found_warm(self, backend: Backend, model_key: str) -> None:
        """A backend has these models in memory since before our start; what was done there since counts for more."""
        if model_key and not backend.warm:
            backend.warm = model_key
            self._experience.warmed(backend.id, model_key, self._now())

    def rendered(
        self, attempt: str, backend: Backend, model_key: str, *, seconds: float | None, was_warm: bool | None
    ) -> None:
        """A backend has rendered an attempt to its end, and what that took may be learned.

        Args:
            attempt: as it was given.
            backend: who had it.
            model_key: the models that it has warm now.
            seconds: what the backend says it took; None where that says nothing of such work.
            was_warm: whether its models were there already, if that is known.
        """
        fell = self._look_at(backend)
        rendered = seconds is not None and not fell
        self.ended(attempt, backend.id, rendered=rendered, seconds=seconds, was_warm=was_warm)
        backend.warm = model_key
        self._experience.warmed(backend.id, model_key, self._now())

    def _look_at(self, backend: Backend) -> bool:
        """Notice that a backend fell since, or that somebody else uses it; whether it did."""
        known = self._falls.get(backend.id)
        fell = known is not None and known != (backend, backend.falls)
        if fell or known is None:
            self._falls[backend.id] = (backend, backend.falls)
        if fell or backend.sharing.foreign:
            self.emptied(backend)
        return fell

    def outlook(self, backends: Iterable[Backend], candidates: Sequence[Candidate]) -> Decision:
        """What is known at this moment, for one decision.

        Args:
            backends: all of them; one that fell since, or that somebody else uses, has nothing of ours warm.
            candidates: the same as placement sees them.
        """
        for backend in backends:
            if self._falls.get(backend.settings.id) != (backend, backend.falls) or backend.sharing.foreign:
                self._look_at(backend)
        return Decision(self._experience.outlook(candidates, self._now()))

    def moving(self, standbys: Sequence[Standby], candidates: Sequence[Candidate]) -> list[str]:
        """The standbys that idle backends would take at once if they were queued, by attempt.

        Args:
            standbys: the oldest first.
            candidates: every backend as it is now.
        """
        return self._experience.moving(standbys, candidates, self._now())

    def decided(self, decision: Decision) -> None:
        """A decision is made and holds; what is told of queued jobs follows from it."""
        self._decided = decision

    def expected(self, attempt: str, backend_id: str) -> Estimate | None:
        """What a running attempt takes from its beginning to its end; None while that is not known."""
        return self._experience.expected(attempt, backend_id)

    def left(self, attempt: str, backend_id: str, *, shared: bool) -> float | None:
        """Seconds until a running attempt is rendered; None while that is not known.

        Args:
            attempt: as it was given.
            backend_id: who has it.
            shared: whether somebody else uses that backend too.
        """
        estimate = self._experience.left(attempt, backend_id, self._now(), shared=shared)
        return estimate.mean if estimate is not None else None

    def looked(self) -> bool:
        """Whether somebody looked at the queue and all backends just now."""
        return self._seen is not None and 0 <= self._now() - self._seen.at < FRESH

    def look(self, lanes: Sequence[Lane] | None, candidates: Sequence[Candidate]) -> None:
        """Look at the queue and all backends: what is said of queued jobs follows from it.

        A decision would not do: while every slot is taken none is made, whatever comes in.

        Args:
            lanes: those with work, as the store has them; None when they are more than `MOST_LANES`.
            candidates: every backend as it is now.
        """
        now = self._now()
        outlook = self._decided.outlook if self._decided is not None else self._experience.outlook(candidates, now)
        self._seen = _Look(
            at=now,
            outlook=outlook,
            lanes=None if lanes is None else {lane.id: lane for lane in outlook.known(lanes)},
            candidates=self._experience.seen(candidates),
        )

    def wait(self, lane: Lane) -> Wait | None:
        """What the jobs of a lane wait for; None before the first look, and where working it out takes too long.

        Args:
            lane: where they wait.
        """
        return self._seen.wait(lane, self._eligibility) if self._seen is not None else None

    def left_idle(self, spec: LaneSpec) -> frozenset[str]:
        """The backends that the last decision left idle although such jobs waited."""
        return self._decided.left_idle(spec) if self._decided is not None else frozenset()

    def held_back(self, spec: LaneSpec) -> Sequence[str]:
        """The named limits that are reached and hold the jobs of a lane back."""
        return list(self._decided.outlook.held_back(spec)) if self._decided is not None else []

    def recall(self, kept: Sequence[Learned]) -> None:
        """Before the first dispatch: what was learned before."""
        self._experience.speeds.recall(kept)

    def news(self) -> list[Learned]:
        """What was learned since this was asked before."""
        return self._experience.speeds.news()

    def _now(self) -> int:
        return to_millis(self._clock.now())


class Decision:
    """One decision: what it was made from, and what it left. What it gives is handed out a part at a time.

    Args:
        outlook: what is known, frozen.

    Attributes:
        outlook: the same.
        lanes: what it was made from and is asked with again while it goes on; None before and after.
        goes_on: whether there may be more to give at once.
    """

    def __init__(self, outlook: Outlook) -> None:
        self.outlook = outlook
        self.lanes: Sequence[Lane] | None = None
        self._passed_over: frozenset[LaneSpec] = frozenset()
        self.goes_on = False
        self._idle: frozenset[str] = frozenset()
        self._given: Counter[int] = Counter()
        self._rest: Iterator[Choice] = iter(())
        self._not_given = 0

    def choose(self, lanes: Sequence[Lane], candidates: Sequence[Candidate], now: int) -> list[Choice]:
        """Decide, or hand out more of what was decided; on the store's thread. See `Outlook.choices`.

        Args:
            lanes: those with work; what came while it goes on has a say in the next decision.
            candidates: every backend; who has no room any more is given nothing.
            now: milliseconds.
        """
        if not self.goes_on:
            self._rest = self.outlook.choices(lanes, candidates, now)
            self._given.clear()
            self._not_given = sum(lane.count for lane in lanes)
        part = list(islice(self._rest, PART))
        self._given.update(choice.lane_id for choice in part)
        with_room = {candidate.backend_id for candidate in candidates if candidate.has_room}
        self.goes_on = len(part) == PART
        self.lanes = lanes if self.goes_on else None
        if not self.goes_on:
            idle = {candidate.backend_id for candidate in candidates if candidate.idle}
            self._idle = frozenset(idle - {choice.backend_id for choice in part})
            self._passed_over = frozenset(lane.spec for lane in lanes if lane.count > self._given[lane.id])
        return [choice for choice in part if choice.backend_id in with_room]

    def gave(self, jobs: int) -> None:
        """So many jobs were claimed by it; of those that it chose some may have been cancelled meanwhile."""
        self._not_given -= jobs

    @property
    def left_jobs(self) -> bool:
        """Whether it saw jobs that nobody got of it."""
        return self._not_given > 0

    def left_idle(self, spec: LaneSpec) -> frozenset[str]:
        """The backends that it left idle although such jobs waited; none when it saw no such job."""
        return self._idle if spec in self._passed_over else frozenset()


@dataclass(frozen=True, kw_only=True)
class _Look:
    """A look at the queue and all backends, and what was worked out from it.

    Attributes:
        at: when, milliseconds.
        outlook: what is known beside them.
        lanes: those with work, with what is known of them; None when they are too many.
        candidates: the backends.
        waits: lane -> what its jobs wait for.
    """

    at: int
    outlook: Outlook
    lanes: Mapping[int, Lane] | None
    candidates: Sequence[Candidate]
    waits: dict[int, Wait] = field(default_factory=dict)

    def wait(self, lane: Lane, eligibility: Eligibility) -> Wait | None:
        """See `Foresight.wait`.

        Args:
            lane: where jobs wait.
            eligibility: another one than that of a decision, which may be at work on the store's thread.
        """
        if self.lanes is None:
            return None
        if lane.id not in self.waits:
            if len(self.waits) * (len(self.lanes) + len(self.candidates)) > MOST_STEPS:
                return None
            [own] = self.outlook.known([self.lanes.get(lane.id, lane)])
            lanes = {**self.lanes, lane.id: own}
            speed = sum(1 / candidate.pace for candidate in self.candidates if candidate.unavailable is None)
            self.waits[lane.id] = Wait(
                own,
                lanes.values(),
                self.candidates,
                lambda one, candidate: eligibility.can_run(one.spec, candidate),
                self.at,
                raised_priorities(lanes.values(), self.at, speed),
            )
        return self.waits[lane.id]
