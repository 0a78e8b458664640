"""Follows a wire back to the node that really makes the value: past bends, bypassed nodes and subgraph borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from orchestrator_mcp.workflows.convert.live import BYPASSED, MUTED, Kind, LiveBoard, LiveNode
from orchestrator_mcp.workflows.convert.saved import FROM_OUTSIDE
from orchestrator_mcp.workflows.convert.widgets import Widget

Place = tuple[tuple[str, ...], str, bool, int]
"""A socket on the way: the path of its frame, the node, whether it is an output, and its number."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One place where a board is in use: the workflow itself, or one instance of a subgraph.

    Attributes:
        board: what stands there.
        path: the ids of the instances that lead to it, outermost first.
        instance: the instance, and the frame in which it stands; None for the workflow itself.
        parent: that frame.
    """

    board: LiveBoard
    path: tuple[str, ...] = ()
    instance: LiveNode | None = None
    parent: Frame | None = None

    def inside(self, instance: LiveNode, boards: Mapping[str, LiveBoard]) -> Frame:
        """The frame of an instance that stands in this one."""
        board = boards[instance.saved.type]
        return Frame(board=board, path=(*self.path, instance.id), instance=instance, parent=self)

    def id_of(self, node: LiveNode) -> str:
        """A node's id in the API graph."""
        return ":".join((*self.path, node.id))


class Origin(NamedTuple):
    """An output that makes a value."""

    node: str
    slot: int


class Held(NamedTuple):
    """A value that an instance holds for a widget inside it."""

    widget: Widget


class LoopError(Exception):
    """Wires lead back to where they came from."""


class MissingSetterError(Exception):
    """A getter asks for a name that no setter gives.

    Args:
        name: the name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _At(NamedTuple):
    """Where the search stands: at an input, or at an output, and the type that is asked for."""

    frame: Frame
    node: LiveNode
    slot: int
    type: str | None


def trace(
    frame: Frame, node: LiveNode, slot: int, boards: Mapping[str, LiveBoard], seen: set[Place]
) -> Origin | Held | None:
    """Find what an input gets.

    Args:
        frame: where the node stands.
        node: the node.
        slot: the number of its input.
        boards: subgraph id -> its board.
        seen: an empty set; holds the places on the way afterwards.

    Returns:
        The output that makes the value, or the widget that holds it; None when nothing arrives.

    Raises:
        LoopError: the wires lead in a circle.
        MissingSetterError: they lead to a getter whose setter is not there.
    """
    at: _At | None = _At(frame, node, slot, None)
    while at is not None:
        _visit(at, False, seen)
        arrived = _from_input(at)
        if not isinstance(arrived, _At):
            return arrived
        if arrived.frame is not at.frame:
            at = arrived  # it left the subgraph, and stands at the instance's own input
            continue
        found = _from_output(arrived, boards, seen)
        if isinstance(found, Origin):
            return found
        at = found
    return None


def _visit(at: _At, output: bool, seen: set[Place]) -> None:
    place = (at.frame.path, at.node.id, output, at.slot)
    if place in seen:
        raise LoopError
    seen.add(place)


def _from_input(at: _At) -> _At | Held | None:
    """From an input along its wire: to an output on the same board, or out of the subgraph."""
    if at.slot >= len(at.node.sockets):
        return None
    socket = at.node.sockets[at.slot]
    link = socket.link
    if link is None:
        return None
    instance, parent = at.frame.instance, at.frame.parent
    if link.origin == FROM_OUTSIDE and instance is not None and parent is not None:
        if link.origin_slot >= len(instance.sockets):
            return None
        if instance.sockets[link.origin_slot].link is not None:
            return _At(parent, instance, link.origin_slot, None)
        widget = instance.promoted.get(link.origin_slot)
        return Held(widget) if widget is not None else None
    origin = at.frame.board.nodes.get(link.origin)
    return _At(at.frame, origin, link.origin_slot, at.type or socket.type) if origin is not None else None


def _from_output(at: _At, boards: Mapping[str, LiveBoard], seen: set[Place]) -> Origin | _At | None:
    """From an output to what makes it: this very node, or an input to go on from."""
    while True:
        _visit(at, True, seen)
        frame, node, wanted = at.frame, at.node, at.type or "*"
        if node.saved.mode == MUTED or at.slot < 0:
            return None
        if node.saved.mode == BYPASSED:
            slot = _passage(node, at.slot, wanted)
            return None if slot is None else _At(frame, node, slot, None)
        match node.kind:
            case Kind.INSTANCE:
                inner = frame.inside(node, boards)
                link = inner.board.leaving.get(at.slot)
                if link is None:
                    return None
                if link.origin == FROM_OUTSIDE:
                    return _At(frame, node, link.origin_slot, at.type)
                origin = inner.board.nodes.get(link.origin)
                if origin is None:
                    return None
                at = _At(inner, origin, link.origin_slot, wanted)
            case Kind.REROUTE | Kind.SETTER:
                return _At(frame, node, at.slot, wanted)
            case Kind.GETTER:
                where, setter = _setter(frame, node)
                return _At(where, setter, 0, wanted)
            case Kind.CLASS | Kind.UNKNOWN:
                return Origin(frame.id_of(node), at.slot)
            case _:
                return None


def _passage(node: LiveNode, slot: int, wanted: str) -> int | None:
    """The input that a bypassed node passes on as one of its outputs."""
    if wanted in {"*", ""}:
        return slot if slot < len(node.sockets) else 0 if node.sockets else None
    made = node.outputs[slot] if slot < len(node.outputs) else "*"
    types = [socket.type for socket in node.sockets]
    if slot < len(types) and fits(types[slot], made) and fits(types[slot], wanted):
        return slot
    if wanted in types:
        return types.index(wanted)
    return next((at for at, kind in enumerate(types) if fits(kind, made) and fits(kind, wanted)), None)


def fits(one: str, other: str) -> bool:
    """Whether two slot types can be wired: equal, any, or one of several that commas separate.

    Args:
        one: a type.
        other: another.
    """
    if one in {"*", "", "0"} or other in {"*", "", "0"} or one == other:
        return True
    ones = set(one.lower().split(","))
    return "*" in ones or bool(ones & set(other.lower().split(","))) or "*" in other.lower().split(",")


def named(node: LiveNode) -> Any:
    """The name that a setter gives or a getter asks for."""
    values = node.saved.values
    if isinstance(values, tuple):
        return values[0] if values else None
    return next(iter(values.values()), None) if values else None


def _setter(frame: Frame, getter: LiveNode) -> tuple[Frame, LiveNode]:
    """The setter of the getter's name, on the same board or on one around it."""
    name = named(getter)
    here: Frame | None = frame
    while here is not None:
        found = here.board.setters.get(name) if isinstance(name, str) else None
        if found is not None:
            return here, found
        here = here.parent
    raise MissingSetterError(str(name)[:80])
