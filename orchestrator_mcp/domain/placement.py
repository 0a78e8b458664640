"""The pure choice: which lane's next job goes to which backend. No I/O, no await, no clock.

In this order: priority (and what neglect and deadlines add to it), fair shares between sources, then what is
loaded already, then speed. A backend renders one prompt at a time. A second slot is a *standby*: a prompt that waits
in the backend's own queue and closes the gap between two renders. It is given only when no idle backend could take
the job.

Two things may keep an idle backend waiting although a job could run there, and both are proven from measured times:
others end it sooner (`prospects`), or a named limit is reached. Whoever was neglected for long enough takes what is
free, whatever it costs: every preference ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from orchestrator_mcp.domain.backlog import AGEING, Backlog, Fits, Tier
from orchestrator_mcp.domain.eligibility import Eligibility, has_model, refusal, waiting_reasons
from orchestrator_mcp.domain.prospects import Best, InNeed, Prospects
from orchestrator_mcp.domain.serving import Serving
from orchestrator_mcp.domain.situation import Candidate, Catalogue, Choice, Lane
from orchestrator_mcp.domain.turns import Order, Replayed, Turns

__all__ = [
    "AGEING",
    "MOST_AT_ONCE",
    "PATIENCE",
    "Candidate",
    "Catalogue",
    "Choice",
    "Eligibility",
    "Lane",
    "choices",
    "choose",
    "has_model",
    "refusal",
    "waiting_reasons",
]

PATIENCE: Final = 60_000
"""Milliseconds for which a lane may be passed over for what is warm, or elsewhere sooner, unless somebody says more."""
MOST_AT_ONCE: Final = 200
"""Jobs that `choose` gives at the most, so that a farm that is idle as a whole holds up nobody else; who decides asks
again at once."""

LEAD: Final = 60.0  # weighted seconds by which a source may be ahead of another because its models are warm
STINT: Final = 10.0  # a backend goes on with a model for at least so many times what loading the next one takes
TOGETHER: Final = 5.0
"""How many times as long a lane may be passed over for what came at about the same time (within the patience): among
those the order of arrival means little, and each change of models makes all of them wait."""
UNKNOWN_LOAD: Final = 10.0
"""Seconds that a load counts for a stint before one was measured: without stints there would be nothing to measure it
by, for a load is told from a render by the same render without it."""


def choose(
    lanes: Sequence[Lane],
    candidates: Sequence[Candidate],
    now: int,
    eligibility: Eligibility | None = None,
    *,
    patience: int = PATIENCE,
    most: int = MOST_AT_ONCE,
) -> list[Choice]:
    """Give free slots to the heads of lanes.

    Args:
        lanes: those with work.
        candidates: every backend.
        now: milliseconds since the Unix epoch.
        eligibility: keep one from decision to decision, and what a catalogue has is looked up once.
        patience: how long a lane may be passed over, milliseconds.
        most: how many jobs it gives at the most, the most urgent first; if it gives so many, ask again.

    Returns:
        What to claim, in this order; never more jobs than slots, never a backend that cannot run the lane.
    """
    return list(islice(choices(lanes, candidates, now, eligibility, patience=patience), most))


def choices(
    lanes: Sequence[Lane],
    candidates: Sequence[Candidate],
    now: int,
    eligibility: Eligibility | None = None,
    *,
    patience: int = PATIENCE,
) -> Iterator[Choice]:
    """All that one decision gives, worked out only as far as somebody asks: see `choose`."""
    if not lanes or not any(candidate.has_room for candidate in candidates):
        return iter(())
    return _Round(lanes, candidates, now, eligibility or Eligibility(), patience).choices()


class _Group:
    """Backends that can run the same.

    Args:
        example: one of them.
        eligibility: what catalogues have.
    """

    def __init__(self, example: Candidate, eligibility: Eligibility) -> None:
        self._example = example
        self._eligibility = eligibility
        self._fits: dict[str, bool] = {}

    def fits(self, lane: Lane) -> bool:
        """Whether they can run a lane."""
        kind = lane.spec.kind
        answer = self._fits.get(kind)
        if answer is None:
            answer = self._fits[kind] = self._eligibility.can_run(lane.spec, self._example)
        return answer


class _Round:
    """One decision.

    Args: see `choose`.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        candidates: Sequence[Candidate],
        now: int,
        eligibility: Eligibility,
        patience: int,
    ) -> None:
        self._now = now
        self._patience = patience
        self._candidates = candidates
        speed = sum(1 / candidate.pace for candidate in candidates if candidate.unavailable is None)
        slowest = max(candidate.pace for candidate in candidates)
        self._backlog = Backlog(lanes, now, speed=speed, slowest=slowest, patience=patience)
        group_of = self._group_of = _grouped(candidates, self._backlog, eligibility)

        def able(lane: Lane, candidate: Candidate) -> bool:  # no method: what circles goes only when all is looked at
            return group_of[candidate.backend_id].fits(lane)

        self._prospects = Prospects(candidates, self._backlog.models, able, now)
        looked_at = candidates if self._backlog.waits_since(now - patience) else ()
        self._serving = Serving(looked_at, group_of, now, patience)
        self._kinds_unserved: dict[int, tuple[int, dict[str, frozenset[str]]]] = {}
        self._left_unserved: dict[tuple[_Group, int], tuple[int, list[Turns]]] = {}
        self._kept: list[_Group] = []
        self._orders: dict[tuple[int, str | None], Order] = {}
        self._turns_of: dict[tuple[_Group, int, str | None], Turns] = {}
        self._turns_for: dict[tuple[int, str | None, frozenset[str]], Turns] = {}
        self._offers: dict[_Group, Replayed[Lane]] = {}
        self._by_need: dict[int, InNeed] = {}
        self._best = Best(())

    def choices(self) -> Iterator[Choice]:
        """Renders for those who are idle first, then standbys."""
        idle = {candidate.backend_id: candidate for candidate in self._candidates if candidate.idle}
        for choice in self._fill(list(idle.values())):
            del idle[choice.backend_id]
            yield choice
        standing_by = [candidate for candidate in self._candidates if candidate.standing_by]
        if standing_by:
            self._kept = list(dict.fromkeys(self._group_of[backend_id] for backend_id in idle))
            self._turns_of.clear()
            self._left_unserved.clear()
            yield from self._fill(standing_by)

    def _fits(self, group: _Group) -> Fits:
        """What a group can be given: in the second half only what no idle backend could take."""
        if not self._kept:
            return group.fits
        return lambda lane: group.fits(lane) and not any(kept.fits(lane) for kept in self._kept)

    def _fill(self, free: Iterable[Candidate]) -> Iterator[Choice]:
        left = sorted(free, key=lambda candidate: (candidate.pace, candidate.backend_id))
        groups = [self._fits(group) for group in dict.fromkeys(self._group_of[c.backend_id] for c in left)]
        known: dict[str, bool] = {}

        def somebody_fits(lane: Lane) -> bool:
            kind = lane.spec.kind
            if kind not in known:
                known[kind] = any(fits(lane) for fits in groups)
            return known[kind]

        for tier in self._backlog.tiers(self._now, somebody_fits):
            for loading in (False, True):
                if loading:
                    left.sort(key=lambda c: (c.warm in self._backlog.models, c.pace, c.backend_id))
                self._best = Best(left if loading else ())
                self._offers.clear()
                waiting = []
                for turn, candidate in enumerate(left):
                    self._best.turn = turn
                    lane = self._next(tier, candidate, loading=loading)
                    if lane is None:
                        waiting.append(candidate)
                        continue
                    self._take(lane, candidate)
                    yield Choice(lane_id=lane.id, backend_id=candidate.backend_id)
                left = waiting

    def _take(self, lane: Lane, candidate: Candidate) -> None:
        self._backlog.take(lane)
        self._prospects.given(lane, candidate)
        self._serving.given(lane, candidate)
        self._offers.clear()
        for models in self._by_need.values():
            models.moved(candidate.warm)
            models.moved(lane.spec.model_key)

    def _next(self, tier: Tier, candidate: Candidate, *, loading: bool) -> Lane | None:
        """What a backend does next; only what it has warm, unless it is the time for `loading`."""
        if self._presses(tier):
            first = self._turns(tier, candidate, None).first()
            if first is None:
                return None
            if (must := self._must(tier, candidate, first[1])) is not None:
                return must
        if loading:
            return self._worth_loading(tier, candidate)
        return self._needed_more(tier, candidate) or self._warm(tier, candidate)

    def _presses(self, tier: Tier) -> bool:
        """Whether any lane, or any source, could have been passed over for so long that preferences end."""
        return self._now - tier.waiting_from >= self._patience or self._backlog.anybody_ahead(LEAD)

    def _turns(self, tier: Tier, candidate: Candidate, model: str | None) -> Turns:
        """Whose turn it is among the lanes of a tier, of one model or (None) of all."""
        group = self._group_of[candidate.backend_id]
        key = (group, tier.priority, model)
        turns = self._turns_of.get(key)
        if turns is None:
            fits = self._fits(group)
            kinds = frozenset(kind for kind, lane in tier.examples(model) if fits(lane))
            turns = self._turns_of[key] = self._turns_among(tier, model, kinds)
        return turns

    def _turns_among(self, tier: Tier, model: str | None, kinds: frozenset[str]) -> Turns:
        alike = (tier.priority, model, kinds)
        if alike not in self._turns_for:
            order = self._order(tier, model) if kinds else Order((), self._backlog)
            self._turns_for[alike] = Turns(order, self._backlog, kinds)
        return self._turns_for[alike]

    def _order(self, tier: Tier, model: str | None) -> Order:
        key = (tier.priority, model)
        if key not in self._orders:
            queues = tier.by_source if model is None else tier.by_model[model]
            self._orders[key] = Order(queues.values(), self._backlog)
        return self._orders[key]

    def _must(self, tier: Tier, candidate: Candidate, first: Lane) -> Lane | None:
        """The lane that was passed over for so long, or whose source so far, that every preference ends."""
        warm = self._turns(tier, candidate, candidate.warm).first() if candidate.warm in tier.kinds else None
        for lane in self._neglected(tier, candidate):
            if self._ends_preference(lane, candidate, warm[1] if warm else None):
                return lane
        load = candidate.load_seconds(first)
        if not load or candidate.warm not in tier.kinds or self._in_stint(candidate, load):
            return None
        ahead = (warm[0] if warm else 0.0) - self._backlog.tags[first.spec.source]
        return first if ahead > LEAD and not self._leaves(first, candidate, False) else None

    def _in_stint(self, candidate: Candidate, load: float, times: float = 1) -> bool:
        """Whether it has not yet made enough of the models that it has."""
        return self._now - candidate.warm_since < times * STINT * 1000 * (load or UNKNOWN_LOAD)

    def _ends_preference(self, lane: Lane, candidate: Candidate, instead: Lane | None) -> bool:
        """Whether a lane goes before all that is warm.

        Args:
            lane: of a model that nobody serves.
            candidate: who is free.
            instead: what it would do next of what it has warm, if there is anything.
        """
        together = instead is not None and instead.since - lane.since <= self._patience
        times = TOGETHER if together else 1
        waited = self._now - lane.waiting_from
        if waited < times * self._patience or self._in_stint(candidate, candidate.load_seconds(lane), times):
            return False
        return self._overdue(lane, candidate)

    def _neglected(self, tier: Tier, candidate: Candidate) -> list[Lane]:
        """Of each model that a backend would have to load, and nobody serves, the lane whose turn it is, in order."""
        firsts = (turns.first() for turns in self._unserved(tier, candidate))
        found = [first for first in firsts if first is not None and not candidate.has_warm(first[1].spec)]
        found.sort(key=lambda first: (first[0], first[1].since, first[1].served, first[1].id))
        return [lane for _, lane in found]

    def _unserved(self, tier: Tier, candidate: Candidate) -> list[Turns]:
        """For each model for which a lane has waited for long, the turns of those that nobody serves who could."""
        key = (self._group_of[candidate.backend_id], tier.priority)
        changes, found = self._left_unserved.get(key, (-1, []))
        if changes != self._serving.changes:
            found, fits = [], self._fits(key[0])
            for model, kinds in self._unserved_kinds(tier).items():
                if own := frozenset(kind for kind in kinds if fits(tier.kinds[model][kind])):
                    found.append(self._turns_among(tier, model, own))
            self._left_unserved[key] = (self._serving.changes, found)
        return found

    def _unserved_kinds(self, tier: Tier) -> dict[str, frozenset[str]]:
        """For each model for which a lane has waited for long, the kinds of need that nobody serves who could."""
        changes, found = self._kinds_unserved.get(tier.priority, (-1, {}))
        if changes != self._serving.changes:
            waiting = tier.waiting_for.items()
            long = (model for model, since in waiting if model and self._now - since >= self._patience)
            found = {model: frozenset(self._serving.left_by(tier.kinds[model], model)) for model in long}
            self._kinds_unserved[tier.priority] = (self._serving.changes, found)
        return found

    def _passed_over(self, lane: Lane, candidate: Candidate) -> bool:
        """Whether a lane has waited for long, and no other backend serves its model."""
        if self._now - lane.waiting_from < self._patience:
            return False
        return not self._serving.by_another(lane, candidate)

    def _overdue(self, lane: Lane, candidate: Candidate) -> bool:
        """Whether a lane was passed over for longer than its job would have taken here."""
        if not self._passed_over(lane, candidate):
            return False
        span = candidate.load_seconds(lane) + (candidate.render_seconds(lane) or 0.0)
        return self._now - lane.waiting_from >= 1000 * span

    def _leaves(self, lane: Lane, candidate: Candidate, before_loads: bool) -> bool:
        if self._overdue(lane, candidate):
            return False
        return self._prospects.better_left(lane, candidate, before_loads=before_loads)

    def _warm(self, tier: Tier, candidate: Candidate) -> Lane | None:
        """Of what it has warm, the job of whoever was served least."""
        found = [self._warm_with(tier, candidate, model) for model in tier.warm_models(candidate)]
        best = min((one for one in found if one is not None), key=lambda one: one[:3], default=None)
        return best[-1] if best else None

    def _warm_with(self, tier: Tier, candidate: Candidate, model: str) -> tuple[float, int, int, Lane] | None:
        turns = self._turns(tier, candidate, model)
        left: set[str] = set()
        for tag, lane in turns.lanes():
            kind = lane.spec.kind
            if kind in left:
                continue
            if not self._leaves(lane, candidate, True):
                return (tag, lane.waiting_from, lane.id, lane)
            if not self._passed_over(tier.cells[kind].eldest, candidate):
                left.add(kind)
                if len(left) == len(turns.kinds):
                    break
        return None

    def _needed_more(self, tier: Tier, candidate: Candidate) -> Lane | None:
        """What it had better load although it has warm work: others see to that in time, and not to this."""
        if candidate.warm not in tier.kinds or not self._prospects.others_suffice(candidate):
            return None
        first = self._turns(tier, candidate, None).first()
        found = next(self._coldest(tier, candidate, first[1].spec.source), None) if first else None
        return found if found and self._prospects.late(found, candidate) else None

    def _worth_loading(self, tier: Tier, candidate: Candidate) -> Lane | None:
        """Of whoever was served least, what would be ready last if nobody helped."""
        group = self._group_of[candidate.backend_id]
        offers = self._offers.get(group)
        if offers is None:
            offers = self._offers[group] = Replayed(self._offered(tier, candidate))
        return next((lane for lane in offers if not self._leaves(lane, candidate, False)), None)

    def _offered(self, tier: Tier, candidate: Candidate) -> Iterator[Lane]:
        """What backends like this one might load, less what none of those that are left would."""
        for source in self._turns(tier, candidate, None).sources():
            for lane in self._coldest(tier, candidate, source):
                if not candidate.idle or self._passed_over(lane, candidate) or not self._left_by_all(lane):
                    yield lane

    def _left_by_all(self, lane: Lane) -> bool:
        return self._prospects.left_by(self._best, lane)

    def _coldest(self, tier: Tier, candidate: Candidate, source: str) -> Iterator[Lane]:
        """A lane of each model that a source has work for, first the one that would be ready last."""
        for model in self._in_need(tier):
            turns = self._turns(tier, candidate, model)
            own = tier.by_model[model].get(source) if turns.kinds else None
            if own is not None and (lane := turns.head(own)) is not None:
                yield lane

    def _in_need(self, tier: Tier) -> InNeed:
        """The models of a tier, first the one that would be ready last."""
        found = self._by_need.get(tier.priority)
        if found is None:
            found = self._by_need[tier.priority] = InNeed(tier.kinds, self._prospects)
        return found


def _grouped(candidates: Sequence[Candidate], backlog: Backlog, eligibility: Eligibility) -> dict[str, _Group]:
    """backend -> those that can run the same."""
    groups: dict[object, _Group] = {}
    group_of = {}
    named = {name for spec in backlog.specs() for name in (spec.pin, *spec.avoid) if name is not None}
    for candidate in candidates:
        own = candidate.backend_id if candidate.backend_id in named else None
        key = (candidate.capabilities, id(candidate.catalogue), own, frozenset(candidate.blocked))
        if key not in groups:
            groups[key] = _Group(candidate, eligibility)
        group_of[candidate.backend_id] = groups[key]
    return group_of
