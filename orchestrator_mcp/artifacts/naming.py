"""What the files of a job are called. Nothing in a name comes from a backend except the node's id, made safe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from orchestrator_mcp.files import safe_stem, unique_names

MOST_BYTES: Final = 120
_MOST_NODE_BYTES: Final = 24
_EXTENSION = re.compile(r"[a-z0-9]{1,12}")


class OutputPlace(NamedTuple):
    """Where an output of a job comes from.

    Attributes:
        node: id of the node that made it.
        extension: by its content, without the dot.
    """

    node: str
    extension: str


def output_names(places: Iterable[OutputPlace], stem: str) -> list[str]:
    """Names like `<stem>_<node>_<nn>.<ext>`, numbered from 01 for each node, in the order given.

    Args:
        places: the outputs, in an order that stays the same when they are collected again.
        stem: readable beginning; made safe and short here.

    Returns:
        One name for each: safe everywhere, unique whatever the case, at most 120 bytes.
    """
    counts: Counter[str] = Counter()
    names = []
    for place in places:
        counts[place.node] += 1
        extension = place.extension if _EXTENSION.fullmatch(place.extension) else "bin"
        end = f"_{safe_stem(place.node, most_bytes=_MOST_NODE_BYTES)}_{counts[place.node]:02d}.{extension}"
        room = MOST_BYTES - len(end.encode()) - len("-99999")
        names.append(safe_stem(stem, most_bytes=min(80, room)) + end)
    return unique_names(names)
