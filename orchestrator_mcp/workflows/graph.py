"""The structural check of a graph, before anything of it is stored or sent.

A backend cannot be trusted to refuse a broken graph: a node without `inputs` ends ComfyUI's only worker thread, and
every later job of that server waits for ever. So what is odd here is refused here, reachable or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from orchestrator_mcp.domain.documents import describe, value_problems
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.lanes import ModelFile, Requirements
from orchestrator_mcp.errors import ManifestError, Problem, TooLargeError, nearest
from orchestrator_mcp.workflows.links import Target, as_link, cycles
from orchestrator_mcp.workflows.requirements import leaves_its_folder, model_key, requirements

__all__ = [
    "ModelFile",
    "Requirements",
    "check_graph",
    "graph_hash",
    "ignored_fields",
    "link_fault",
    "model_key",
    "requirements",
]

MAX_PROBLEMS: Final = 50
"""A graph can be wrong in ten thousand places; nobody reads more than these."""

_MAX_ID = 200  # characters
_ROOT = "workflow"


def check_graph(graph: object, *, max_nodes: int = 10_000, max_depth: int = 64) -> Graph:
    """Accept a graph in ComfyUI's API format, or say everything that is wrong with it.

    Args:
        graph: what was handed in: the graph, or the body `{"prompt": graph}` of ComfyUI's own POST.
        max_nodes: how many nodes it may have.
        max_depth: how deep its objects and lists may lie in each other; the graph itself is 1.

    Returns:
        The graph itself, without a wrapper; not copied.

    Raises:
        ManifestError: one problem per fault, with the path `workflow, node id, "inputs", input`. Its codes are
            `graph`, `ui_format`, `node_id`, `node`, `class_type`, `inputs`, `link`, `cycle`, `path`, `depth`,
            `number`, `text`, `json` and `partial`.
        TooLargeError: it has too many nodes.
    """
    inner = _unwrap(graph)
    if len(inner) > max_nodes:
        raise TooLargeError(
            f"The workflow has {len(inner):,} nodes; at most {max_nodes:,} are taken.",
            hint="Make two workflows of it, or raise limits.graph_nodes.",
            details={"nodes": len(inner), "limit": max_nodes},
        )
    problems = list(islice(_node_problems(inner, max_depth), MAX_PROBLEMS))
    if not problems:
        problems = list(islice(_link_problems(inner), MAX_PROBLEMS))
    if not problems:
        problems = [_cycle_problem(cycle) for cycle in cycles(inner)]
    if problems:
        raise ManifestError(problems)
    return inner


def ignored_fields(graph: object) -> list[str]:
    """What stands beside `prompt` in a wrapped graph and means nothing here, as warnings tell it."""
    if isinstance(graph, dict) and _is_wrapped(graph):
        return sorted(str(key)[:_MAX_ID] for key in graph if key != "prompt")
    return []


def graph_hash(graph: Graph) -> str:
    """The SHA-256 of a graph's canonical JSON, in hex: equal graphs are equal, however they were written."""
    canonical = json.dumps(graph, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def link_fault(graph: Graph, value: object) -> str | None:
    """Why a value that looks like a link cannot be one; None for links that hold, and for plain values.

    Args:
        graph: where the link has to lead.
        value: what stands at an input.
    """
    link = as_link(value)
    if link is not None and link.node not in graph:
        near = nearest(link.node, graph)
        return f"links to node {link.node[:60]!a}, which does not exist" + (
            f"; near: {', '.join(near)}" if near else ""
        )
    if link is not None:
        return None if link.slot >= 0 else f"links to output {link.slot}; outputs count from 0"
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str | int | float) for part in value):
        node, slot = value
        if str(node) in graph and not isinstance(node, bool) and not isinstance(slot, str):
            return f'is no link as it stands: write ["{node}", {int(slot)}], the node\'s id as text and a whole number'
    return None


def _unwrap(graph: object) -> dict[Any, Any]:
    if not isinstance(graph, dict):
        message = f"is {describe(graph)}; an object of nodes in API format is needed"
        raise ManifestError.at(_ROOT, message=message, code="graph")
    if _is_wrapped(graph) and graph.get("partial_execution_targets") is not None:
        message = "partial_execution_targets is not supported; take the other outputs out of the graph"
        raise ManifestError.at(_ROOT, message=message, code="partial")
    inner: dict[Any, Any] = graph["prompt"] if _is_wrapped(graph) else graph
    if isinstance(inner.get("nodes"), list):
        raise ManifestError.at(
            _ROOT,
            message="is in ComfyUI's UI format (as the browser saves it), which a server cannot run",
            code="ui_format",
            hint='Export it in ComfyUI with "Export (API)" (older versions: "Save (API Format)") and submit that file.',
        )
    if not inner:
        raise ManifestError.at(_ROOT, message="has no nodes", code="graph")
    return inner


def _is_wrapped(graph: dict[Any, Any]) -> bool:
    inner = graph.get("prompt")
    return isinstance(inner, dict) and not isinstance(inner.get("class_type"), str)


def _node_problems(graph: dict[Any, Any], max_depth: int) -> Iterator[Problem]:
    for node, content in graph.items():
        if not isinstance(node, str) or not node or len(node) > _MAX_ID:
            message = f"the node id {ascii(node)[:60]} is not a text of 1 to {_MAX_ID} characters"
            yield Problem(path=(_ROOT,), message=message, code="node_id")
            continue
        path = (_ROOT, node)
        yield from value_problems({node: content}, (_ROOT,), max_depth=max_depth)
        if not isinstance(content, dict):
            hint = ' (a node is {"class_type": "…", "inputs": {…}})'
            yield Problem(path=path, message=f"is {describe(content)}, not a node{hint}", code="node")
            continue
        class_type, inputs = content.get("class_type"), content.get("inputs")
        if not isinstance(class_type, str) or not class_type.strip():
            message = "has no class_type" if class_type is None else f"has {describe(class_type)} as class_type"
            yield Problem(
                path=(*path, "class_type"), message=f"{message}; the node's class is needed", code="class_type"
            )
        if not isinstance(inputs, dict):
            message = "has no inputs" if inputs is None else f"has {describe(inputs)} as inputs"
            yield Problem(path=(*path, "inputs"), message=f'{message}; write "inputs": {{}} for none', code="inputs")


def _link_problems(graph: Graph) -> Iterator[Problem]:
    spelled: dict[str, Target] = {}
    for node, content in graph.items():
        for name, value in content["inputs"].items():
            path, target = (_ROOT, node, "inputs", name), Target(node, name)
            other = spelled.setdefault(target.spelled, target)
            if other != target:
                message = (
                    f"cannot be told from input {other.input!a} of node {other.node!a}; take dots out of the node id"
                )
                yield Problem(path=path, message=message, code="node_id")
            fault = link_fault(graph, value)
            if fault is not None:
                yield Problem(path=path, message=fault, code="link")
            elif leaves_its_folder(graph, target, value):
                message = f"{describe(value)} leads out of the backend's own folders; name a file inside them"
                yield Problem(path=path, message=message, code="path")


def _cycle_problem(cycle: list[str]) -> Problem:
    way = " -> ".join(cycle[:8]) + (" -> …" if len(cycle) > 8 else "")
    return Problem(path=(_ROOT, cycle[0]), message=f"nodes wait for each other: {way}", code="cycle")
