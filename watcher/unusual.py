"""Files of the Inbox that a person should hear of: those that cannot be taken, and those that are not for it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from orchestrator_mcp.files import printable

_STUCK_AFTER: Final = 5.0  # seconds for which a lock of a virus scanner is nothing to tell of


@dataclass(frozen=True, kw_only=True)
class _Stuck:
    """A file that could not be taken.

    Attributes:
        since: when that was first seen, in seconds of the monotonic clock.
        reason: what the system says.
        claimed: it lies among the claims, no longer in the Inbox itself.
    """

    since: float
    reason: str
    claimed: bool


class Unusual:
    """What health tells of the files in an Inbox. Written by the thread that scans, read by others."""

    def __init__(self) -> None:
        self._stuck: dict[str, _Stuck] = {}
        self._strangers: dict[str, None] = {}

    def stuck(self, name: str, reason: str, now: float, *, claimed: bool) -> None:
        """A file could not be taken; it counts from the first time on.

        Args:
            name: where it lies.
            reason: what the system says.
            now: the monotonic clock, in seconds.
            claimed: it lies among the claims, no longer in the Inbox itself.
        """
        self._stuck.setdefault(name, _Stuck(since=now, reason=reason, claimed=claimed))

    def freed(self, name: str) -> None:
        """A file could be taken, or is gone."""
        self._stuck.pop(name, None)

    def stranger(self, name: str) -> None:
        """A file is not for the Inbox."""
        self._strangers[name] = None

    def taken(self, name: str) -> None:
        """What was no manifest has become one."""
        self._strangers.pop(name, None)

    def forget_but(self, present: Container[str]) -> None:
        """Forget what lies in the Inbox no longer."""
        self._strangers = {name: None for name in self._strangers if name in present}
        self._stuck = {name: stuck for name, stuck in self._stuck.items() if name in present or stuck.claimed}

    def trouble(self, now: float) -> str | None:
        """Which files cannot be taken although they should be, in words; None when there are none.

        Args:
            now: the monotonic clock, in seconds.
        """
        stuck = {name: each.reason for name, each in self._stuck.items() if now - each.since >= _STUCK_AFTER}
        if not stuck:
            return None
        name, reason = next(iter(stuck.items()))
        others = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
        return f"{printable(name)!r}{others} in the Inbox cannot be taken: {reason}."

    @property
    def notice(self) -> str | None:
        """Which files lie in the Inbox and are not for it, in words; None when there are none."""
        strangers = tuple(self._strangers)  # in one step: scans run in another thread
        if not strangers:
            return None
        others = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        return (
            f"{printable(strangers[0])!r}{others} in the Inbox: neither a manifest (name.json) nor a "
            "folder with one in it, so nothing is made of it. Pictures are rendered again from its folder rerender."
        )
