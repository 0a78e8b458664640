"""In which order the nodes of a graph run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from orchestrator_mcp.sandbox.catalogue import NODE_CLASSES
from orchestrator_mcp.sandbox.signatures import sources_of


class RunOrder:
    """The nodes that still have to run for some outputs, handed out one by one.

    Cached nodes count as done, except where they are outputs themselves: those are visited, to be told of again.
    """

    def __init__(self, graph: Mapping[str, Any], outputs: Collection[str], cached: Collection[str]) -> None:
        """Collect what must run.

        Args:
            graph: A checked graph.
            outputs: The output nodes to reach.
            cached: The nodes whose results are known.
        """
        self._graph = graph
        self._waits_for: dict[str, set[str]] = {}
        self._feeds: dict[str, set[str]] = {}
        open_nodes = list(outputs)
        while open_nodes:
            node_id = open_nodes.pop(0)
            if node_id in self._waits_for:
                continue
            sources = {source for source in sources_of(graph[node_id]) if source not in cached}
            self._waits_for[node_id] = sources
            for source in sorted(sources):
                self._feeds.setdefault(source, set()).add(node_id)
                open_nodes.append(source)

    def next(self) -> str | None:
        """Choose the next node and take it out.

        As ComfyUI does, an output that can run goes first, then what feeds an output directly, then what feeds it
        over one more node, so that people see pictures early.

        Returns:
            Its id, or None if all are done.
        """
        ready = [node_id for node_id, sources in self._waits_for.items() if not sources]
        if not ready:
            return None
        chosen = min(ready, key=self._distance)
        del self._waits_for[chosen]
        return chosen

    def done(self, node_id: str) -> None:
        """Note that a node has run.

        Args:
            node_id: Which one.
        """
        for fed in self._feeds.get(node_id, ()):
            if fed in self._waits_for:
                self._waits_for[fed].discard(node_id)

    def _distance(self, node_id: str) -> int:
        if self._is_output(node_id):
            return 0
        fed = self._feeds.get(node_id, set())
        if any(map(self._is_output, fed)):
            return 1
        further = (self._feeds.get(one, set()) for one in fed)
        return 2 if any(self._is_output(one) for ones in further for one in ones) else 3

    def _is_output(self, node_id: str) -> bool:
        return NODE_CLASSES[self._graph[node_id]["class_type"]].output_node
