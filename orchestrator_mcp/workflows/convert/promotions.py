"""Promoted widgets: values that an instance of a subgraph holds for the widgets inside it.

New files have them in the order of the subgraph's inputs. Older ones name the inner widgets in `proxyWidgets`, also
such as no input of the subgraph leads to; ComfyUI gives the subgraph an input for each of those, and so does this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from orchestrator_mcp.workflows.convert.live import Kind, LiveBoard, LiveNode, Socket
from orchestrator_mcp.workflows.convert.saved import FROM_OUTSIDE, SavedLink, SavedPort
from orchestrator_mcp.workflows.convert.widgets import Absent, Widget

_PREVIEW: Final = "$$"
_BY_PORT: Final = "-1"
"""In place of a node: the entry names an input of the subgraph itself."""
_MAX_PROMOTED: Final = 1_000


class _Promotion(NamedTuple):
    """One entry of `proxyWidgets`; `number` is the place of its value."""

    number: int
    node: str
    widget: str
    deepest: str | None


def promote(instance: LiveNode, board: LiveBoard) -> None:
    """Give an instance its promoted widgets, and those the values that the file has in their order.

    Args:
        instance: the instance, with a socket for each port; changed in place.
        board: its definition, already opened.
    """
    for number in range(len(board.ports)):
        _promote_port(instance, board, number)
    values = instance.saved.values
    rescued = _rescued(instance)
    for place, widget in enumerate(instance.promoted.values()):
        if widget.name in rescued:
            widget.value = rescued[widget.name]
        elif isinstance(values, tuple) and place < len(values):
            widget.value = values[place]


def migrate(instance: LiveNode, board: LiveBoard, instances: list[LiveNode]) -> None:
    """Follow the `proxyWidgets` of an older file.

    Args:
        instance: the instance that has them; changed in place.
        board: its definition; may get more ports.
        instances: every instance of the definition so far; they get the new ports too.
    """
    values = instance.saved.values
    by_primitive: dict[str, list[_Promotion]] = {}
    by_port: dict[str, Any] = {}
    for entry in _entries(instance):
        value = values[entry.number] if isinstance(values, tuple) and entry.number < len(values) else Absent.VALUE
        if entry.node == _BY_PORT:
            by_port[entry.widget] = value
            continue
        entry = _normal(entry, board)
        port = _port_of(board, entry)
        node = board.nodes.get(entry.node)
        if port is None and node is not None and node.kind is Kind.PRIMITIVE:
            by_primitive.setdefault(node.id, []).append(entry)
            continue
        if port is None and node is not None and not entry.widget.startswith(_PREVIEW):
            port = _new_port(board, node, entry, instances)
        if port is not None and port in instance.promoted and value is not Absent.VALUE:
            instance.promoted[port].value = value
    for key, entries in by_primitive.items():
        _promote_primitive(instance, board, board.nodes[key], entries, instances)
    for name, value in by_port.items():
        widget = instance.widget(name)
        if widget is not None and value is not Absent.VALUE:
            widget.value = value


def _rescued(instance: LiveNode) -> dict[str, Any]:
    """Values that a newer ComfyUI could not place when it read an older file; it keeps them by the port's name."""
    said = instance.saved.properties.get("proxyWidgetErrorQuarantine")
    found: dict[str, Any] = {}
    for each in said[:_MAX_PROMOTED] if isinstance(said, list) else ():
        entry = each.get("originalEntry") if isinstance(each, dict) and each.get("attemptedAtVersion") == 1 else None
        if isinstance(entry, list) and len(entry) >= 2 and entry[0] == _BY_PORT and "hostValue" in each:
            found.setdefault(str(entry[1]), each["hostValue"])
    return found


def _promote_port(instance: LiveNode, board: LiveBoard, number: int) -> None:
    widget = _widget_behind(board, number)
    if widget is not None:
        instance.promoted[number] = replace(widget, name=board.ports[number].name, sent=True)
        instance.sockets[number].widget = board.ports[number].name


def _widget_behind(board: LiveBoard, port: int) -> Widget | None:
    for node, socket in board.behind(port):
        widget = node.widget_behind(socket)
        if widget is not None:
            return widget
    return None


def _entries(instance: LiveNode) -> Iterator[_Promotion]:
    said = instance.saved.properties.get("proxyWidgets")
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            return
    listed = said if isinstance(said, list) else []
    well_formed = all(
        isinstance(each, list) and len(each) in {2, 3} and all(isinstance(part, str) for part in each)
        for each in listed
    )
    for number, each in enumerate(listed[:_MAX_PROMOTED] if well_formed else ()):
        yield _Promotion(number, each[0], each[1], each[2] if len(each) == 3 else None)


def _normal(entry: _Promotion, board: LiveBoard) -> _Promotion:
    """Names of deeply promoted widgets came with the ids of the way to them, `12: 7: seed`."""
    node = board.nodes.get(entry.node)
    if node is not None and node.widget(entry.widget) is not None:
        return entry
    name, deepest = entry.widget, entry.deepest
    while True:
        first, colon, rest = name.partition(":")
        if not colon or not (first.strip().isascii() and first.strip().isdigit()) or not rest.strip():
            return entry._replace(widget=name, deepest=deepest)
        name, deepest = rest.strip(), first.strip()


def _port_of(board: LiveBoard, entry: _Promotion) -> int | None:
    """The port that already leads to the widget, by its first wire that ends at a widget."""
    for number in range(len(board.ports)):
        for node, socket in board.behind(number):
            if node.kind is Kind.INSTANCE:
                name: str | None = socket.name
            else:
                widget = node.widget_behind(socket)
                name = widget.name if widget is not None else None
            if name is None:
                continue
            if (node.id, name) == (entry.node, entry.widget):
                return number
            break
    return None


def _source_socket(node: LiveNode, entry: _Promotion) -> Socket | None:
    for socket in node.sockets:
        widget = node.widget_behind(socket)
        if widget is not None and entry.widget in {widget.name, socket.name, socket.widget}:
            return socket
    return None


def _new_port(board: LiveBoard, node: LiveNode, entry: _Promotion, instances: list[LiveNode]) -> int | None:
    socket = _source_socket(node, entry)
    return None if socket is None else _add_port(board, entry.widget, socket.type, [(node, socket)], instances)


def _promote_primitive(
    instance: LiveNode,
    board: LiveBoard,
    primitive: LiveNode,
    entries: list[_Promotion],
    instances: list[LiveNode],
) -> None:
    """Let a port take the place of a primitive inside: its wires, and the value that the instance holds for it."""
    targets = list(board.fed_by(primitive))
    kind = primitive.outputs[0] if primitive.outputs else "*"
    fitting = all("*" in {socket.type, kind} or socket.type == kind for _, socket in targets)
    if not targets or not fitting or len({entry.widget for entry in entries}) != 1:
        return  # the page gives up on these too, and the primitive goes on pushing its own value
    title = primitive.saved.title
    name = title if title and title != "PrimitiveNode" else entries[0].widget
    port = _add_port(board, name, kind, targets, instances)
    values = instance.saved.values
    held = [values[each.number] for each in entries if isinstance(values, tuple) and each.number < len(values)]
    own = primitive.saved.values
    if port in instance.promoted and held:
        instance.promoted[port].value = held[0]
    elif port in instance.promoted and isinstance(own, tuple) and own:
        instance.promoted[port].value = own[0]


def _add_port(
    board: LiveBoard, name: str, kind: str, targets: list[tuple[LiveNode, Socket]], instances: list[LiveNode]
) -> int:
    number = len(board.ports)
    taken = {port.name for port in board.ports}
    unique, count = name, 0
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    links: list[str] = []
    for node, socket in targets:
        if socket.link is not None:
            board.links.pop(socket.link.id, None)
        key = f"promoted:{number}:{len(links)}"
        socket.link = SavedLink(
            id=key, origin=FROM_OUTSIDE, origin_slot=number, target=node.id, target_slot=node.sockets.index(socket)
        )
        board.links[key] = socket.link
        links.append(key)
    board.ports.append(SavedPort(name=unique, type=kind, links=tuple(links)))
    for each in instances:
        each.sockets.append(Socket(name=unique, type=kind))
        _promote_port(each, board, number)
    return number
