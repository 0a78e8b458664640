"""What experience says at one moment, frozen, so that a decision may be made on another thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator_mcp.domain.eligibility import Eligibility
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.limits import Limit
from orchestrator_mcp.domain.placement import choose
from orchestrator_mcp.domain.shares import Shares
from orchestrator_mcp.domain.situation import Candidate, Choice, Lane
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
    sources: frozenset[str] | None = field(default=None)

    def choose(self, lanes: Sequence[Lane], candidates: Sequence[Candidate], now: int) -> list[Choice]:
        """`placement.choose` with all that is known.

        Args:
            lanes: those with work, as the store has them.
            candidates: every backend; pass `self.candidates`, others are taken as they are.
            now: milliseconds.
        """
        self.sources = frozenset(lane.spec.source for lane in lanes)
        tags = self.shares.tags(self.sources)
        counting: dict[str, Mapping[str, int]] = {}
        return choose([self._known(lane, tags, counting) for lane in lanes], candidates, now, self.eligibility)

    def _known(self, lane: Lane, tags: Mapping[str, float], counting: dict[str, Mapping[str, int]]) -> Lane:
        spec = lane.spec
        kind = spec.kind
        signature = lane.signature or kind
        if kind not in counting:
            counting[kind] = self._rooms(spec) if self.limits else {}
        return Lane(
            id=lane.id,
            spec=spec,
            priority=lane.priority,
            since=lane.since,
            count=lane.count,
            served=max(lane.served, self.served.get(lane.id, 0)),
            seconds=self.kinds.seconds(signature, lane.units) if lane.seconds is None else lane.seconds,
            signature=kind_of_work(signature, lane.units),
            units=lane.units,
            load=self.mean_loads.get(spec.model_key, lane.load),
            share=tags[spec.source],
            weight=self.weights.get(spec.source, lane.weight),
            rooms=counting[kind] or lane.rooms,
            deadline=lane.deadline,
        )

    def _rooms(self, spec: LaneSpec) -> Mapping[str, int]:
        return {limit.name: self.rooms[limit.name] for limit in self.limits if limit.counts(spec)}

    def held_back(self, spec: LaneSpec) -> Iterable[str]:
        """The named limits that are reached and hold the jobs of a lane back."""
        return [name for name, room in self._rooms(spec).items() if room <= 0]
