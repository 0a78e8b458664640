"""When the next job of a backend is claimed ahead: in the last moments of a render whose end is known well enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator_mcp.domain.estimates import Estimate

AHEAD: Final = 0.5
"""Seconds before the end of a render when the next job may be claimed: what arrives later waits for one render more."""

SHARE: Final = 0.5  # of a render that is shorter than twice that: of its last half

BEYOND: Final = 5.0
"""Seconds for which a successor waits when the render takes longer than was thought. Where it is usual to be half as
far off there is none: such a render is so long that the moments between two are nothing."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The last moments of a render.

    Attributes:
        opens: when its successor may be claimed, seconds; of the clock on which it began.
        closes: when a successor that still waits goes back to the queue.
    """

    opens: float
    closes: float


def window(began: float, expected: Estimate | None) -> Window | None:
    """When a render has its last moments.

    Args:
        began: when it was sent to a backend that did nothing else, seconds.
        expected: what it takes, with its models to load.

    Returns:
        None while that is not known well enough.
    """
    if expected is None or expected.deviation > BEYOND / 2:
        return None
    end = began + expected.mean
    return Window(opens=end - min(AHEAD, SHARE * expected.mean), closes=end + BEYOND)
