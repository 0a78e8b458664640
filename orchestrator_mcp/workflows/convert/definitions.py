"""Makes node ids unique over a workflow and its subgraph definitions, as ComfyUI does when it opens a file.

Ids of inner nodes become part of the ids in the API graph (`12:7`), so the same numbers must come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.convert.saved import (
    FROM_OUTSIDE,
    ROOT,
    SavedBoard,
    SavedLink,
    SavedNode,
    SavedSubgraph,
    SavedWorkflow,
)

_MAX_COUNTED = 2**53


def with_unique_ids(saved: SavedWorkflow) -> SavedWorkflow:
    """Give every inner node an id that no other node has; the first definition that uses an id keeps it.

    Args:
        saved: the file; of definitions with equal ids the first counts.

    Raises:
        ManifestError: two nodes of the workflow itself share an id, so its links are ambiguous; the code is `node_id`.
    """
    _refuse_twins(saved.board.nodes)
    definitions = {definition.id: definition for definition in reversed(saved.subgraphs)}
    kept = [definitions[key] for key in dict.fromkeys(definition.id for definition in saved.subgraphs)]
    taken = {node.id for node in saved.board.nodes}
    last = saved.last_node_id
    renamed: list[SavedSubgraph] = []
    names: dict[str, dict[str, str]] = {}
    for definition in kept:
        fresh, last = _fresh_ids(definition.board.nodes, taken, last)
        names[definition.id] = fresh
        renamed.append(replace(definition, board=_rename(definition.board, fresh)))
    patched = tuple(replace(each, board=_patch_promotions(each.board, names)) for each in renamed)
    return replace(saved, board=_patch_promotions(saved.board, names), subgraphs=patched)


def _refuse_twins(nodes: tuple[SavedNode, ...]) -> None:
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            message = "is the id of two nodes, so the links to it are ambiguous"
            raise ManifestError.at(ROOT, "nodes", node.id, message=message, code="node_id")
        seen.add(node.id)


def _fresh_ids(nodes: tuple[SavedNode, ...], taken: set[str], last: int) -> tuple[dict[str, str], int]:
    """New ids for the nodes whose id is taken; `taken` grows by all of them."""
    fresh: dict[str, str] = {}
    own: set[str] = set()
    for node in nodes:
        if node.id in own:
            continue
        own.add(node.id)
        if node.id in taken:
            last += 1
            while str(last) in taken:
                last += 1
            fresh[node.id] = str(last)
        elif node.id.isascii() and node.id.isdigit() and str(int(node.id)) == node.id and int(node.id) < _MAX_COUNTED:
            last = max(last, int(node.id))
        taken.add(fresh.get(node.id, node.id))
    return fresh, last


def _rename(board: SavedBoard, fresh: dict[str, str]) -> SavedBoard:
    nodes: dict[str, SavedNode] = {}
    for node in board.nodes:
        nodes.setdefault(node.id, replace(node, id=fresh.get(node.id, node.id)))
    links: dict[str, SavedLink] = {}
    for link in board.links:
        if link.id not in links:
            origin = link.origin if link.origin == FROM_OUTSIDE else fresh.get(link.origin, link.origin)
            links[link.id] = replace(link, origin=origin, target=fresh.get(link.target, link.target))
    return SavedBoard(nodes=tuple(nodes.values()), links=tuple(links.values()))


def _patch_promotions(board: SavedBoard, names: dict[str, dict[str, str]]) -> SavedBoard:
    """Let the promoted widgets of every instance name the nodes by their new ids."""
    return replace(board, nodes=tuple(_patched(node, names.get(node.type) or {}) for node in board.nodes))


def _patched(node: SavedNode, fresh: dict[str, str]) -> SavedNode:
    promoted = node.properties.get("proxyWidgets")
    if not fresh or not isinstance(promoted, list):
        return node
    return replace(node, properties={**node.properties, "proxyWidgets": list(_renamed(promoted, fresh))})


def _renamed(promoted: list[object], fresh: dict[str, str]) -> Iterator[object]:
    for entry in promoted:
        if isinstance(entry, list) and entry and isinstance(entry[0], str):
            yield [fresh.get(entry[0], entry[0]), *entry[1:]]
        else:
            yield entry
