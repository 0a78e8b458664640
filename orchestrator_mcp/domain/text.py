"""Words and values that come from graphs, files and backends, made fit to show: to people, to programs, to models."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from orchestrator_mcp.redaction import HIDDEN, hide_within, redact

MAX_TEXT_BYTES: Final = 2000
MAX_ENTRIES: Final = 100  # of one list or object in what a backend said
MAX_LEVELS: Final = 12  # of it; deeper values are left out

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_KEPT = frozenset("\n\t")
_SECRET_KEY = re.compile(
    r"(?:.*[^a-z0-9])?(?:api[_-]?key|apikey|auth[_-]?token|token|authorization|password|passwd|secret|private[_-]?key)"
    r"(?:_comfy_org)?",
    re.IGNORECASE | re.DOTALL,
)


def plain(text: str, *, limit: int = MAX_TEXT_BYTES) -> str:
    """Leave out what a reader cannot see, and cap the rest.

    Control characters, bidirectional marks, zero-width characters, tags and lone surrogates can hide instructions
    from the person who looks at the same text, so none of them reaches a model.

    Args:
        text: whatever a graph or backend said.
        limit: most UTF-8 bytes to keep; a cut ends with an ellipsis.
    """
    seen = "".join(
        char for char in text[: limit * 2] if char in _KEPT or unicodedata.category(char) not in _UNSEEN
    ).strip()
    encoded = seen.encode()
    if len(encoded) <= limit:
        return seen
    return encoded[: max(0, limit - 3)].decode(errors="ignore") + "…"


def plain_or_none(text: str | None, *, limit: int = MAX_TEXT_BYTES) -> str | None:
    """`plain`, where there may be nothing to say."""
    return None if text is None else plain(text, limit=limit)


def told(text: str, *, limit: int = MAX_TEXT_BYTES) -> str:
    """What somebody else said, as we pass it on: `plain`, and without secrets."""
    return plain(redact(text), limit=limit)


def told_or_none(text: str | None, *, limit: int = MAX_TEXT_BYTES) -> str | None:
    """`told`, where there may be nothing to say."""
    return None if text is None else told(text, limit=limit)


def without_secrets(value: Any) -> Any:
    """A caller's own values as they are given back: all as it was, but for secrets.

    Hidden are texts under names such as `api_key_comfy_org`, `Authorization` or `6.password`, and within other texts
    the passwords of urls, bearer tokens, and every value that this program knows to be secret.

    Args:
        value: JSON, as deep as a manifest may be.
    """
    if isinstance(value, str):
        return hide_within(value)
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {
            hide_within(key): HIDDEN if _is_secret(key, item) else without_secrets(item) for key, item in value.items()
        }
    return value


def told_values(value: Any, *, levels: int = MAX_LEVELS) -> Any:
    """Values that a backend gave, as we pass them on: bounded, without secrets and without what cannot be seen.

    Args:
        value: JSON of any size.
        levels: how deep they are followed.
    """
    if isinstance(value, str):
        return told(value)
    if isinstance(value, list | tuple):
        return [told_values(item, levels=levels - 1) for item in value[:MAX_ENTRIES]] if levels else []
    if isinstance(value, dict):
        entries = list(value.items())[:MAX_ENTRIES] if levels else []
        return {
            told(str(key), limit=200): HIDDEN if _is_secret(str(key), item) else told_values(item, levels=levels - 1)
            for key, item in entries
        }
    return value


def _is_secret(key: str, value: object) -> bool:
    """Whether a value is hidden because of its name. A link to another node is not a secret."""
    spelled_out = isinstance(value, str) and value != "" or (isinstance(value, list | dict) and not _is_link(value))
    return bool(spelled_out and _SECRET_KEY.fullmatch(key[-200:]))


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
