"""Names that people gave to nodes in ComfyUI: the title "Positive Prompt" is the name `positive_prompt`."""

from __future__ import annotations

import re
from collections import Counter

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.workflows.links import Target, as_link, class_of, inputs_of

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[ _-]+[A-Za-z0-9]+)*")
_BETWEEN = re.compile(r"[ _-]+")
_LONGEST = 60  # characters


def titled(graph: Graph) -> dict[str, Target]:
    """The inputs that a title names.

    A title counts if it is made of plain words, stands on one node only, is not just the node's class, and the node
    has exactly one input with a plain value: then there is no doubt what it means.

    Args:
        graph: a checked graph.
    """
    names = {node: name for node in graph if (name := _name(graph, node)) is not None}
    counts = Counter(names.values())
    found: dict[str, Target] = {}
    for node, name in names.items():
        inputs = [key for key, value in inputs_of(graph, node).items() if as_link(value) is None]
        if counts[name] == 1 and len(inputs) == 1:
            (only,) = inputs
            if isinstance(inputs_of(graph, node)[only], str | int | float):
                found[name] = Target(node, only)
    return found


def _name(graph: Graph, node: str) -> str | None:
    meta = graph[node].get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    if not isinstance(title, str) or len(title) > _LONGEST or _PLAIN.fullmatch(title.strip()) is None:
        return None
    name = _BETWEEN.sub("_", title.strip()).casefold()
    squeezed = name.replace("_", "")
    return None if squeezed == re.sub(r"[^a-z0-9]", "", class_of(graph, node).casefold()) else name
