"""What a studio does not let its machines run: node classes that are refused by name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator_mcp.errors import Problem


def denials(graph: Mapping[str, Mapping[str, Any]], denied: Sequence[str]) -> Iterator[Problem]:
    """Find the nodes whose class is denied.

    Args:
        graph: a checked workflow.
        denied: names of classes, in which `*` stands for anything; upper and lower case differ, as in ComfyUI.

    Yields:
        One problem for each such node, in the order of the graph.
    """
    if not denied:
        return
    patterns = [(pattern, re.compile(_spelled(pattern), re.DOTALL)) for pattern in denied]
    for node_id, node in graph.items():
        name = node["class_type"]
        by = next((pattern for pattern, compiled in patterns if compiled.fullmatch(name)), None)
        if by is not None:
            yield Problem(
                path=("workflow", node_id, "class_type"),
                message=f"the policy of this farm denies the node class {name[:200]!r} (policy.denied_nodes: {by!r})",
                code="denied_node",
            )


def _spelled(pattern: str) -> str:
    # a run of stars is one star: two of them beside each other would make matching slow
    return ".*".join(map(re.escape, re.split(r"\*+", pattern)))
