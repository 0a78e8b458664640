"""Which inputs of a graph name a file that the caller brings, and the graph with those files' names in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator_mcp.domain.assets import input_name
from orchestrator_mcp.domain.chains import JobInput
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterType, ParameterView
from orchestrator_mcp.workflows.declared import FILE_TYPES, Declarations
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.links import Target, class_of, unlinked
from orchestrator_mcp.workflows.naming import Names
from orchestrator_mcp.workflows.parameters import apply
from orchestrator_mcp.workflows.requirements import FILE_INPUTS


def file_inputs(
    graph: Graph, declared: Sequence[ParameterView] = (), types: InputTypes = UNKNOWN_TYPES
) -> dict[str, ParameterType]:
    """Every input that names a file which a caller brings.

    Args:
        graph: a checked graph.
        declared: the parameters that the workflow declares.
        types: what the inputs take, as far as the backends say.

    Returns:
        `node.input` -> image, mask, video or audio, in the graph's order.
    """
    said = {spelled: view.type for view in declared for spelled in view.targets if view.type in FILE_TYPES}
    found: dict[str, ParameterType] = {}
    for target, present in unlinked(graph):
        kind = said.get(target.spelled) or _type_at(class_of(graph, target.node), target, present, types)
        if kind is not None:
            found[target.spelled] = kind
    return found


def targets_of(graph: Graph, declared: Sequence[ParameterView], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The inputs that each name sets, as `Binding` will find them; empty for a name that fits nothing.

    Args:
        graph: a checked graph.
        declared: the parameters that the workflow declares.
        names: what a caller wrote.
    """
    declarations, inferred = Declarations(declared), Names(graph)
    return {
        name: declarations.targets(name) or tuple(target.spelled for target in inferred.meaning(name).targets)
        for name in names
    }


def with_files(graph: Graph, inputs: Iterable[JobInput], names: Mapping[str, str] | None = None) -> Graph:
    """The graph with the names of the files that it begins with.

    Args:
        graph: the graph with every value bound; it stays as it is.
        inputs: the files.
        names: sha256 -> what the file is called on the backend, where that is not the usual name.

    Raises:
        ManifestError: an input is gone or has become a link: this is another graph.
    """
    called = {one.target: (names or {}).get(one.sha256, input_name(one.sha256, one.extension)) for one in inputs}
    return apply(graph, {target: [target] for target in called}, called, {}) if called else graph


def values_at(graph: Graph, inputs: Sequence[str]) -> dict[str, object]:
    """What stands at some inputs now.

    Args:
        graph: a checked graph.
        inputs: as `file_inputs` spells them.
    """
    wanted = set(inputs)
    return {target.spelled: value for target, value in unlinked(graph) if target.spelled in wanted}


def _type_at(class_type: str, target: Target, present: object, types: InputTypes) -> ParameterType | None:
    known = FILE_INPUTS.get((class_type, target.input))
    if known is not None:
        return known
    said = types.of(class_type, target.input, present)
    return said.type if said is not None and said.type in FILE_TYPES else None
