"""When two nodes would give the same result: the keys of the execution cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator_mcp.sandbox.catalogue import NODE_CLASSES

FileMark = Callable[[str], str]
"""Gives a mark of the picture that a loader names, which changes when its bytes do."""


def is_link(value: Any) -> bool:
    """Tell whether an input is a link ``[node_id, slot]``.

    Args:
        value: The input as it stands in the graph.
    """
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    )


def sources_of(node: Mapping[str, Any]) -> list[str]:
    """List the ids of the nodes that feed a node, as often as they do.

    Args:
        node: One node of a graph.

    Raises:
        KeyError: If it has no ``inputs``.
    """
    return [value[0] for value in node["inputs"].values() if is_link(value)]


def signatures(graph: Mapping[str, Any], file_mark: FileMark) -> dict[str, str]:
    """Give each node a key that depends on its class, its inputs and its ancestry, not on ids.

    Args:
        graph: A graph whose classes all exist.
        file_mark: Looks pictures of loaders up.

    Returns:
        A key for every node.

    Raises:
        KeyError: If a node has no ``inputs``, even one that nothing needs.
    """
    found: dict[str, str] = {}
    for start in graph:
        stack = [start]
        while stack:
            node_id = stack[-1]
            if node_id in found:
                stack.pop()
                continue
            sources = sources_of(graph[node_id])
            unknown = [source for source in sources if source in graph and source not in found and source not in stack]
            if unknown:
                stack.extend(unknown)
                continue
            found[node_id] = _signature(node_id, graph[node_id], found, file_mark)
            stack.pop()
    return found


def _signature(node_id: str, node: Mapping[str, Any], known: Mapping[str, str], file_mark: FileMark) -> str:
    node_class = NODE_CLASSES[node["class_type"]]
    inputs = node["inputs"]
    parts: list[Any] = [node_class.name]
    if "UNIQUE_ID" in node_class.hidden.values():
        parts.append(node_id)
    if any(slot.source == "pictures" for slot in node_class.required.values()):
        parts.append(file_mark(str(inputs.get("image"))))
    for name in sorted(inputs):
        value = inputs[name]
        if is_link(value):
            parts.append([name, "from", known.get(value[0], f"absent {node_id}"), value[1]])
        else:
            parts.append([name, "is", value])
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()
