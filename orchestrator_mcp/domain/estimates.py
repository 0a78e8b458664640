"""How long things take, learned from what they took: a mean that forgets, and how far off it tends to be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

MEMORY: Final = 12
"""Observations that count; older ones fade. A dozen renders tell a warm card from a throttled one."""

OUTLIER: Final = 4.0
"""Deviations beyond which an observation is cut: one hang must not spoil what a hundred renders taught."""

FLOOR: Final = 0.02
"""The least relative deviation: nothing is timed better than that."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What something takes.

    Attributes:
        mean: seconds.
        deviation: mean absolute deviation from it, seconds.
        count: observations so far.
        surprises: how many in a row were cut on the same side; then it is a change, not an outlier.
    """

    mean: float
    deviation: float
    count: int = 1
    surprises: int = 0

    @classmethod
    def first(cls, seconds: float) -> Estimate:
        """After one observation: a third of it either way would not surprise.

        Args:
            seconds: what it took; anything but a finite number above 0 counts as a millisecond.
        """
        sound = _sound(seconds)
        return cls(mean=sound, deviation=sound / 3)

    def seen(self, seconds: float) -> Estimate:
        """Learn from one more.

        Args:
            seconds: what it took.

        Returns:
            A new estimate. The third surprise in a row on the same side begins it anew: a card was changed.
        """
        observed = _sound(seconds)
        reach = OUTLIER * max(self.deviation, FLOOR * self.mean)
        error = observed - self.mean
        if abs(error) <= reach:
            return self._moved(error, 0)
        side = 1 if error > 0 else -1
        surprises = self.surprises + side if self.surprises * side >= 0 else side
        if abs(surprises) >= 3:
            return replace(Estimate.first(observed), count=self.count + 1)
        return self._moved(math.copysign(reach, error), surprises)

    def _moved(self, error: float, surprises: int) -> Estimate:
        gain = max(1 / (self.count + 1), 1 / MEMORY)
        return Estimate(
            mean=self.mean + gain * error,
            deviation=max(FLOOR * self.mean, self.deviation + gain * (abs(error) - self.deviation)),
            count=self.count + 1,
            surprises=surprises,
        )

    def scaled(self, factor: float) -> Estimate:
        """What `factor` times as much takes, above 0."""
        return replace(self, mean=self.mean * factor, deviation=self.deviation * factor)

    def remaining(self, elapsed: float) -> float:
        """How much longer it takes if it has gone on for a while.

        Args:
            elapsed: seconds since it began.

        Returns:
            Seconds above 0. What is overdue is expected to go on for as long as it is late, and a deviation.
        """
        left = self.mean - elapsed
        return left if left > self.deviation / 2 else max(self.deviation / 2, -left)


def _sound(seconds: float) -> float:
    return seconds if math.isfinite(seconds) and seconds > 0.001 else 0.001
