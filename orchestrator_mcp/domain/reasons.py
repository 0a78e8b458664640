"""Why a job waits, in one line: each reason once, with the backends that give it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from orchestrator_mcp.domain.views import WaitingView

MOST_REASONS: Final = 3
MOST_BACKENDS: Final = 3  # named with a reason


def reasons_in_words(waiting: Iterable[WaitingView]) -> str:
    """The reasons that the backends give, those that several give once.

    Args:
        waiting: of one job.

    Returns:
        As `alpha, beta: it is offline; gamma: it is paused`; empty for none.
    """
    by_reason: dict[str, list[str]] = {}
    for why in waiting:
        by_reason.setdefault(why.reason, []).append(why.backend_id or "")
    told = [_reason(reason, backends) for reason, backends in list(by_reason.items())[:MOST_REASONS]]
    more = len(by_reason) - len(told)
    return "; ".join([*told, *([f"and {more} more reason{'s' if more > 1 else ''}"] if more else [])])


def _reason(reason: str, backends: list[str]) -> str:
    named = [backend for backend in backends if backend]
    if not named:
        return reason
    more = f" and {len(named) - MOST_BACKENDS} more" if len(named) > MOST_BACKENDS else ""
    return f"{', '.join(named[:MOST_BACKENDS])}{more}: {reason}"
