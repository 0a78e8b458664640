"""The configuration as it is now: read live, replaced whole, and what of it only a restart can change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from orchestrator_mcp.domain.limits import QueueLimits
from orchestrator_mcp.settings.sections import LimitSettings
from orchestrator_mcp.settings.settings import Settings

FIXED: Final = frozenset({"data_dir", "log_dir", "inbox_dir", "outbox_dir", "workflows_dirs", "server"})
FIXED_WITHIN: Final = frozenset({"limits.body_bytes", "limits.graph_depth"})
_SPELLED: Final = {"workflows_dirs": "workflows_dir"}
_NOT_KEYS: Final = frozenset({"config_file", "warnings"})


class CurrentSettings:
    """What every part of the house asks instead of keeping its own copy.

    Args:
        settings: with which the program starts.
    """

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    @property
    def limits(self) -> LimitSettings:
        """The limits that hold where the server listens: see `Settings.limits_in_force`."""
        return self._limits

    @property
    def queue_limits(self) -> QueueLimits:
        """How many jobs may wait, of all and of each source."""
        return self._queue_limits

    @property
    def now(self) -> Settings:
        """All of it, from one file: a reload is seen whole or not at all."""
        return self._now

    def replace(self, settings: Settings) -> None:
        """Let other settings hold from here on."""
        self._now = settings
        self._limits = settings.limits_in_force
        self._queue_limits = settings.queue_limits


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What tells two configurations apart.

    Attributes:
        changed: keys that can change while the program runs.
        fixed: keys that need a restart.
    """

    changed: tuple[str, ...]
    fixed: tuple[str, ...]


def difference(before: Settings, after: Settings) -> Difference:
    """Compare two configurations key by key.

    Args:
        before: what held.
        after: what the file says now.

    Returns:
        Keys as people write them in the file: those of sections with a dot, `backends` as one.
    """
    changed: list[str] = []
    fixed: list[str] = []
    for name in Settings.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if name in _NOT_KEYS or old == new:
            continue
        for key in _keys_within(name, old, new):
            (fixed if name in FIXED or key in FIXED_WITHIN else changed).append(key)
    return Difference(changed=tuple(changed), fixed=tuple(fixed))


def merged(running: Settings, wanted: Settings) -> Settings:
    """The settings that can hold now: everything of `wanted` that needs no restart, the rest as it runs.

    Args:
        running: what holds.
        wanted: what the file says.
    """
    live = {
        name: getattr(wanted, name)
        for name in Settings.model_fields
        if name not in FIXED and name not in _NOT_KEYS and name != "limits"
    }
    kept = {key.partition(".")[2] for key in FIXED_WITHIN}
    limits = wanted.limits.model_copy(update={key: getattr(running.limits, key) for key in kept})
    return running.model_copy(update={**live, "limits": limits})


def _keys_within(name: str, old: object, new: object) -> list[str]:
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        return [f"{name}.{key}" for key in type(old).model_fields if getattr(old, key) != getattr(new, key)]
    return [_SPELLED.get(name, name)]
