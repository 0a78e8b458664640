"""The circuit breaker of one backend. Pure: whoever calls it says what time it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_DOUBLINGS: Final = 6  # of the pause between two trials


@dataclass(kw_only=True, eq=False)
class Breaker:
    """Closed: jobs flow. Open: none. On trial: one at a time, until one of them shows how it is.

    Attributes:
        reason: why it is not closed, in words; None when it is.
        trial: whether one job may be tried.
    """

    reason: str | None = None
    trial: bool = False
    _failures: int = 0
    _openings: int = 0
    _due: float = 0.0

    @property
    def open(self) -> bool:
        """Whether the backend may get no job at all."""
        return self.reason is not None and not self.trial

    def failed(self, reason: str, now: float, *, most: int, pause: float) -> bool:
        """An attempt went wrong there.

        Args:
            reason: how.
            now: monotonic seconds.
            most: failures in a row that open it.
            pause: seconds until the first trial.

        Returns:
            Whether it has just opened.
        """
        self._failures += 1
        if self.open or (self.reason is None and self._failures < most):
            return False
        words = reason if self.trial else f"{self._failures} failures in a row, at last: {reason}"
        return self.trip(words, now, pause=pause)

    def trip(self, reason: str, now: float, *, pause: float) -> bool:
        """Open it, however it was before.

        Args:
            reason: why, in words.
            now: monotonic seconds.
            pause: seconds until the first trial; doubles with each opening that no success came between.

        Returns:
            Whether that is news.
        """
        if self.open:
            self.reason = reason
            return False
        self.reason, self.trial = reason, False
        self._due = now + pause * 2 ** min(self._openings, MOST_DOUBLINGS)
        self._openings += 1
        return True

    def due(self, now: float) -> bool:
        """Whether it is time to look if a trial makes sense."""
        return self.open and now >= self._due

    def put_off(self, reason: str, now: float, *, pause: float) -> None:
        """It is still sick to see: no trial yet."""
        self.reason = reason
        self._due = now + pause

    def allow_trial(self) -> None:
        """From now on one job may be tried."""
        self.trial = True

    def succeeded(self) -> bool:
        """An attempt came through; whether that closed it."""
        was_sick = self.reason is not None
        self.reason, self.trial = None, False
        self._failures = self._openings = 0
        return was_sick
