"""Words that come from graphs, files and backends, made safe to show to a model."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

MAX_TEXT_BYTES = 2000
MAX_ANSWER_BYTES = 16_000  # of list entries; hosts warn at about 40 kB and cut at 100 kB

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_KEPT = frozenset("\n\t")
_Entry = TypeVar("_Entry", bound=BaseModel)


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


def fitting(entries: Sequence[_Entry], *, limit: int = MAX_ANSWER_BYTES) -> list[_Entry]:
    """The first entries that fit into an answer, at least one.

    Args:
        entries: what there is to tell, most wanted first.
        limit: bytes of JSON that they may take together.
    """
    kept: list[_Entry] = []
    used = 0
    for entry in entries:
        used += len(entry.model_dump_json(exclude_none=True).encode())
        if kept and used > limit:
            break
        kept.append(entry)
    return kept
