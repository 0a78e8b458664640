"""All that placement learns while it works, in one place: what it is told of attempts, and what it concludes.

Pure: time is an argument, and nothing is written. What is forgotten with the process is learned again in minutes.
Tell it of each attempt once: `given`, `began` (if known), `ended`. Ask it for an `outlook` before each decision.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from orchestrator_mcp.domain.eligibility import Eligibility
from orchestrator_mcp.domain.estimates import Estimate
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import Limit, rooms
from orchestrator_mcp.domain.outlook import Outlook
from orchestrator_mcp.domain.placement import PATIENCE
from orchestrator_mcp.domain.shares import Shares
from orchestrator_mcp.domain.situation import Candidate, Holding, Lane, with_facts
from orchestrator_mcp.domain.speeds import Speeds, kind_of_work

MOST_LANES: Final = 8_192
"""Lanes of which it is remembered when they were served."""

_UNKNOWN: Final = 1.0  # seconds that are charged to a source for work that nobody has done yet


@dataclass(frozen=True, kw_only=True)
class Work:
    """A job as work.

    Attributes:
        spec: what it needs.
        signature: its kind; the needs alone where nothing better is known.
        units: size x steps, above 0; 1.0 where nobody counts.
    """

    spec: LaneSpec
    signature: str = ""
    units: float = 1.0

    @property
    def kind(self) -> str:
        return self.signature or self.spec.kind


@dataclass(frozen=True, kw_only=True)
class _Held:
    """An attempt that a backend holds.

    Attributes:
        work: what it is.
        cold: whether its models had to be loaded.
        expected: render and load, if known.
        charged: reference seconds that its source was charged.
        began: when it began to render, milliseconds; None while it stands by.
        before: what was warm before it, and since when.
        heard: whether the backend itself said that it began.
    """

    work: Work
    cold: bool
    expected: Estimate | None
    charged: float
    began: int | None
    before: tuple[str, int]
    heard: bool = False


@dataclass(frozen=True, kw_only=True)
class Standby:
    """An attempt that waits behind another one on its backend.

    Attributes:
        attempt: its name, as it was given.
        lane: what it needs.
    """

    attempt: str
    lane: LaneSpec


@dataclass
class _State:
    """What a backend holds and has warm, since when, and when it was last given a job."""

    held: OrderedDict[str, _Held]
    warm: str = ""
    since: int = 0
    given: int = 0


class Experience:
    """Learns from attempts, and tells placement.

    Args:
        weights: source -> weight of its share, above 0; 1.0 for others.
        limits: see `Limit`.
        speeds: what was learned before; nothing by default.
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, float] | None = None,
        limits: Sequence[Limit] = (),
        speeds: Speeds | None = None,
    ) -> None:
        self.speeds = speeds or Speeds()
        self.configure(weights or {}, limits)
        self._shares = Shares()
        self._eligibility = Eligibility()
        self._last: Outlook | None = None
        self._served: OrderedDict[int, int] = OrderedDict()
        self._backends: dict[str, _State] = {}
        self._told: dict[str, tuple[Candidate, Candidate]] = {}
        self._totals: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def configure(self, weights: Mapping[str, float], limits: Sequence[Limit], *, patience: int = PATIENCE) -> None:
        """The configuration has changed: it holds from the next decision on.

        Args:
            weights: source -> weight of its share, above 0.
            limits: the named limits.
            patience: how long a lane may be passed over, milliseconds.
        """
        self._patience = patience
        self._weights = {source: weight for source, weight in weights.items() if weight > 0}
        self._limits = tuple(limits)

    def given(self, attempt: str, backend_id: str, lane_id: int, work: Work, now: int) -> None:
        """A backend was given a job.

        Args:
            attempt: a name of its own.
            backend_id: who got it.
            lane_id: from which lane.
            work: what it is.
            now: milliseconds.
        """
        state = self._changing(backend_id)
        cold = bool(work.spec.model_key) and state.warm != work.spec.model_key
        expected = self._expected(backend_id, work, cold=cold)
        charged = self.speeds.seconds(work.kind, work.units) or _UNKNOWN
        began = None if state.held else now
        before = (state.warm, state.since)
        state.held[attempt] = _Held(
            work=work, cold=cold, expected=expected, charged=charged, began=began, before=before
        )
        if cold:
            state.warm, state.since = work.spec.model_key, now
        state.given = now
        self._shares.charge(work.spec.source, charged, self._weight(work.spec.source))
        self._served[lane_id] = now
        self._served.move_to_end(lane_id)
        if len(self._served) > MOST_LANES:
            self._served.popitem(last=False)

    def began(self, attempt: str, backend_id: str, now: int) -> None:
        """A backend says that it begins with an attempt. Without it, each begins when the one before has ended."""
        held = self._changing(backend_id).held
        if attempt in held:
            held[attempt] = replace(held[attempt], began=now, heard=True)

    def ended(
        self,
        attempt: str,
        backend_id: str,
        now: int,
        *,
        rendered: bool,
        seconds: float | None = None,
        was_warm: bool | None = None,
    ) -> None:
        """An attempt is over.

        Args:
            attempt: as it was given.
            backend_id: who had it.
            now: milliseconds.
            rendered: whether it went through to its end; else nothing is learned of it.
            seconds: what the backend says it took from its beginning to its end; None to take our own clock.
            was_warm: whether it says that it need not load the models; None to believe what was done there before.
        """
        state = self._changing(backend_id)
        held = state.held.pop(attempt, None)
        if held is None:
            return
        if held.began is None and held.cold and state.warm == held.work.spec.model_key:
            state.warm, state.since = held.before
        following = next(iter(state.held.items()), None)
        if following is not None and following[1].began is None:
            state.held[following[0]] = replace(following[1], began=now)
        self._settle(backend_id, held, now, rendered, seconds, held.cold if was_warm is None else not was_warm)

    def _settle(
        self, backend_id: str, held: _Held, now: int, rendered: bool, seconds: float | None, cold: bool
    ) -> None:
        source, actual = held.work.spec.source, 0.0
        if rendered:
            if seconds is None:
                seconds = max(0, now - (now if held.began is None else held.began)) / 1000
            self._learn(backend_id, replace(held, cold=cold), seconds)
            actual = self.speeds.seconds(held.work.kind, held.work.units) or _UNKNOWN
        self._shares.settle(source, held.charged, actual, self._weight(source))

    def _learn(self, backend_id: str, held: _Held, seconds: float) -> None:
        """A cold attempt tells of the load as soon as the render is known, and until then is kept aside."""
        work, key = held.work, (backend_id, kind_of_work(held.work.kind, held.work.units))
        if not held.cold:
            self.speeds.rendered(backend_id, work.kind, work.units, seconds)
            if (kept := self._totals.pop(key, None)) is not None:
                self.speeds.loaded(backend_id, kept[0], max(0.0, kept[1] - seconds))
            return
        render = self.speeds.expected(backend_id, work.kind, work.units)
        if render is not None:
            self.speeds.loaded(backend_id, work.spec.model_key, max(0.0, seconds - render.mean))
            return
        self._totals[key] = (work.spec.model_key, seconds)
        if len(self._totals) > MOST_LANES:
            self._totals.popitem(last=False)

    def emptied(self, backend_id: str) -> None:
        """A backend restarted, ran out of memory, or was told to free it: nothing is warm there."""
        self._changing(backend_id).warm = ""

    def warmed(self, backend_id: str, model_key: str, now: int) -> None:
        """A backend has just rendered with these models: if nothing else is known to be warm there, they are."""
        state = self._changing(backend_id)
        if not state.warm:
            state.warm, state.since = model_key, now

    def holding(self, backend_id: str, without: Container[str] = ()) -> Holding | None:
        """What a backend holds, as work; None if it cannot be known how long that takes.

        Args:
            backend_id: which one.
            without: attempts that go elsewhere.
        """
        begun, waiting = [], 0.0
        for name, held in self._state(backend_id).held.items():
            if name in without:
                continue
            if held.expected is None:
                return None
            if held.began is None:
                waiting += held.expected.remaining(0.0)
            else:
                begun.append((held.began, held.expected))
        return Holding(begun=tuple(begun), waiting=waiting)

    def expected(self, attempt: str, backend_id: str) -> Estimate | None:
        """What an attempt takes from its beginning to its end, with a load before it; None while that is not known."""
        held = self._state(backend_id).held.get(attempt)
        return held.expected if held is not None else None

    def left(self, attempt: str, backend_id: str, now: int, *, shared: bool = False) -> Estimate | None:
        """What an attempt still takes, with what stands before it there, and how far off that may be.

        Args:
            attempt: as it was given.
            backend_id: who has it.
            now: milliseconds.
            shared: whether others have prompts in its queue too: then nobody knows when those begin that wait there.
        """
        total = deviation = 0.0
        for name, held in self._state(backend_id).held.items():
            if held.expected is None or (shared and not held.heard):
                return None
            total += held.expected.remaining(0.0 if held.began is None else max(0, now - held.began) / 1000)
            deviation += held.expected.deviation
            if name == attempt:
                return Estimate(mean=total, deviation=deviation)
        return None

    def outlook(self, candidates: Sequence[Candidate], now: int) -> Outlook:
        """What is known now, frozen: it may go to another thread. One for each decision.

        Args:
            candidates: every backend; what is known of them is added.
            now: milliseconds.
        """
        if self._last is not None and self._last.sources is not None:
            self._shares.saw(self._last.sources)
        self._last = self._frozen(self.seen(candidates))
        return self._last

    def moving(self, standbys: Sequence[Standby], candidates: Sequence[Candidate], now: int) -> list[str]:
        """The standbys that idle backends would take at once if they were queued, by attempt.

        Args:
            standbys: the oldest first.
            candidates: every backend.
            now: milliseconds.
        """
        lanes = [
            Lane(
                id=number,
                spec=standby.lane,
                priority=0,
                since=now,
                count=1,
                signature=standby.lane.signature,
                units=standby.lane.units,
            )
            for number, standby in enumerate(standbys)
        ]
        elsewhere = {standby.attempt for standby in standbys}
        alone = [with_facts(self._candidate(one, elsewhere), slots=1) for one in candidates]
        outlook = self._frozen(alone, without=elsewhere)
        return [standbys[choice.lane_id].attempt for choice in outlook.choose(lanes, outlook.candidates, now)]

    def _frozen(self, candidates: Sequence[Candidate], without: Container[str] = ()) -> Outlook:
        running = (
            held.work.spec
            for state in self._backends.values()
            for name, held in state.held.items()
            if name not in without
        )
        return Outlook(
            candidates=candidates,
            kinds=self.speeds.kinds(),
            mean_loads=self.speeds.mean_loads(),
            shares=self._shares.copy(),
            weights=self._weights,
            served=self._served.copy(),
            limits=self._limits,
            rooms=rooms(self._limits, running) if self._limits else {},
            eligibility=self._eligibility,
            patience=self._patience,
        )

    def seen(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Backends with what is known of them, put together only for those of which something has changed.

        Args:
            candidates: as they are; whoever is as before is the same object as before.
        """
        told = self._told
        for backend_id in self.speeds.changed():
            told.pop(backend_id, None)
        seen = []
        for candidate in candidates:
            known = told.get(candidate.backend_id)
            if known is None or known[0] is not candidate:
                known = told[candidate.backend_id] = (candidate, self._candidate(candidate))
            seen.append(known[1])
        return seen

    def _candidate(self, candidate: Candidate, without: Container[str] = ()) -> Candidate:
        """A backend with what is known of it, as if it had not been given what goes elsewhere (`without`)."""
        state = self._state(candidate.backend_id)
        undone = [held.before for name, held in state.held.items() if name in without and held.cold] if without else []
        warm, since = undone[0] if undone else (state.warm, state.since)
        told_of_all = candidate.running <= len(state.held)  # a successor is held and has no slot yet
        return with_facts(
            candidate,
            warm=warm,
            warm_since=since,
            given=state.given,
            pace=self.speeds.pace(candidate.backend_id),
            paces=self.speeds.paces(candidate.backend_id),
            loads=self.speeds.loads(candidate.backend_id),
            holding=self.holding(candidate.backend_id, without) if told_of_all else None,
        )

    def _expected(self, backend_id: str, work: Work, *, cold: bool) -> Estimate | None:
        render = self.speeds.expected(backend_id, work.kind, work.units)
        load = self.speeds.load(backend_id, work.spec.model_key) if cold else None
        if render is None or load is None:
            return render
        return Estimate(mean=render.mean + load.mean, deviation=render.deviation + load.deviation, count=render.count)

    def _weight(self, source: str) -> float:
        return self._weights.get(source, 1.0)

    def _changing(self, backend_id: str) -> _State:
        """What a backend holds, to be changed: it is told of anew."""
        self._told.pop(backend_id, None)
        return self._state(backend_id)

    def _state(self, backend_id: str) -> _State:
        if backend_id not in self._backends:
            self._backends[backend_id] = _State(OrderedDict())
        return self._backends[backend_id]
