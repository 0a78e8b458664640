"""Decisions about files in the Inbox. Pure: they look at names, stats and times, and touch nothing."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from enum import Enum
from typing import Final

from orchestrator_mcp.files import Signature

PROCESSED: Final = "processed"
FAILED: Final = "failed"
RERENDER: Final = "rerender"
"""The one folder from which pictures are taken, to be rendered again."""
RESERVED: Final = frozenset({PROCESSED, FAILED, RERENDER})

ERROR_SUFFIX: Final = ".error.json"
MOST_NAME_BYTES: Final = 200
"""Longer names are shortened when a file is claimed, so that a number or a suffix always fits behind them."""

_PASSING_ENDS: Final = ("~", ".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", ".swx", ".lock")
_PASSING_NAMES: Final = frozenset({"thumbs.db", "desktop.ini"})


class Sort(Enum):
    """What an entry of the Inbox is to us."""

    MANIFEST = "a manifest"
    FOLDER = "a folder that may hold a manifest"
    PICTURE = "a picture, film or sound that may carry a workflow"
    LINK = "a link named like a manifest, or in the place of a picture"
    STRANGER = "nothing that is taken from where it lies"
    PASSING = "somebody's temporary file, or our own"


class Ripeness(Enum):
    """What is to be done with a manifest now."""

    WAIT = "it may still change"
    TAKE = "it is whole"
    REFUSE = "it is wrong, and has been so for long enough"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a file is given, in seconds without any change to it.

    Attributes:
        second_look: where leases tell nothing, before it is taken.
        settle: before one that does not parse is refused.
        empty: before one without content is refused.
        stranger: before somebody is told about what is no manifest.
    """

    second_look: float = 1.0
    settle: float = 30.0
    empty: float = 60.0
    stranger: float = 10.0


LOCAL: Final = Patience()
NETWORK: Final = Patience(second_look=3.0)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look at a manifest showed.

    Attributes:
        unchanged: seconds since the file was first seen with this size and time.
        writer: whether somebody has it open for writing; None when nobody can tell.
        empty: it has no content.
        parses: it was read whole and is a JSON object.
    """

    unchanged: float
    writer: bool | None
    empty: bool = False
    parses: bool = False


def sort_entry(name: str, mode: int, *, rerender: bool = False) -> Sort:
    """Say what an entry is by its name and its file mode (of the entry itself, not of a link's target).

    Args:
        name: as `os` gives it.
        mode: `st_mode` of `lstat`.
        rerender: whether it lies in the folder for pictures.
    """
    folded = name.casefold()
    if folded.startswith((".", "~")) or folded.endswith(_PASSING_ENDS) or folded in _PASSING_NAMES:
        return Sort.PASSING
    if stat.S_ISDIR(mode):
        return Sort.STRANGER if rerender else Sort.PASSING if folded in RESERVED else Sort.FOLDER
    picture = rerender and not is_document(name)
    if not (picture or is_document(name)) or folded.endswith(ERROR_SUFFIX):
        return Sort.STRANGER
    if stat.S_ISLNK(mode):
        return Sort.LINK
    if not stat.S_ISREG(mode):
        return Sort.STRANGER
    return Sort.PICTURE if picture else Sort.MANIFEST


def is_document(name: str) -> bool:
    """Whether a file is read as JSON; any other is looked into for the workflow that it carries."""
    return name.casefold().endswith(".json")


def ripeness(look: Look, patience: Patience) -> Ripeness:
    """Decide about a manifest.

    A whole JSON object that nobody writes to is taken at once: no proper beginning of an object is an object. Where
    leases tell nothing, it must also stay unchanged for a while.
    """
    if look.writer:
        return Ripeness.WAIT
    if look.parses:
        quiet = look.writer is False or look.unchanged >= patience.second_look
        return Ripeness.TAKE if quiet else Ripeness.WAIT
    return Ripeness.REFUSE if look.unchanged >= (patience.empty if look.empty else patience.settle) else Ripeness.WAIT


@dataclass(kw_only=True)
class Sighting:
    """What is remembered of a file between two looks.

    Attributes:
        signature: its content, as far as a stat tells.
        since: when it was first seen so, in seconds of the monotonic clock.
        refusal: why it cannot be taken as it is; it need not be read again until it changes.
        told: a person was told about it already.
    """

    signature: Signature
    since: float
    refusal: Exception | None = None
    told: bool = False


def pause_until_next_look(since: list[float], now: float, *, interval: float) -> float:
    """How long to wait for the next scan: short while files are young, for their writers are about to finish.

    Args:
        since: when each file that waits was last seen to change.
        now: the monotonic clock.
        interval: seconds between scans of a quiet folder.
    """
    youngest = max(since, default=None)
    if youngest is None:
        return interval
    return min(interval, max(0.05, (now - youngest) / 4))
