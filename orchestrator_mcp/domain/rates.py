"""How often somebody may do something: token buckets, one for each name. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST_NAMES: Final = 10_000
"""Beyond so many, whoever came longest ago is forgotten, and so begins with a full bucket again."""


class Buckets:
    """For each name, what is left of its burst; it fills up at a steady rate."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float, *, rate: float, burst: int) -> float:
        """Take one out, if there is one.

        Args:
            name: whose bucket.
            now: seconds on a clock that never goes back.
            rate: how many a second flow in, above 0.
            burst: how many it holds, at least 1.

        Returns:
            0.0 when there was one; else the seconds after which there is.
        """
        left, since = self._left.pop(name, (float(burst), now))
        left = min(float(burst), left + max(0.0, now - since) * rate)
        taken = left >= 1.0
        self._left[name] = (left - 1.0 if taken else left, now)
        if len(self._left) > MOST_NAMES:
            self._left.popitem(last=False)
        return 0.0 if taken else (1.0 - left) / rate
