"""UI format → API format: what ComfyUI's page saves, as its servers run it.

The rules are those of the page's own "Export (API)". What depends on the page itself, such as random choices in
prompts, the clock or a camera, is refused by node and reason: a graph that is only nearly right is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.errors import ManifestError, Problem, TooLargeError
from orchestrator_mcp.workflows.convert.boards import Workbench
from orchestrator_mcp.workflows.convert.definitions import with_unique_ids
from orchestrator_mcp.workflows.convert.emission import Emission
from orchestrator_mcp.workflows.convert.live import Kind, LiveBoard, LiveNode
from orchestrator_mcp.workflows.convert.primitives import push_primitives
from orchestrator_mcp.workflows.convert.refusals import refusal
from orchestrator_mcp.workflows.convert.saved import MAX_NODES, ROOT, read_saved
from orchestrator_mcp.workflows.convert.tracing import Frame

MAX_PROBLEMS: Final = 50
_MAX_WARNINGS: Final = 50
_FIRST_SAMPLERS: Final = frozenset({"KSampler", "KSamplerAdvanced"})


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A workflow in API format.

    Attributes:
        graph: the graph; values are shared with the document that it came from.
        warnings: what in the file could not be followed and does not matter to the result, in words.
    """

    graph: Graph
    warnings: tuple[str, ...] = ()


def convert(workflow: object, catalogue: Mapping[str, Any]) -> Converted:
    """Convert a workflow from UI format.

    Args:
        workflow: the parsed file, of schema 0.4 or 1.0; hostile until it is read here, and not changed.
        catalogue: class -> definition, as a backend answers `GET /object_info`.

    Raises:
        ManifestError: one problem for each node that cannot be converted faithfully, with the path
            `workflow, "nodes", id`; nodes inside subgraphs have the id that they would have in the graph (`12:7`).
            Its codes are `ui_format`, `node_id`, `subgraph`, `unknown_class`, `group_node`, `js_only`, `loop`,
            `setter` and `graph`.
        TooLargeError: it has too many nodes, or its subgraphs would expand to too many.
    """
    bench = Workbench(with_unique_ids(read_saved(workflow)), catalogue)
    boards = [*bench.boards.values(), bench.root]
    for board in boards:
        for node in board.nodes.values():
            _mend(node)
    unfinished = {id(node) for _, node in push_primitives(boards)}
    emission = Emission(boards=bench.boards, titles=_titles(boards))
    problems: list[Problem] = []
    for number, (frame, node) in enumerate(_nodes(Frame(board=bench.root), bench.boards)):
        if number >= MAX_NODES:
            raise TooLargeError(f"The workflow's subgraphs expand to more than {MAX_NODES:,} nodes.")
        found = refusal(frame.id_of(node), node, bench.classes, unfinished=id(node) in unfinished)
        if found is None and node.kind is Kind.CLASS:
            found = emission.add(frame, node)
        if found is not None and len(problems) < MAX_PROBLEMS:
            problems.append(found)
    if problems:
        raise ManifestError(problems)
    graph = emission.finished()
    if not graph:
        raise ManifestError.at(ROOT, message="has no node that a backend could run", code="graph")
    return Converted(graph=graph, warnings=tuple([*bench.warnings, *emission.warnings][:_MAX_WARNINGS]))


def _nodes(frame: Frame, boards: Mapping[str, LiveBoard]) -> Iterator[tuple[Frame, LiveNode]]:
    """Every active node of a frame, and after each instance those inside it."""
    for node in frame.board.nodes.values():
        if not node.active:
            continue
        yield frame, node
        if node.kind is Kind.INSTANCE:
            yield from _nodes(frame.inside(node, boards), boards)


def _mend(node: LiveNode) -> None:
    """The repairs that the page makes to old files: combos without a value, and the first samplers' names."""
    for widget in [*node.widgets, *node.promoted.values()]:
        if widget.kind == "COMBO" and widget.value is None and widget.choices:
            widget.value = widget.choices[0]
        sampler = node.saved.type in _FIRST_SAMPLERS and widget.name == "sampler_name"
        if sampler and isinstance(widget.value, str):
            widget.value = widget.value.removeprefix("sample_")


def _titles(boards: list[LiveBoard]) -> frozenset[str]:
    """The names by which a file name prefix could ask for a node: its own name for that purpose, or its title."""
    names: set[str] = set()
    for board in boards:
        for node in board.nodes.values():
            said = node.saved.properties.get("Node name for S&R")
            names.update({node.title, said} if isinstance(said, str) else {node.title})
    return frozenset(names)
