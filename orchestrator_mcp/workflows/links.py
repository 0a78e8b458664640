"""How the nodes of a graph hang together. A list is a link only if it is exactly `[node id, output number]`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, NamedTuple

from orchestrator_mcp.domain.jobs import Graph

_MAX_CYCLES: Final = 5
_DIGITS = re.compile(r"(\d{1,18})")


class Link(NamedTuple):
    """Where a linked input gets its value."""

    node: str
    slot: int


class Target(NamedTuple):
    """One input of one node."""

    node: str
    input: str

    @property
    def spelled(self) -> str:
        """As callers and stored jobs write it: `node_id.input`."""
        return f"{self.node}.{self.input}"


def as_link(value: object) -> Link | None:
    """Read an input's value as a link; None when it is a plain value."""
    if isinstance(value, list) and len(value) == 2:
        node, slot = value
        if isinstance(node, str) and isinstance(slot, int) and not isinstance(slot, bool):
            return Link(node, slot)
    return None


def inputs_of(graph: Graph, node: str) -> dict[str, Any]:
    """The inputs of a node."""
    inputs: dict[str, Any] = graph[node]["inputs"]
    return inputs


def class_of(graph: Graph, node: str) -> str:
    """The class of a node."""
    return str(graph[node]["class_type"])


def value_at(graph: Graph, target: Target) -> Any:
    """What stands at an input now, a value or a link."""
    return inputs_of(graph, target.node)[target.input]


def title_of(graph: Graph, node: str) -> str:
    """What a person calls a node: its title, else its class."""
    meta = graph[node].get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title.strip()[:80] if isinstance(title, str) and title.strip() else class_of(graph, node)


def links_of(graph: Graph, node: str) -> dict[str, Link]:
    """The linked inputs of a node."""
    found = {name: as_link(value) for name, value in inputs_of(graph, node).items()}
    return {name: link for name, link in found.items() if link is not None}


def unlinked(graph: Graph) -> Iterator[tuple[Target, Any]]:
    """Every input that holds a value of its own, in the graph's order."""
    for node in graph:
        for name, value in inputs_of(graph, node).items():
            if as_link(value) is None:
                yield Target(node, name), value


def consumers(graph: Graph) -> dict[str, list[Target]]:
    """Which inputs each node feeds."""
    found: dict[str, list[Target]] = {}
    for node in graph:
        for name, link in links_of(graph, node).items():
            found.setdefault(link.node, []).append(Target(node, name))
    return found


def cycles(graph: Graph) -> list[list[str]]:
    """Find nodes that wait for each other; each cycle starts and ends with the same node, at most five are told."""
    waits_for = {node: {link.node for link in links_of(graph, node).values()} for node in graph}
    found: list[list[str]] = []
    while len(found) < _MAX_CYCLES:
        try:
            TopologicalSorter(waits_for).prepare()
        except CycleError as error:
            cycle: list[str] = error.args[1]
            found.append(cycle)
            for node in cycle:
                waits_for[node] = set()
        else:
            break
    return found


def distances(graph: Graph) -> dict[str, int]:
    """How many links lie between each node and the sources above it, along the longest way.

    Args:
        graph: a checked graph; it has no cycles.
    """
    feeds = consumers(graph)
    missing = {node: len(links_of(graph, node)) for node in graph}
    found = {node: 0 for node, count in missing.items() if count == 0}
    ready = deque(found)
    while ready:
        node = ready.popleft()
        for target in feeds.get(node, ()):
            found[target.node] = max(found.get(target.node, 0), found[node] + 1)
            missing[target.node] -= 1
            if missing[target.node] == 0:
                ready.append(target.node)
    return found


def natural(node: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key by which node 9 comes before node 10."""
    return tuple((0, int(part)) if part.isdigit() and part.isascii() else (1, part) for part in _DIGITS.split(node))
