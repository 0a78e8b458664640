"""Makes live nodes: what kind of node it is, its sockets in the order of its class, its widgets with their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestrator_mcp.errors import nearest
from orchestrator_mcp.workflows.convert.live import Kind, LiveNode, Socket, file_sockets
from orchestrator_mcp.workflows.convert.saved import SavedNode
from orchestrator_mcp.workflows.convert.signature import InputSpec, Signature, read_signature
from orchestrator_mcp.workflows.convert.widgets import (
    AUTOGROW,
    DYNAMIC_COMBO,
    MATCH_TYPE,
    WIDGET_TYPES,
    Widget,
    aligned,
    chosen_parts,
    class_widgets,
    grown_parts,
    is_widget,
    own_choices,
    restore,
)

REROUTES: Final = frozenset({"Reroute", "Reroute (rgthree)"})
SETTERS: Final = frozenset({"SetNode", "easy setNode"})
GETTERS: Final = frozenset({"GetNode", "easy getNode"})
NOTES: Final = frozenset(
    {
        "Note",
        "MarkdownNote",
        "Note Plus (mtb)",
        "Label (rgthree)",
        "Bookmark (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Muter (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Actions Button (rgthree)",
        "Mute / Bypass Repeater (rgthree)",
        "Mute / Bypass Relay (rgthree)",
        "Node Collector (rgthree)",
        "Node Combiner (rgthree)",
    }
)
"""Nodes that live on the page only: what they do is done to the modes of other nodes, which the file holds."""

_VIRTUAL: Final = {
    **dict.fromkeys(REROUTES, Kind.REROUTE),
    **dict.fromkeys(SETTERS, Kind.SETTER),
    **dict.fromkeys(GETTERS, Kind.GETTER),
    **dict.fromkeys(NOTES, Kind.NOTE),
    "PrimitiveNode": Kind.PRIMITIVE,
}
_MAX_NEAR: Final = 5
_TITLES: Final = {"PrimitiveNode": "Primitive", "MarkdownNote": "Markdown Note"}


class Classes:
    """The node classes of a backend, read as they are asked for.

    Args:
        catalogue: class -> definition, the answer to `GET /object_info`.
    """

    def __init__(self, catalogue: Mapping[str, Any]) -> None:
        self._catalogue = catalogue
        self._read: dict[str, Signature] = {}
        self._near: dict[str, tuple[str, ...]] = {}

    def get(self, class_type: str) -> Signature | None:
        """A class's signature; None when the backend does not have it."""
        definition = self._catalogue.get(class_type)
        if not isinstance(definition, Mapping):
            return None
        if class_type not in self._read:
            self._read[class_type] = read_signature(class_type, definition)
        return self._read[class_type]

    def near(self, class_type: str) -> tuple[str, ...]:
        """Names of classes like one that the backend does not have."""
        if class_type not in self._near:
            self._near[class_type] = nearest(class_type, self._catalogue) if len(self._near) < _MAX_NEAR else ()
        return self._near[class_type]


def kind_of(saved: SavedNode, classes: Classes, subgraphs: Mapping[str, Any]) -> Kind:
    """What a node is; subgraphs come before classes, and the page's own nodes before both.

    Args:
        saved: the node.
        classes: the backend's.
        subgraphs: the file's definitions, by id.
    """
    if saved.type in {"Reroute", "PrimitiveNode", "Note", "MarkdownNote"}:
        return _VIRTUAL[saved.type]
    if saved.type in subgraphs:
        return Kind.INSTANCE
    if classes.get(saved.type) is not None:
        return Kind.CLASS
    return _VIRTUAL.get(saved.type, Kind.UNKNOWN)


def class_node(saved: SavedNode, signature: Signature) -> tuple[LiveNode, str | None]:
    """Make the live node of a known class.

    Args:
        saved: what the file says.
        signature: what the class says.

    Returns:
        The node without wires, and a warning where the saved values do not fit the class.
    """
    widgets = class_widgets(signature)
    if saved.type == "CustomCombo":
        widgets += own_choices()
    _grow(widgets, saved, signature)
    warning = _restore(widgets, saved, signature)
    sockets = _sockets(saved, signature, widgets)
    outputs = list(signature.outputs) + [output.type for output in saved.outputs[len(signature.outputs) :]]
    title = saved.title or signature.display_name
    node = LiveNode(saved=saved, kind=Kind.CLASS, title=title, sockets=sockets, outputs=outputs, widgets=widgets)
    return node, warning


def plain_node(saved: SavedNode, kind: Kind) -> LiveNode:
    """Make the live node of something that no backend runs: its sockets are those of the file.

    Args:
        saved: what the file says.
        kind: what it is.
    """
    return LiveNode(
        saved=saved,
        kind=kind,
        title=saved.title or _TITLES.get(saved.type, saved.type),
        sockets=file_sockets(saved.inputs),
        outputs=[output.type for output in saved.outputs],
    )


def _grow(widgets: list[Widget], saved: SavedNode, signature: Signature) -> None:
    """Give growing inputs of values as many widgets as the file's wires ask for."""
    linked = {socket.name for socket in saved.inputs if socket.link is not None}
    if any(spec.type == AUTOGROW for spec in signature.ordered):
        known = {widget.name for widget in widgets}
        for spec in signature.ordered:
            if spec.type == AUTOGROW:
                fresh = [part for part in grown_parts(spec, linked) if part.name not in known and is_widget(part)]
                widgets += [Widget(name=part.name, kind=part.type, options=part.options) for part in fresh]


def _restore(widgets: list[Widget], saved: SavedNode, signature: Signature) -> str | None:
    values = saved.values
    if values is None:
        return None
    if isinstance(values, tuple):
        values = tuple(aligned(signature, widgets, values))
    places = restore(widgets, values)
    if isinstance(values, tuple) and len(values) < places:
        return f"has {len(values)} values for {places} widgets; the rest have their defaults"
    return None


def _sockets(saved: SavedNode, signature: Signature, widgets: list[Widget]) -> list[Socket]:
    """The node's inputs: plain sockets first, then those of widgets, then what only the file has."""
    linked = {socket.name for socket in saved.inputs if socket.link is not None}
    selectors = {widget.name: widget for widget in widgets if widget.kind == DYNAMIC_COMBO}
    made: list[Socket] = []
    for spec in signature.ordered:
        made += [] if is_widget(spec) else _plain_sockets(spec, linked)
    for spec in signature.ordered:
        made += _widget_sockets(spec, selectors, linked)
    return made + list(_extra_sockets(saved, signature, {socket.name for socket in made}, widgets))


def _extra_sockets(saved: SavedNode, signature: Signature, names: set[str], widgets: list[Widget]) -> Iterator[Socket]:
    """Sockets that only the file has; those of widgets that are gone go too, but of neighbours only every other one.

    The page walks over the list from which it takes them off, so the neighbour slips through. Servers ignore it.
    """
    held = {widget.name for widget in widgets}
    selectors = [widget.name for widget in widgets if widget.kind == DYNAMIC_COMBO]
    growing = tuple(f"{spec.name}." for spec in signature.ordered if spec.type == AUTOGROW)
    slips = False
    for extra in saved.inputs:
        if extra.name in names or any(extra.name.startswith(f"{name}.") for name in selectors):
            continue
        gone = extra.widget is not None and extra.widget not in held and not extra.name.startswith(growing)
        if gone and not slips:
            slips = True
            continue
        slips = False
        yield Socket(name=extra.name, type=extra.type, widget=extra.widget)


def _plain_sockets(spec: InputSpec, linked: set[str]) -> list[Socket]:
    if spec.type == AUTOGROW:
        parts = grown_parts(spec, linked)
        return [socket for part in parts for socket in (_part_sockets(part, {}, linked))]
    return [Socket(name=spec.name, type=_matched(spec))]


def _widget_sockets(spec: InputSpec, selectors: Mapping[str, Widget], linked: set[str]) -> list[Socket]:
    if not is_widget(spec):
        return []
    made = [Socket(name=spec.name, type=spec.type, widget=spec.name)]
    selector = selectors.get(spec.name)
    for part in chosen_parts(selector) if selector is not None else ():
        made += _part_sockets(part, selectors, linked)
    return made


def _part_sockets(part: InputSpec, selectors: Mapping[str, Widget], linked: set[str]) -> list[Socket]:
    return _widget_sockets(part, selectors, linked) if is_widget(part) else _plain_sockets(part, linked)


def _matched(spec: InputSpec) -> str:
    """The type that a socket takes; one that matches others takes what its template allows."""
    if spec.type != MATCH_TYPE:
        return spec.type
    template = spec.options.get("template")
    allowed = template.get("allowed_types") if isinstance(template, dict) else None
    return allowed if isinstance(allowed, str) and allowed and allowed not in WIDGET_TYPES else "*"
