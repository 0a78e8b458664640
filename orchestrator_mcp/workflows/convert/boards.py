"""Opens a saved workflow: one live board for the workflow and one for each subgraph definition in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.convert.live import (
    Kind,
    LiveBoard,
    LiveNode,
    Socket,
    leaving,
    named_links,
    one_wire_each,
    started,
    wire,
    with_links,
)
from orchestrator_mcp.workflows.convert.nodes import Classes, class_node, kind_of, plain_node
from orchestrator_mcp.workflows.convert.promotions import migrate, promote
from orchestrator_mcp.workflows.convert.saved import (
    MAX_NESTING,
    ROOT,
    SavedBoard,
    SavedLink,
    SavedNode,
    SavedSubgraph,
    SavedWorkflow,
)
from orchestrator_mcp.workflows.convert.tracing import named


class Workbench:
    """A saved workflow, opened with the classes of a backend.

    Args:
        saved: the file, its ids already unique.
        catalogue: class -> definition.

    Raises:
        ManifestError: subgraph definitions contain each other, or lie too deep; the code is `subgraph`.

    Attributes:
        root: the workflow itself.
        boards: subgraph id -> its definition, for those in use.
        warnings: what the file says that nothing follows from, by node.
    """

    def __init__(self, saved: SavedWorkflow, catalogue: Mapping[str, Any]) -> None:
        self.classes = Classes(catalogue)
        self.warnings: list[str] = []
        self.boards: dict[str, LiveBoard] = {}
        self._definitions = {definition.id: definition for definition in saved.subgraphs}
        self._instances: dict[str, list[LiveNode]] = {}
        self._opening: list[str] = []
        self.root = self._open(saved.board, None)

    def _definition(self, key: str, instance: SavedNode) -> LiveBoard:
        if key in self.boards:
            return self.boards[key]
        if key in self._opening or len(self._opening) >= MAX_NESTING:
            why = "contains itself" if key in self._opening else f"lies more than {MAX_NESTING} subgraphs deep"
            message = f"is an instance of the subgraph {self._definitions[key].name[:80]!a}, which {why}"
            raise ManifestError.at(ROOT, "nodes", instance.id, message=message, code="subgraph")
        self._opening.append(key)
        self.boards[key] = self._open(self._definitions[key].board, self._definitions[key])
        self._opening.pop()
        return self.boards[key]

    def _open(self, saved: SavedBoard, definition: SavedSubgraph | None) -> LiveBoard:
        links = one_wire_each(saved.links, named_links(saved.nodes))
        board = LiveBoard(key=definition.id if definition is not None else "")
        board.links = {link.id: link for link in links}
        board.leaving = leaving(links)
        board.started = started(links)
        board.ports = with_links(definition.inputs, links) if definition is not None else []
        arriving: dict[str, list[SavedLink]] = {}
        for link in links:
            arriving.setdefault(link.target, []).append(link)
        for node in saved.nodes:
            live = self._make(node)
            board.nodes[node.id] = live
            if live.kind is Kind.SETTER and isinstance(named(live), str):
                board.setters.setdefault(named(live), live)
            for warning in wire(live, board.links, arriving.get(node.id, ())):
                self._warn(live, warning)
        for live in board.nodes.values():
            if live.kind is Kind.INSTANCE:
                migrate(live, self.boards[live.saved.type], self._instances[live.saved.type])
        return board

    def _make(self, saved: SavedNode) -> LiveNode:
        kind = kind_of(saved, self.classes, self._definitions)
        if kind is Kind.INSTANCE:
            return self._instance(saved)
        signature = self.classes.get(saved.type)
        if kind is not Kind.CLASS or signature is None:
            return plain_node(saved, kind)
        live, warning = class_node(saved, signature)
        if warning is not None:
            self._warn(live, warning)
        return live

    def _instance(self, saved: SavedNode) -> LiveNode:
        definition = self._definitions[saved.type]
        board = self._definition(saved.type, saved)
        live = LiveNode(
            saved=saved,
            kind=Kind.INSTANCE,
            title=saved.title or definition.name,
            sockets=[Socket(name=port.name, type=port.type) for port in board.ports],
            outputs=[port.type for port in definition.outputs],
        )
        promote(live, board)
        self._instances.setdefault(saved.type, []).append(live)
        return live

    def _warn(self, node: LiveNode, message: str) -> None:
        self.warnings.append(f"Node {node.id} ({node.title[:60]}) {message}.")
