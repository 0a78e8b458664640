"""What operators want of a backend: drained, paused or disabled, until they say otherwise. Pure.

A wish stands above the configuration only to take work away: what `config.yaml` takes out of the farm, no wish brings
back in. So there is one place to look for each reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

LONGEST_NOTE: Final = 200
"""Characters of a note."""


class WishKind(StrEnum):
    """What becomes of a backend; the words are those of its status."""

    DRAINING = "draining"
    PAUSED = "paused"
    DISABLED = "disabled"


class Action(StrEnum):
    """What an operator says."""

    DRAIN = "drain"
    PAUSE = "pause"
    RESUME = "resume"
    ENABLE = "enable"
    DISABLE = "disable"


WISHED: Final = {
    Action.DRAIN: WishKind.DRAINING,
    Action.PAUSE: WishKind.PAUSED,
    Action.DISABLE: WishKind.DISABLED,
}
"""Action -> the wish that it leaves; the others end one."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants of a backend.

    Attributes:
        kind: what.
        by: who said so.
        at: when.
        note: why, in the operator's words; may be empty.
    """

    kind: WishKind
    by: str
    at: datetime
    note: str = ""

    @property
    def words(self) -> str:
        """It as a reason, for people."""
        done = {
            WishKind.DRAINING: "it is drained: it ends what renders there and gets nothing new",
            WishKind.PAUSED: "it is paused: it ends what it has and gets nothing new",
            WishKind.DISABLED: "it is disabled",
        }[self.kind]
        note = f": {self.note}" if self.note else ""
        return f"{done} (by {self.by}, {self.at:%Y-%m-%d %H:%M} UTC{note})"


def after(action: Action, present: Wish | None, wished: Wish | None) -> Wish | None:
    """The wish that holds after an action.

    Args:
        action: what an operator says.
        present: what held before.
        wished: what the action leaves, for those that leave something.

    Returns:
        The present one again when nothing changes, so that its author and time stay.
    """
    if wished is not None:
        same = present is not None and (present.kind, present.note) == (wished.kind, wished.note or present.note)
        return present if same else wished
    ended = {WishKind.DISABLED} if action is Action.ENABLE else {WishKind.DRAINING, WishKind.PAUSED}
    return None if present is not None and present.kind in ended else present


def against(action: Action, present: Wish | None, *, enabled: bool, paused: bool) -> str | None:
    """Why an action cannot have the effect that it promises, in words; None when it can.

    Args:
        action: what an operator says.
        present: what holds.
        enabled: what the configuration says.
        paused: what the configuration says.
    """
    if action is Action.ENABLE and not enabled:
        return "it is disabled in the configuration: set `enabled: true` there"
    if action is Action.RESUME and present is not None and present.kind is WishKind.DISABLED:
        return "it is disabled: enable it"
    if action is Action.RESUME and paused:
        return "it is paused in the configuration: set `paused: false` there"
    return None
