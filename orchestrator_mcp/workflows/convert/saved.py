"""What a UI-format file says, typed and bounded, before any of it is understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from orchestrator_mcp.domain.documents import describe
from orchestrator_mcp.errors import ManifestError, TooLargeError

ROOT: Final = "workflow"
MAX_NODES: Final = 10_000
MAX_LINKS: Final = 100_000
MAX_DEFINITIONS: Final = 1_000
MAX_NESTING: Final = 32
"""How deep subgraph definitions may lie in each other."""

FROM_OUTSIDE: Final = "-10"
"""The origin of links that enter a subgraph, in place of a node id."""
TO_OUTSIDE: Final = "-20"
"""The target of links that leave a subgraph."""

_MAX_ID = 100  # characters
_MAX_SLOT = 10_000
_MAX_PORTS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedInput:
    """One input of a saved node; `widget` names the widget whose socket it is."""

    name: str
    type: str
    link: str | None = None
    widget: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedOutput:
    """One output of a saved node."""

    name: str
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedNode:
    """A node as the file has it.

    Attributes:
        id: its id, as text.
        mode: 2 is muted, 4 is bypassed.
        values: the widgets' values in order, or by name; None when the file has none.
    """

    id: str
    type: str
    title: str | None = None
    mode: int = 0
    inputs: tuple[SavedInput, ...] = ()
    outputs: tuple[SavedOutput, ...] = ()
    values: tuple[Any, ...] | Mapping[str, Any] | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedLink:
    """One wire: from an output to an input."""

    id: str
    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedBoard:
    """The nodes and links of the workflow itself, or of one subgraph definition."""

    nodes: tuple[SavedNode, ...]
    links: tuple[SavedLink, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPort:
    """An input or output of a subgraph; `links` are the wires behind it, in the file's order."""

    name: str
    type: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedSubgraph:
    """A subgraph definition; nodes whose type is its id are its instances."""

    id: str
    name: str
    inputs: tuple[SavedPort, ...]
    outputs: tuple[SavedPort, ...]
    board: SavedBoard


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedWorkflow:
    """A whole file."""

    board: SavedBoard
    subgraphs: tuple[SavedSubgraph, ...]
    last_node_id: int


def read_saved(document: object) -> SavedWorkflow:
    """Read a UI-format document, of schema 0.4 or 1.0.

    Args:
        document: the parsed JSON; hostile until it is read here.

    Raises:
        ManifestError: it is not shaped like a saved workflow; the code is `ui_format`.
        TooLargeError: it has too many nodes, links or definitions.
    """
    saved = _object(document, (ROOT,))
    board = _board(saved, (ROOT,))
    subgraphs = tuple(_definitions(saved, (ROOT,), 0))
    if len(subgraphs) > MAX_DEFINITIONS:
        raise TooLargeError(
            f"The workflow has {len(subgraphs):,} subgraph definitions; at most {MAX_DEFINITIONS:,} are taken."
        )
    state = saved.get("state")
    last = saved.get("last_node_id")
    if isinstance(state, dict):
        last = state.get("lastNodeId", last)
    return SavedWorkflow(board=board, subgraphs=subgraphs, last_node_id=last if _is_int(last) and last > 0 else 0)


def _definitions(holder: Mapping[str, Any], path: tuple[str, ...], depth: int) -> Iterator[SavedSubgraph]:
    """Every definition at any depth, outer ones first."""
    definitions = holder.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    if depth > MAX_NESTING:
        raise _wrong(path, f"has subgraph definitions nested more than {MAX_NESTING} deep")
    for number, entry in enumerate(_items(listed, (*path, "definitions", "subgraphs"))):
        here = (*path, "definitions", "subgraphs", str(number))
        definition = _object(entry, here)
        key = definition.get("id")
        if not isinstance(key, str) or not key or len(key) > _MAX_ID:
            raise _wrong((*here, "id"), "is no id of a subgraph")
        yield SavedSubgraph(
            id=key,
            name=_text(definition.get("name")) or key,
            inputs=_ports(definition.get("inputs"), (*here, "inputs")),
            outputs=_ports(definition.get("outputs"), (*here, "outputs")),
            board=_board(definition, here),
        )
        yield from _definitions(definition, here, depth + 1)


def _board(holder: Mapping[str, Any], path: tuple[str, ...]) -> SavedBoard:
    nodes = _items(holder.get("nodes"), (*path, "nodes"))
    if len(nodes) > MAX_NODES:
        raise TooLargeError(f"The workflow has {len(nodes):,} nodes; at most {MAX_NODES:,} are taken.")
    links = _items(holder.get("links"), (*path, "links"))
    if len(links) > MAX_LINKS:
        raise TooLargeError(f"The workflow has {len(links):,} links; at most {MAX_LINKS:,} are taken.")
    return SavedBoard(
        nodes=tuple(_node(entry, (*path, "nodes", str(number))) for number, entry in enumerate(nodes)),
        links=tuple(
            _link(entry, (*path, "links", str(number))) for number, entry in enumerate(links) if entry is not None
        ),
    )


def _node(entry: object, path: tuple[str, ...]) -> SavedNode:
    node = _object(entry, path)
    key = _key(node.get("id"), (*path, "id"))
    path = (*path[:-1], key)
    kind = node.get("type")
    if not isinstance(kind, str) or not kind.strip():
        raise _wrong((*path, "type"), f"is {describe(kind)}; the node's class is needed")
    mode = node.get("mode", 0)
    properties = node.get("properties")
    return SavedNode(
        id=key,
        type=kind,
        title=_text(node.get("title")),
        mode=mode if _is_int(mode) else 0,
        inputs=tuple(_input(item, (*path, "inputs")) for item in _items(node.get("inputs"), (*path, "inputs"))),
        outputs=tuple(_output(item) for item in _items(node.get("outputs"), (*path, "outputs"))),
        values=_values(node.get("widgets_values"), (*path, "widgets_values")),
        properties=properties if isinstance(properties, dict) else {},
    )


def _input(item: object, path: tuple[str, ...]) -> SavedInput:
    slot = _object(item, path)
    link, widget = slot.get("link"), slot.get("widget")
    return SavedInput(
        name=_text(slot.get("name")) or "",
        type=_type(slot.get("type")),
        link=None if link is None else _key(link, (*path, "link")),
        widget=_text(widget.get("name")) if isinstance(widget, dict) else None,
    )


def _output(item: object) -> SavedOutput:
    slot = item if isinstance(item, dict) else {}
    return SavedOutput(name=_text(slot.get("name")) or "", type=_type(slot.get("type")))


def _link(entry: object, path: tuple[str, ...]) -> SavedLink:
    if isinstance(entry, list) and len(entry) >= 5:
        key, origin, origin_slot, target, target_slot = entry[:5]
    elif isinstance(entry, dict):
        key, origin, origin_slot = entry.get("id"), entry.get("origin_id"), entry.get("origin_slot")
        target, target_slot = entry.get("target_id"), entry.get("target_slot")
    else:
        raise _wrong(path, f"is {describe(entry)}; a link is a list of five or an object")
    return SavedLink(
        id=_key(key, path),
        origin=_key(origin, path),
        origin_slot=_slot(origin_slot, path),
        target=_key(target, path),
        target_slot=_slot(target_slot, path),
    )


def _ports(listed: object, path: tuple[str, ...]) -> tuple[SavedPort, ...]:
    ports = []
    if len(_items(listed, path)) > _MAX_PORTS:
        raise _wrong(path, f"has more than {_MAX_PORTS:,} entries")
    for item in _items(listed, path):
        slot = _object(item, path)
        links = slot.get("linkIds")
        ports.append(
            SavedPort(
                name=_text(slot.get("name")) or "",
                type=_type(slot.get("type")),
                links=tuple(_key(link, path) for link in links) if isinstance(links, list) else (),
            )
        )
    return tuple(ports)


def _values(said: object, path: tuple[str, ...]) -> tuple[Any, ...] | Mapping[str, Any] | None:
    if said is None:
        return None
    if isinstance(said, list):
        return tuple(said)
    if isinstance(said, dict):
        return said
    raise _wrong(path, f"is {describe(said)}; a list or an object is needed")


def _type(said: object) -> str:
    """A slot's type; lists of choices are what combos were in old files, numbers stand for any type."""
    if isinstance(said, list):
        return "COMBO"
    return said if isinstance(said, str) and said else "*"


def _object(entry: object, path: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _wrong(path, f"is {describe(entry)}; an object is needed")
    return entry


def _items(listed: object, path: tuple[str, ...]) -> Sequence[Any]:
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise _wrong(path, f"is {describe(listed)}; a list is needed")
    return listed


def _key(said: object, path: tuple[str, ...]) -> str:
    if isinstance(said, float) and said.is_integer():
        said = int(said)
    key = str(said) if _is_int(said) else said
    if not isinstance(key, str) or not key or len(key) > _MAX_ID:
        raise _wrong(path, f"is {describe(said)}; an id is needed")
    return key


def _slot(said: object, path: tuple[str, ...]) -> int:
    if isinstance(said, float) and said.is_integer():
        said = int(said)
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 6:
        said = int(said)
    if not isinstance(said, int) or isinstance(said, bool) or not -1 <= said <= _MAX_SLOT:
        raise _wrong(path, f"has {describe(said)} as the number of a slot")
    return said


def _text(said: object) -> str | None:
    return said if isinstance(said, str) else None


def _is_int(said: object) -> TypeGuard[int]:
    return isinstance(said, int) and not isinstance(said, bool)


def _wrong(path: tuple[str, ...], message: str) -> ManifestError:
    return ManifestError.at(*path, message=message, code="ui_format")
