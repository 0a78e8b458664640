"""How much one caller may ask for: submissions a second, and streams at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.access import Caller
from orchestrator_mcp.domain.rates import Buckets
from orchestrator_mcp.errors import TooManyError
from orchestrator_mcp.settings import CurrentSettings

STREAM_RETRY: Final = 5.0  # seconds


class Gate:
    """Counts what each token, or each address where none is asked for, does now.

    Args:
        settings: the limits; a change holds from the next question on.
        clock: the time.
    """

    def __init__(self, settings: CurrentSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._submissions = Buckets()
        self._streams: Counter[str] = Counter()

    def pass_submission(self, by: Caller) -> None:
        """Count one submission.

        Raises:
            TooManyError: this caller is too fast.
        """
        limits, name = self._settings.limits, by.counted_as
        if name is None or not limits.submits_per_second:
            return
        rate, burst = limits.submits_per_second, limits.submit_burst
        wait = self._submissions.take(name, self._clock.monotonic(), rate=rate, burst=burst)
        if wait > 0:
            raise TooManyError(
                f"Too many submissions from {name}: limits.submits_per_second is {rate:g}, after a burst of {burst}.",
                retry_after=wait,
                hint="Wait, and send the rest more slowly.",
            )

    @contextmanager
    def stream(self, by: Caller) -> Iterator[None]:
        """Count a stream for as long as the block runs.

        Raises:
            TooManyError: this caller has as many open as it may.
        """
        most, name = self._settings.limits.streams, by.counted_as
        if name is None:
            yield
            return
        if most and self._streams[name] >= most:
            raise TooManyError(
                f"Too many open streams from {name}: limits.streams is {most}.",
                retry_after=STREAM_RETRY,
                hint="Close one first, or look at the job without a stream.",
            )
        self._streams[name] += 1
        try:
            yield
        finally:
            self._streams[name] -= 1
            if not self._streams[name]:
                del self._streams[name]
