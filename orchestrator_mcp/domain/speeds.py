"""How fast backends are, learned: what a kind of work takes, how a backend compares, what loading a model takes.

What a backend has rendered of a kind itself is believed first. Of a pair that nobody has seen yet, the time is what
the kind takes elsewhere times the backend's pace; both are fitted together, so that a backend which only ever got the
heavy work is not mistaken for a slow one.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from orchestrator_mcp.domain.estimates import MEMORY, Estimate

MOST_PAIRS: Final = 100_000
"""(backend, kind of work) that are remembered; beyond that the one that was seen longest ago is forgotten."""

_DOUBT: Final = 0.2  # how strongly a backend is taken for an ordinary one, in observations
_LONGEST: Final = 1e9  # seconds
_MOVED: Final = 0.02  # by how much a kind of work must have changed for what was told of it to be told anew


@dataclass(frozen=True, kw_only=True)
class Learned:
    """One thing that was learned, as it is kept.

    Attributes:
        sort: what it is of.
        backend_id: whom it is of.
        subject: the kind of work, or the models that are loaded.
        estimate: what it takes, seconds; of a render, for each unit of work.
    """

    sort: Literal["render", "load"]
    backend_id: str
    subject: str
    estimate: Estimate


@dataclass(slots=True)
class _Sum:
    """A weighted mean, in its making.

    Attributes:
        weight: of all that was added.
        total: of what was added, each times its weight.
    """

    weight: float = 0.0
    total: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / self.weight

    def add(self, weight: float, value: float) -> None:
        """Add something, or with a weight below 0 take out what was added before."""
        self.weight += weight
        self.total += weight * value


class Speeds:
    """What has been learned of renders and loads."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[tuple[str, str], Estimate] = OrderedDict()
        self._backends: dict[str, dict[str, Estimate]] = defaultdict(dict)
        self._kinds: dict[str, set[str]] = defaultdict(set)  # who did each
        self._pace: dict[str, float] = {}  # logarithms
        self._kind: dict[str, float] = {}  # logarithms of seconds for each unit
        self._sums: dict[str, _Sum] = defaultdict(_Sum)  # kind -> of the backends that did it: logarithm less pace
        self._loads: OrderedDict[tuple[str, str], Estimate] = OrderedDict()
        self._paces: dict[str, dict[str, float]] = {}
        self._own_loads: dict[str, dict[str, float]] = defaultdict(dict)
        self._loads_of_model: dict[str, dict[str, float]] = defaultdict(dict)
        self._mean_loads: dict[str, float] = {}
        self._other_loads: set[str] = set()  # models whose mean is no longer as it was told
        self._changed: set[str] = set()
        self._news: dict[tuple[Literal["render", "load"], str, str], Estimate] = {}

    def rendered(self, backend_id: str, signature: str, units: float, seconds: float) -> None:
        """A backend rendered something with its models warm.

        Args:
            backend_id: which one.
            signature: the kind of work: equal workflows with other parameters are the same kind.
            units: how much of it, size x steps; 1.0 if nobody counts.
            seconds: what it took.
        """
        kind = kind_of_work(signature, units)
        known = self._pairs.get((backend_id, kind))
        each = seconds / _sound_units(units)
        estimate = known.seen(each) if known else Estimate.first(each)
        self._keep(backend_id, kind, estimate)
        self._news["render", backend_id, kind] = estimate
        self._pairs.move_to_end((backend_id, kind))
        if len(self._pairs) > MOST_PAIRS:
            (other, forgotten), former = self._pairs.popitem(last=False)
            self._forget(other, forgotten, former)
        self._fit(backend_id, kind)

    def _keep(self, backend_id: str, kind: str, estimate: Estimate) -> None:
        """Put an estimate in the place of the one before it."""
        pace, former = self._pace.get(backend_id, 0.0), self._pairs.get((backend_id, kind))
        if former is not None:
            self._sums[kind].add(-_trust(former), math.log(former.mean) - pace)
        self._sums[kind].add(_trust(estimate), math.log(estimate.mean) - pace)
        self._pairs[backend_id, kind] = self._backends[backend_id][kind] = estimate
        self._kinds[kind].add(backend_id)

    def _forget(self, backend_id: str, kind: str, estimate: Estimate) -> None:
        del self._backends[backend_id][kind]
        self._sums[kind].add(-_trust(estimate), math.log(estimate.mean) - self._pace.get(backend_id, 0.0))
        self._kinds[kind].remove(backend_id)
        if not self._kinds[kind]:
            del self._kinds[kind], self._sums[kind]
            self._kind.pop(kind, None)
        if not self._backends[backend_id]:
            del self._backends[backend_id]
            self._pace.pop(backend_id, None)
        self._tell_anew(backend_id)

    def _fit(self, backend_id: str, kind: str) -> None:
        """One step towards seconds = kind x pace for all pairs that share the backend or the kind."""
        if kind not in self._kind:
            self._kind[kind] = math.log(self._pairs[backend_id, kind].mean) - self._pace.get(backend_id, 0.0)
        self._take_pace(backend_id)
        self._tell_anew(backend_id)
        level = self._sums[kind].mean
        if abs(level - self._kind[kind]) > _MOVED:
            self._tell_anew(*self._kinds[kind])
        self._kind[kind] = level

    def _take_pace(self, backend_id: str) -> None:
        """See how a backend compares; the sums of what it did are kept right, and not made anew of all backends."""
        own, weight, total = self._backends[backend_id], _DOUBT, 0.0
        for kind, estimate in own.items():
            trust = _trust(estimate)
            weight += trust
            total += trust * (math.log(estimate.mean) - self._kind[kind])
        pace = total / weight
        slower = pace - self._pace.get(backend_id, 0.0)
        self._pace[backend_id] = pace
        for kind, estimate in own.items():
            self._sums[kind].total -= _trust(estimate) * slower

    def _tell_anew(self, *backends: str) -> None:
        self._changed.update(backends)
        for backend_id in backends:
            self._paces.pop(backend_id, None)

    def changed(self) -> set[str]:
        """The backends of which something else is told than when this was asked before."""
        changed, self._changed = self._changed, set()
        return changed

    def loaded(self, backend_id: str, model_key: str, seconds: float) -> None:
        """A backend loaded the models of a lane.

        Args:
            backend_id: which one.
            model_key: the models, as lanes call them.
            seconds: what it took on top of the render.
        """
        known = self._loads.get((backend_id, model_key))
        estimate = known.seen(seconds) if known else Estimate.first(seconds)
        self._news["load", backend_id, model_key] = estimate
        self._keep_load(backend_id, model_key, estimate)

    def _keep_load(self, backend_id: str, model_key: str, estimate: Estimate) -> None:
        self._loads[backend_id, model_key] = estimate
        self._loads.move_to_end((backend_id, model_key))
        self._own_loads[backend_id] = {**self._own_loads[backend_id], model_key: estimate.mean}
        self._loads_of_model[model_key][backend_id] = estimate.mean
        self._changed.add(backend_id)
        self._other_loads.add(model_key)
        if len(self._loads) > MOST_PAIRS:
            self._forget_load(*self._loads.popitem(last=False)[0])

    def _forget_load(self, backend_id: str, model_key: str) -> None:
        own = self._own_loads[backend_id]
        self._own_loads[backend_id] = {model: mean for model, mean in own.items() if model != model_key}
        del self._loads_of_model[model_key][backend_id]
        self._changed.add(backend_id)
        self._other_loads.add(model_key)

    def seconds(self, signature: str, units: float) -> float | None:
        """What a kind of work takes on a backend of pace 1; None while nobody has done it."""
        return _kind_seconds(self._kind, signature, units)

    def kinds(self) -> KindSeconds:
        """The same, frozen."""
        return KindSeconds(logarithms=self._kind.copy())

    def pace(self, backend_id: str) -> float:
        """How a backend compares: 1.0 is ordinary (and unknown), 2.0 half as fast."""
        return math.exp(self._pace.get(backend_id, 0.0))

    def paces(self, backend_id: str) -> Mapping[str, float]:
        """Where a backend's own experience differs from its pace: kind of work -> pace."""
        known = self._paces.get(backend_id)
        if known is None:
            own = self._backends.get(backend_id, {})
            known = {kind: self._believed(backend_id, kind, estimate) for kind, estimate in own.items()}
            self._paces[backend_id] = known
        return known

    def _believed(self, backend_id: str, kind: str, estimate: Estimate) -> float:
        """Between its general pace and its own time for this, the more the oftener it did it."""
        trust = estimate.count / (estimate.count + 1)
        own = math.log(estimate.mean) - self._kind[kind]
        return math.exp(trust * own + (1 - trust) * self._pace.get(backend_id, 0.0))

    def expected(self, backend_id: str, signature: str, units: float) -> Estimate | None:
        """What a render takes on a backend with its models warm, and how far off that may be; None while unknown."""
        kind = kind_of_work(signature, units)
        seconds = self.seconds(signature, units)
        if seconds is None:
            return None
        own = self._pairs.get((backend_id, kind))
        if own is None:
            mean = seconds * self.pace(backend_id)
            return Estimate(mean=mean, deviation=mean / 3, count=1)
        return own.scaled(
            _sound_units(units) * self._believed(backend_id, kind, own) * math.exp(self._kind[kind]) / own.mean
        )

    def load(self, backend_id: str, model_key: str) -> Estimate | None:
        """What loading takes on a backend; None while it never did."""
        return self._loads.get((backend_id, model_key)) if model_key else None

    def loads(self, backend_id: str) -> Mapping[str, float]:
        """What loading takes on a backend: model key -> seconds; never changes once it is told."""
        return self._own_loads.get(backend_id, {})

    def mean_loads(self) -> Mapping[str, float]:
        """What loading each model takes on the average; never changes once it is told."""
        if self._other_loads:
            seen = {model: self._loads_of_model[model].values() for model in self._other_loads}
            kept = {model: mean for model, mean in self._mean_loads.items() if model not in seen}
            self._mean_loads = kept | {model: sum(means) / len(means) for model, means in seen.items() if means}
            self._other_loads.clear()
        return self._mean_loads

    def news(self) -> list[Learned]:
        """What was learned since this was asked before; ask for it regularly, or it grows."""
        news, self._news = self._news, {}
        return [
            Learned(sort=sort, backend_id=backend_id, subject=subject, estimate=estimate)
            for (sort, backend_id, subject), estimate in news.items()
        ]

    def recall(self, kept: Iterable[Learned]) -> None:
        """Take over what was learned before, the oldest first; what is not sound in it is left out.

        Args:
            kept: what `news` told once.
        """
        for one in kept:
            if not _is_sound(one.estimate):
                continue
            if one.sort == "load":
                self._keep_load(one.backend_id, one.subject, one.estimate)
                continue
            self._keep(one.backend_id, one.subject, one.estimate)
            self._fit(one.backend_id, one.subject)
        for _ in range(3):
            for backend_id, kind in self._pairs:
                self._fit(backend_id, kind)

    def to_json(self) -> str:
        """What is worth keeping when the process ends."""
        return json.dumps(
            {
                "renders": [[*pair, one.mean, one.deviation, one.count] for pair, one in self._pairs.items()],
                "loads": [[*pair, one.mean, one.deviation, one.count] for pair, one in self._loads.items()],
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Speeds:
        """Read what `to_json` wrote; what is not sound in it is left out, for it is learned again.

        Args:
            text: from a file or a table.
        """
        speeds = cls()
        try:
            kept = json.loads(text)
        except (ValueError, RecursionError):
            return speeds
        speeds.recall([*_rows(kept, "render"), *_rows(kept, "load")])
        return speeds


def _rows(kept: object, sort: Literal["render", "load"]) -> Iterator[Learned]:
    rows = kept.get(f"{sort}s") if isinstance(kept, dict) else None
    for row in rows[:MOST_PAIRS] if isinstance(rows, list) else ():
        match row:
            case [str(backend_id), str(subject), float(mean), float(deviation), int(count)]:
                estimate = Estimate(mean=mean, deviation=deviation, count=count)
                yield Learned(sort=sort, backend_id=backend_id, subject=subject, estimate=estimate)


def _trust(estimate: Estimate) -> int:
    """How many observations it counts for."""
    return min(estimate.count, MEMORY)


def _is_sound(estimate: Estimate) -> bool:
    return 0 < estimate.mean < _LONGEST and 0 < estimate.deviation < _LONGEST and estimate.count > 0


@dataclass(frozen=True, kw_only=True)
class KindSeconds:
    """What each kind of work takes on a backend of pace 1, at one moment.

    Attributes:
        logarithms: kind of work -> logarithm of the seconds that a unit of it takes.
    """

    logarithms: Mapping[str, float]

    def seconds(self, signature: str, units: float) -> float | None:
        """See `Speeds.seconds`."""
        return _kind_seconds(self.logarithms, signature, units)


def _kind_seconds(logarithms: Mapping[str, float], signature: str, units: float) -> float | None:
    """Its own size if that was seen, else the nearest other one, counted for each unit."""
    size = _size(units)
    for step in range(8):
        for other in (size - step, size + step):
            if (found := logarithms.get(f"{signature}#{other}")) is not None:
                return math.exp(found) * _sound_units(units)
    return None


def kind_of_work(signature: str, units: float) -> str:
    """Work of one signature whose sizes differ by less than half is one kind.

    Args:
        signature: the workflow without its parameters.
        units: size x steps.
    """
    return f"{signature}#{_size(units)}"


def _size(units: float) -> int:
    return round(math.log2(_sound_units(units)))


def _sound_units(units: float) -> float:
    return units if math.isfinite(units) and units > 1e-9 else 1.0
