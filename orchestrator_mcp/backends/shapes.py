"""Reads JSON that somebody else wrote: every answer is of the type that was asked for, whatever stood there."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

TEXT_LIMIT: Final = 2_000
"""Characters of a backend's words that may enter an error or a log line."""

_CONTROLS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def parse_json(raw: str | bytes) -> Any:
    """Read a JSON text as ComfyUI writes it, `NaN` and `Infinity` included.

    Args:
        raw: the text; its size is the caller's to limit.

    Raises:
        ValueError: it is not JSON, not UTF-8, or too deeply nested.
    """
    try:
        return json.loads(raw)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def record(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def whole(value: object) -> int | None:
    """The value if it is a whole number of at most 64 bits (`true` is none, `3.0` is one)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(2**63) <= value < 2**63:
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def number(value: object) -> float | None:
    """The value if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def identifier(value: object) -> str | None:
    """The value if it can be the id of a prompt or a node: 1 to 200 characters, none of them a control."""
    return value if isinstance(value, str) and 0 < len(value) <= 200 and not _CONTROLS.search(value) else None


def identifiers(value: object) -> tuple[str, ...]:
    """Every id in a JSON array, in its order; what is none is left out."""
    return tuple(found for found in map(identifier, items(value)) if found is not None)


def words(value: object, limit: int = TEXT_LIMIT) -> str:
    """What a backend said, as one line that is safe in an error or a log; empty if it is no text.

    Args:
        value: anything.
        limit: the most characters kept.
    """
    if not isinstance(value, str):
        return ""
    line = value[: limit + 1]
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else " " for letter in line)
    line = line.strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def prose(value: object, limit: int) -> str:
    """Text of several lines (a traceback, a caption): tabs and line ends stay, other controls go.

    Args:
        value: anything; empty if it is no text.
        limit: the most characters kept.
    """
    return _UNPRINTABLE.sub("", value[:limit]) if isinstance(value, str) else ""


def filename(value: object, limit: int = 1_024) -> str | None:
    """The value if it can name a file on a backend: text, not empty, no control characters.

    It is still the backend's name: never open a file of ours under it.
    """
    return value if isinstance(value, str) and 0 < len(value) <= limit and not _CONTROLS.search(value) else None


def finite(value: Any) -> Any:
    """The same JSON value with null in place of every `NaN` and `Infinity`."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
