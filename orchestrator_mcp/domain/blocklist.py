"""Kinds of work that one backend fails and others do: further jobs of that kind avoid it for a while.

Kept in memory on purpose: it is a guess for an hour, it is learned again from a few jobs, and whoever mends a backend
and restarts the orchestrator wants it forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from orchestrator_mcp.domain.eligibility import refusal
from orchestrator_mcp.domain.lanes import LaneSpec
from orchestrator_mcp.domain.situation import Candidate, with_facts

MOST_KINDS: Final = 4_096
"""Kinds of work that are remembered; beyond that the one that was seen longest ago is forgotten."""

OUT_OF_MEMORY_AFTER: Final = 2  # such ends in a row, whatever becomes of the same work elsewhere


class End(Enum):
    """How a job ended on a backend, as far as that says something of the two together."""

    WELL = "well"
    NODE_ERROR = "node_error"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A kind of work that avoids a backend.

    Attributes:
        spec: what the kind needs.
        signature: of the kind: what it needs.
        backend_id: which backend.
        workflow_id: of the last job that failed there.
        failures: how many of that kind failed there in a row.
        reason: of the last one, in words.
        since: when it was blocked.
        until: when it is tried again.
    """

    spec: LaneSpec
    signature: str
    backend_id: str
    workflow_id: str
    failures: int
    reason: str
    since: datetime
    until: datetime

    @property
    def words(self) -> str:
        """Why a job avoids the backend."""
        times = "once" if self.failures == 1 else f"{self.failures} times in a row"
        return f"jobs of this kind failed there {times}; it is tried again after {self.until:%Y-%m-%d %H:%M} UTC"


@dataclass(kw_only=True)
class _Tally:
    errors: int = 0
    out_of_memory: int = 0


@dataclass(kw_only=True)
class _Kind:
    tallies: dict[str, _Tally] = field(default_factory=dict)
    well: set[str] = field(default_factory=set)


class Blocklist:
    """Remembers which kinds of work failed where."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()
        self._blocks: dict[tuple[str, str], Block] = {}  # by backend and signature

    def ended(
        self,
        backend_id: str,
        spec: LaneSpec,
        end: End,
        now: datetime,
        *,
        workflow_id: str = "",
        reason: str = "",
        after: int = 3,
        lasting: float = 3600.0,
    ) -> Block | None:
        """A job came to its end.

        Args:
            backend_id: where.
            spec: what it needs.
            end: how.
            now: when.
            workflow_id: whose job it was.
            reason: why it failed.
            after: so many failures in a row in a node block a backend, if others succeed.
            lasting: seconds for which it is blocked; 0 is not at all.

        Returns:
            The block that this made.
        """
        kind = self._kind(spec.needs)
        if end is End.WELL:
            kind.well.add(backend_id)
            kind.tallies.pop(backend_id, None)
            self._blocks.pop((backend_id, spec.needs), None)
            return None
        kind.well.discard(backend_id)
        tally = kind.tallies.setdefault(backend_id, _Tally())
        tally.errors += 1
        tally.out_of_memory += end is End.OUT_OF_MEMORY
        enough = tally.out_of_memory >= OUT_OF_MEMORY_AFTER or (
            tally.errors >= after and bool(kind.well - {backend_id})
        )
        if not enough or not lasting:
            return None
        block = self._blocks[backend_id, spec.needs] = Block(
            spec=spec,
            signature=spec.needs,
            backend_id=backend_id,
            workflow_id=workflow_id,
            failures=tally.errors,
            reason=reason,
            since=now,
            until=now + timedelta(seconds=lasting),
        )
        return block

    def of(self, backend_id: str, now: datetime) -> list[Block]:
        """What avoids a backend, the newest last.

        Args:
            backend_id: which.
            now: the moment.
        """
        return [block for block in self._blocks.values() if block.backend_id == backend_id and now < block.until]

    def words(self, backend_id: str, spec: LaneSpec, now: datetime) -> str | None:
        """Why such jobs avoid a backend, or None; those that are pinned to it do not.

        Args:
            backend_id: which.
            spec: what they need.
            now: the moment.
        """
        block = self._blocks.get((backend_id, spec.needs)) if spec.pin is None else None
        return block.words if block is not None and now < block.until else None

    def clear(self, backend_id: str, signature: str | None = None) -> int:
        """Forget what failed on a backend; how many blocks that ended.

        Args:
            backend_id: which.
            signature: only this kind, as a block shows it; None for all.
        """
        for name, kind in self._kinds.items():
            if signature in (None, name):
                kind.tallies.pop(backend_id, None)
        ended = [key for key in self._blocks if key[0] == backend_id and signature in (None, key[1])]
        for key in ended:
            del self._blocks[key]
        return len(ended)

    def applied(self, candidates: Sequence[Candidate], now: datetime) -> list[Candidate]:
        """The same backends, each with what avoids it now.

        A block holds only while another backend is there that can do the work: one that fails now and then is
        better than none.

        Args:
            candidates: every backend.
            now: the moment.
        """
        if not self._blocks:
            return list(candidates)
        self._blocks = {key: block for key, block in self._blocks.items() if now < block.until}
        blocked: dict[str, dict[str, str]] = {}
        for block in self._blocks.values():
            others = (one for one in candidates if (one.backend_id, block.signature) not in self._blocks)
            if any(_can(block.spec, other) for other in others):
                blocked.setdefault(block.backend_id, {})[block.signature] = block.words
        return [
            with_facts(candidate, blocked=blocked[candidate.backend_id])
            if candidate.backend_id in blocked
            else candidate
            for candidate in candidates
        ]

    def _kind(self, signature: str) -> _Kind:
        """What is known of a kind of work; the one that was seen longest ago makes room for a new one."""
        kind = self._kinds.setdefault(signature, _Kind())
        self._kinds.move_to_end(signature)
        if len(self._kinds) > MOST_KINDS:
            forgotten, _ = self._kinds.popitem(last=False)
            self._blocks = {key: block for key, block in self._blocks.items() if key[1] != forgotten}
        return kind


def _can(spec: LaneSpec, candidate: Candidate) -> bool:
    there = candidate.unavailable is None and candidate.catalogue is not None
    return there and refusal(spec.anywhere, candidate) is None
