"""What experience says at one moment, frozen, so that a decision may be made on another thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from orchestrator_mcp.domain.eligibility import Eligibility
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import Limit
from orchestrator_mcp.domain.placement import MOST_AT_ONCE, PATIENCE, choices
from orchestrator_mcp.domain.shares import Shares
from orchestrator_mcp.domain.situation import Candidate, Choice, Lane, with_facts
from orchestrator_mcp.domain.speeds import KindSeconds, kind_of_work


@dataclass(kw_only=True)
class Outlook:
    """Adds to lanes what has been learned of them, and decides.

    Attributes:
        candidates: every backend, with what has been learned of it.
        kinds: what each kind of work takes.
        mean_loads: model key -> seconds that loading takes on the average.
        shares: where sources stand.
        weights: source -> weight.
        served: lane -> when one of its jobs was last given to a backend, milliseconds.
        limits: named limits.
        rooms: what is left of them.
        eligibility: what catalogues have.
        patience: how long a lane may be passed over, milliseconds.
        sources: who had a job queued; filled by the decision.
    """

    candidates: Sequence[Candidate]
    kinds: KindSeconds
    mean_loads: Mapping[str, float]
    shares: Shares
    weights: Mapping[str, float]
    served: Mapping[int, int]
    limits: Sequence[Limit]
    rooms: Mapping[str, int]
    eligibility: Eligibility
    patience: int = PATIENCE
    sources: frozenset[str] | None = field(default=None)

    def choose(self, lanes: Sequence[Lane], candidates: Sequence[Candidate], now: int) -> list[Choice]:
        """The first of the `choices`, as many as `placement.choose` gives at the most."""
        return list(islice(self.choices(lanes, candidates, now), MOST_AT_ONCE))

    def choices(self, lanes: Sequence[Lane], candidates: Sequence[Candidate], now: int) -> Iterator[Choice]:
        """`placement.choices` with all that is known.

        Args:
            lanes: those with work, as the store has them.
            candidates: every backend; pass `self.candidates`, others are taken as they are.
            now: milliseconds.
        """
        known = self.known(lanes)
        self.sources = frozenset(lane.spec.source for lane in known)
        return choices(known, candidates, now, self.eligibility, patience=self.patience)

    def known(self, lanes: Sequence[Lane]) -> list[Lane]:
        """The same lanes with what has been learned of them."""
        tags = self.shares.tags({lane.spec.source for lane in lanes})
        facts: dict[tuple[str, str, float], dict[str, object]] = {}
        return [self._known(lane, tags, facts) for lane in lanes]

    def _known(
        self, lane: Lane, tags: Mapping[str, float], facts: dict[tuple[str, str, float], dict[str, object]]
    ) -> Lane:
        spec = lane.spec
        key = (spec.kind, lane.signature, lane.units)
        found = facts.get(key)
        if found is None:
            found = facts[key] = self._facts(lane)
        return with_facts(
            lane,
            **found,
            rooms=self._rooms(spec) if self.limits else {},
            served=max(lane.served, self.served.get(lane.id, 0)),
            share=tags[spec.source],
            weight=self.weights.get(spec.source, lane.weight),
        )

    def _facts(self, lane: Lane) -> dict[str, object]:
        """What lanes of one kind have in common."""
        signature = lane.signature or lane.spec.kind
        facts: dict[str, object] = {
            "signature": kind_of_work(signature, lane.units),
            "load": self.mean_loads.get(lane.spec.model_key, lane.load),
        }
        if (seconds := self.kinds.seconds(signature, lane.units)) is not None:
            facts["seconds"] = seconds
        return facts

    def _rooms(self, spec: LaneSpec) -> Mapping[str, int]:
        return {limit.name: self.rooms[limit.name] for limit in self.limits if limit.counts(spec)}

    def held_back(self, spec: LaneSpec) -> Iterable[str]:
        """The named limits that are reached and hold the jobs of a lane back."""
        return [name for name, room in self._rooms(spec).items() if room <= 0]
