"""Writes the API graph: for each node the values of its widgets, and the wires that take their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.errors import Problem, TooLargeError
from orchestrator_mcp.workflows.convert.live import LiveBoard, LiveNode
from orchestrator_mcp.workflows.convert.refusals import problem
from orchestrator_mcp.workflows.convert.texts import SAVING, ChoiceError, plain_prompt, replacements
from orchestrator_mcp.workflows.convert.tracing import Frame, Held, LoopError, MissingSetterError, Origin, Place, trace
from orchestrator_mcp.workflows.convert.widgets import BROWSER_TYPES, INDEX, OPTION, Absent, Widget

_MAX_STEPS: Final = 500_000


class _PageOnlyError(ValueError):
    """A value that the page makes while it sends."""


class Emission:
    """The graph while it is written.

    Args:
        boards: subgraph id -> its board.
        titles: the names by which file name prefixes may ask for nodes.

    Attributes:
        warnings: what was passed on as the page does, although it may not be meant so.
    """

    def __init__(self, *, boards: Mapping[str, LiveBoard], titles: frozenset[str]) -> None:
        self.warnings: list[str] = []
        self._boards = boards
        self._titles = titles
        self._graph: Graph = {}
        self._steps = 0

    def add(self, frame: Frame, node: LiveNode) -> Problem | None:
        """Add one active node of a known class.

        Args:
            frame: where it stands.
            node: the node.

        Returns:
            Why it cannot be added faithfully; None when it was added.
        """
        node_id = frame.id_of(node)
        try:
            wired = self._wired(frame, node)
            inputs = self._values(node, wired)
        except LoopError:
            return problem(node_id, node, "gets its input from wires that lead in a circle", "loop")
        except MissingSetterError as error:
            message = f"gets its input from a Get node for the name {error.name!a}, which no Set node gives"
            return problem(node_id, node, message, "setter")
        except _PageOnlyError as error:
            return problem(node_id, node, str(error), "js_only")
        for name, source in wired.items():
            self._take(node_id, inputs, name, source)
        self._graph[node_id] = {"inputs": inputs, "class_type": node.saved.type, "_meta": {"title": node.title}}
        return None

    def finished(self) -> Graph:
        """The graph, without wires to nodes that are not in it."""
        for content in self._graph.values():
            inputs = content["inputs"]
            gone = [
                name
                for name, value in inputs.items()
                if isinstance(value, list) and len(value) == 2 and value[0] not in self._graph
            ]
            for name in gone:
                del inputs[name]
        return self._graph

    def _wired(self, frame: Frame, node: LiveNode) -> dict[str, Origin | Held]:
        """What arrives at each socket; those at which nothing arrives are left out."""
        found: dict[str, Origin | Held] = {}
        for slot, socket in enumerate(node.sockets):
            way: set[Place] = set()
            source = trace(frame, node, slot, self._boards, way)
            self._steps += len(way)
            if self._steps > _MAX_STEPS:
                raise TooLargeError("The workflow's wires are too long to be followed: too many bends in a row.")
            if source is not None:
                found[socket.name] = source
        return found

    def _values(self, node: LiveNode, wired: Mapping[str, Origin | Held]) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for widget in node.widgets:
            if not widget.sent or not widget.name or widget.name in wired:
                continue
            value = _chosen(node, wired) if widget.kind == INDEX else self._sent(node, widget)
            if value is not Absent.VALUE:
                inputs[widget.name] = as_sent(widget, value)
        return inputs

    def _sent(self, node: LiveNode, widget: Widget) -> Any:
        """A widget's value as the page sends it."""
        value = widget.value
        if widget.kind in BROWSER_TYPES:
            raise _PageOnlyError(f"has a value at {widget.name!a} that only the page can make ({widget.kind})")
        if widget.kind == "STRING" and widget.options.get("dynamicPrompts") and isinstance(value, str):
            try:
                return plain_prompt(value)
            except ChoiceError as error:
                message = f"has a random choice {{a|b}} at {widget.name!a}, which the page draws; write one out"
                raise _PageOnlyError(message) from error
        if widget.name == "filename_prefix" and node.saved.type in SAVING and isinstance(value, str):
            for part in replacements(value):
                if part.startswith("date:") or part.split(".")[0] in self._titles:
                    message = f'has "%{part[:60]}%" at {widget.name!a}, which the page replaces; write it out'
                    raise _PageOnlyError(message)
        return value

    def _take(self, node_id: str, inputs: dict[str, Any], name: str, source: Origin | Held) -> None:
        if isinstance(source, Origin):
            inputs[name] = [source.node, source.slot]
            return
        value = source.widget.value
        if source.widget.kind in BROWSER_TYPES or value is Absent.VALUE:
            return
        if isinstance(value, str) and source.widget.options.get("dynamicPrompts") and _has_syntax(value):
            self.warnings.append(
                f"Node {node_id}: {name!a} is a promoted text; ComfyUI sends its braces and comments as they are."
            )
        inputs[name] = {"__value__": value} if isinstance(value, list) else value


def as_sent(widget: Widget, value: Any) -> Any:
    """A value in the form that cannot be taken for a wire.

    Args:
        widget: whose value it is.
        value: the value.
    """
    if widget.kind == "CURVE" and value is not None:
        return {"__type__": "CURVE", "__value__": value}
    return {"__value__": value} if isinstance(value, list) else value


def _chosen(node: LiveNode, wired: Mapping[str, Origin | Held]) -> int:
    """Which of its own choices a `CustomCombo` has chosen, from 0; -1 for none of them."""
    source, own = wired.get("choice"), node.widget("choice")
    choice = source.widget.value if isinstance(source, Held) else own.value if own is not None else None
    options = [widget.value for widget in node.widgets if widget.kind == OPTION]
    return options.index(choice) if choice in options else -1


def _has_syntax(text: str) -> bool:
    try:
        return plain_prompt(text) != text
    except ChoiceError:
        return True
