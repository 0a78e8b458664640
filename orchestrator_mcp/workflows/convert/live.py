"""A workflow as it stands once it is opened: nodes with the sockets of their class, wires, widgets with values.

There is one live board for the workflow and one for each subgraph definition, however many instances it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from orchestrator_mcp.workflows.convert.saved import (
    FROM_OUTSIDE,
    TO_OUTSIDE,
    SavedInput,
    SavedLink,
    SavedNode,
    SavedPort,
)
from orchestrator_mcp.workflows.convert.widgets import Widget

MUTED = 2
BYPASSED = 4


class Kind(Enum):
    """What a node is to the graph."""

    CLASS = "a node that a backend runs"
    INSTANCE = "an instance of a subgraph"
    REROUTE = "a wire's bend"
    PRIMITIVE = "a value that is pushed into the widgets it is wired to"
    SETTER = "gives its input a name"
    GETTER = "is the input of the setter of that name"
    NOTE = "for people only"
    UNKNOWN = "a class that the backend does not have"


@dataclass(kw_only=True, slots=True)
class Socket:
    """One input of a live node; `widget` names the widget that it replaces when it is wired."""

    name: str
    type: str
    widget: str | None = None
    link: SavedLink | None = None


@dataclass(kw_only=True, slots=True)
class LiveNode:
    """A node of a live board.

    Attributes:
        saved: what the file says about it.
        title: what people call it.
        outputs: the types of its outputs.
        promoted: of an instance: port number -> the widget that stands for what lies behind it.
    """

    saved: SavedNode
    kind: Kind
    title: str
    sockets: list[Socket] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    widgets: list[Widget] = field(default_factory=list)
    promoted: dict[int, Widget] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its id on its board."""
        return self.saved.id

    @property
    def active(self) -> bool:
        """Whether it is neither muted nor bypassed."""
        return self.saved.mode not in {MUTED, BYPASSED}

    def widget(self, name: str | None) -> Widget | None:
        """The widget of that name, promoted ones by the name of their port."""
        if self.kind is Kind.INSTANCE:
            return next((made for port, made in self.promoted.items() if self.sockets[port].name == name), None)
        return next((made for made in self.widgets if made.name == name), None)

    def widget_behind(self, socket: Socket) -> Widget | None:
        """The widget whose place a socket takes."""
        if self.kind is Kind.INSTANCE:
            return next((made for port, made in self.promoted.items() if self.sockets[port] is socket), None)
        return self.widget(socket.widget) if socket.widget is not None else None


@dataclass(kw_only=True, slots=True)
class LiveBoard:
    """A live workflow or subgraph definition.

    Attributes:
        key: the definition's id; empty for the workflow itself.
        nodes: by id.
        links: every wire, by id.
        ports: the subgraph's inputs; promotions may add some.
        leaving: output number -> the wire that feeds it.
        started: node id -> the wires that begin at its first output, in order; some may have been replaced since.
        setters: name -> the setter that gives it.
    """

    key: str
    nodes: dict[str, LiveNode] = field(default_factory=dict)
    links: dict[str, SavedLink] = field(default_factory=dict)
    ports: list[SavedPort] = field(default_factory=list)
    leaving: dict[int, SavedLink] = field(default_factory=dict)
    started: dict[str, list[SavedLink]] = field(default_factory=dict)
    setters: dict[str, LiveNode] = field(default_factory=dict)

    def behind(self, port: int) -> Iterator[tuple[LiveNode, Socket]]:
        """The sockets that a port of the subgraph feeds, the first connected one first."""
        for link_id in self.ports[port].links:
            link = self.links.get(link_id)
            if link is None or link.origin != FROM_OUTSIDE or link.origin_slot != port:
                continue
            node = self.nodes.get(link.target)
            socket = next((each for each in node.sockets if each.link is link), None) if node is not None else None
            if node is not None and socket is not None:
                yield node, socket

    def fed_by(self, node: LiveNode) -> Iterator[tuple[LiveNode, Socket]]:
        """The sockets that a node's first output feeds, in the order of the wires."""
        for link in self.started.get(node.id, ()):
            target = self.nodes.get(link.target)
            for socket in target.sockets if target is not None else ():
                if target is not None and socket.link is link:
                    yield target, socket


def one_wire_each(links: Iterable[SavedLink], named: set[str]) -> list[SavedLink]:
    """Leave one wire to each socket: the first, unless only a later one is named by its socket.

    Args:
        links: the wires of a board.
        named: the ids that the sockets of its nodes name.
    """
    chosen: dict[tuple[str, int], SavedLink] = {}
    for link in links:
        place = (link.target, link.target_slot)
        other = chosen.setdefault(place, link)
        same = (other.origin, other.origin_slot) == (link.origin, link.origin_slot)
        if other is not link and not same and link.id in named and other.id not in named:
            chosen[place] = link
    return list(chosen.values())


def named_links(nodes: Iterable[SavedNode]) -> set[str]:
    """The ids of all wires that the sockets of some nodes name."""
    return {socket.link for node in nodes for socket in node.inputs if socket.link is not None}


def wire(node: LiveNode, links: dict[str, SavedLink], arriving: Iterable[SavedLink]) -> list[str]:
    """Put the wires that arrive at a node on its sockets: by the name of the socket that names the wire.

    Args:
        node: the node, with the sockets of its class; changed in place.
        links: every wire of the board.
        arriving: those that end at this node.

    Returns:
        Warnings about wires that no socket of the file names: they go to the socket at their place, if it is free.
    """
    sockets: dict[str, Socket] = {}
    for socket in node.sockets:
        sockets.setdefault(socket.name, socket)
    for saved in node.saved.inputs:
        link = links.get(saved.link) if saved.link is not None else None
        found = sockets.get(saved.name)
        if link is not None and link.target == node.id and found is not None and found.link is None:
            found.link = link
    named = {saved.link for saved in node.saved.inputs}
    warnings = []
    for link in arriving:
        if link.id in named:
            continue
        place = node.saved.inputs[link.target_slot] if 0 <= link.target_slot < len(node.saved.inputs) else None
        found = sockets.get(place.name) if place is not None else None
        if found is not None and found.link is None:
            found.link = link
            warnings.append(f"does not name the wire {link.id} that leads to its input {found.name!a}; it is put there")
        else:
            warnings.append(f"has the wire {link.id}, which none of its free inputs can take; it is left off")
    return warnings


def leaving(links: Iterable[SavedLink]) -> dict[int, SavedLink]:
    """The wires that leave a subgraph: output number -> wire."""
    found: dict[int, SavedLink] = {}
    for link in links:
        if link.target == TO_OUTSIDE:
            found.setdefault(link.target_slot, link)
    return found


def with_links(ports: Iterable[SavedPort], links: Iterable[SavedLink]) -> list[SavedPort]:
    """Complete the ports of a subgraph by the wires that begin at them."""
    begun: dict[int, list[str]] = {}
    for link in links:
        if link.origin == FROM_OUTSIDE:
            begun.setdefault(link.origin_slot, []).append(link.id)
    completed = []
    for number, port in enumerate(ports):
        here = dict.fromkeys(begun.get(number, ()))
        order = dict.fromkeys([*(each for each in port.links if each in here), *here])
        completed.append(SavedPort(name=port.name, type=port.type, links=tuple(order)))
    return completed


def started(links: Iterable[SavedLink]) -> dict[str, list[SavedLink]]:
    """The wires that begin at first outputs: node id -> wires."""
    found: dict[str, list[SavedLink]] = {}
    for link in links:
        if link.origin_slot == 0:
            found.setdefault(link.origin, []).append(link)
    return found


def file_sockets(inputs: Iterable[SavedInput]) -> list[Socket]:
    """Sockets as the file has them, for nodes whose class says nothing about them."""
    return [Socket(name=saved.name, type=saved.type, widget=saved.widget) for saved in inputs]
