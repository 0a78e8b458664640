"""Which nodes cannot be converted faithfully, and why."""

from __future__ import annotations

from typing import Final

from orchestrator_mcp.errors import Problem
from orchestrator_mcp.workflows.convert.live import Kind, LiveNode
from orchestrator_mcp.workflows.convert.nodes import Classes
from orchestrator_mcp.workflows.convert.saved import ROOT

BROADCASTING: Final = frozenset(
    {
        "Anything Everywhere",
        "Anything Everywhere?",
        "Anything Everywhere3",
        "Anything Everywhere Triplet",
        "Prompts Everywhere",
        "Seed Everywhere",
    }
)
"""Nodes that wire their input to other nodes' free inputs, by rules that run on the page."""

PAGE_VALUES: Final = frozenset({"Power Lora Loader (rgthree)", "Power Primitive (rgthree)", "Power Puter (rgthree)"})
"""Nodes whose page makes the widgets and their values, one object for each."""

_DRAWN_SEEDS: Final = frozenset({-1, -2, -3})


def refusal(node_id: str, node: LiveNode, classes: Classes, *, unfinished: bool = False) -> Problem | None:
    """Why an active node cannot be converted; None when it can.

    Args:
        node_id: its id in the graph.
        node: the node.
        classes: the backend's, for names like the one that is missing.
        unfinished: whether it is a primitive whose value the page would complete.
    """
    kind = node.saved.type
    if unfinished:
        return problem(
            node_id,
            node,
            'pushes a value in which the page replaces "%…%" by other nodes\' values; write the value out',
            "js_only",
        )
    if kind.startswith(("workflow/", "workflow>")):
        message = "is a group node of an old ComfyUI; convert it to a subgraph or to single nodes and save again"
        return problem(node_id, node, message, "group_node")
    if kind in BROADCASTING:
        message = "wires itself to other nodes while the page runs; draw the wires and save again"
        return problem(node_id, node, message, "js_only")
    if kind in PAGE_VALUES:
        message = "keeps values that only its own page code can read; export the workflow with Export (API)"
        return problem(node_id, node, message, "js_only")
    if kind == "Seed (rgthree)" and _drawn(node):
        message = "has a seed that its page code draws anew for each run; write a seed"
        return problem(node_id, node, message, "js_only")
    if node.kind is Kind.UNKNOWN:
        near = classes.near(kind)
        hint = f"; near: {', '.join(near)}" if near else ""
        message = f"is of the class {kind[:80]!a}, which the backend does not have{hint}"
        return problem(node_id, node, message, "unknown_class")
    return None


def problem(node_id: str, node: LiveNode, message: str, code: str) -> Problem:
    """The problem of one node; the message begins with what people call it, where that is not its class.

    Args:
        node_id: its id in the graph.
        node: the node.
        message: what is wrong with it and what to do.
        code: the kind of problem.
    """
    title = node.title.strip()
    called = f"({title[:60]}) " if title and title != node.saved.type else ""
    return Problem(path=(ROOT, "nodes", node_id), message=called + message, code=code)


def _drawn(node: LiveNode) -> bool:
    widget = node.widget("seed")
    return widget is not None and isinstance(widget.value, int) and widget.value in _DRAWN_SEEDS
