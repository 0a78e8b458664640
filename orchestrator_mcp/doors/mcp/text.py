"""How much fits into one answer to a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

MAX_ANSWER_BYTES = 16_000  # of list entries; hosts warn at about 40 kB and cut at 100 kB

_Entry = TypeVar("_Entry", bound=BaseModel)


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
