"""The parameters of a graph: which there are, and the graph with their values in it.

`binding` decides at acceptance what each one sets; `apply` does it at dispatch, from what was stored, and gives the
same graph each time.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.links import Target, as_link, class_of, value_at
from orchestrator_mcp.workflows.naming import STANDARD_NAMES, Names, in_reading_order
from orchestrator_mcp.workflows.requirements import FILE_INPUTS, MODEL_INPUTS
from orchestrator_mcp.workflows.values import holds_fractions, kind_of


def apply(
    graph: Graph, targets: Mapping[str, Sequence[str]], values: Mapping[str, Any], seeds: Mapping[str, int]
) -> Graph:
    """Make the graph that is sent, from what `binding` said.

    Args:
        graph: the graph that was bound; it stays as it is.
        targets: see `Bound`.
        values: see `Bound`.
        seeds: see `Bound`.

    Returns:
        A new graph; nodes that nothing touches are shared with the old one.

    Raises:
        ManifestError: an input is gone or has become a link: this is another graph.
    """
    bound = dict(graph)
    settings = [(spelled, values[name]) for name, all_spelled in targets.items() for spelled in all_spelled]
    for spelled, value in [*settings, *seeds.items()]:
        target = located(graph, spelled)
        node = bound[target.node]
        bound[target.node] = {**node, "inputs": {**node["inputs"], target.input: copy.deepcopy(value)}}
    return bound


def with_limits(graph: Graph, view: ParameterView, types: InputTypes) -> ParameterView:
    """A declared parameter as callers see it: what its author left open is what the backends take.

    Args:
        graph: a checked graph.
        view: the parameter, as `declared.view_of` makes it.
        types: what the inputs take, as far as the backends say.
    """
    target = located(graph, view.targets[0])
    known = types.of(class_of(graph, target.node), target.input, value_at(graph, target))
    if known is None or view.choices:
        return view
    if view.type == "string" and known.type == "choice":
        return view.model_copy(update={"type": "choice", "choices": list(known.choices)})
    if view.type not in {"integer", "number"} or view.minimum is not None or view.maximum is not None:
        return view
    return view.model_copy(update={"minimum": known.minimum, "maximum": known.maximum})


def infer_parameters(graph: Graph, types: InputTypes = UNKNOWN_TYPES) -> list[ParameterView]:
    """List what a caller may set without knowing node numbers.

    The usual names come first, then model files, then every other input, by the title that a person gave its node or
    its own name; one that stands on several nodes with different values is listed by its exact names.

    Args:
        graph: a checked graph.
        types: what the backends say of inputs; where they say nothing, the value in the graph is the measure.
    """
    names = Names(graph)
    views: dict[str, ParameterView] = {}
    covered: set[Target] = set()
    seen: set[str] = set()
    remaining = in_reading_order(graph)
    models = [target.input for target in remaining if target.input in MODEL_INPUTS]
    titles = {target: name for name, target in names.titles.items()}
    for name in [*STANDARD_NAMES, *models]:
        meaning = names.meaning(name)
        if name not in views and meaning.targets and not covered.issuperset(meaning.targets):
            views[name] = _view(graph, name, meaning.targets, types)
            covered.update(meaning.targets)
    for target in remaining:
        if target in covered:
            continue
        title = titles.get(target, "")
        if title and title not in views and names.meaning(title).targets == (target,):
            views[title] = _view(graph, title, (target,), types)
            covered.add(target)
            continue
        if target.input not in seen:
            seen.add(target.input)
            meaning = names.meaning(target.input)
            if target in meaning.targets and covered.isdisjoint(meaning.targets):
                views[target.input] = _view(graph, target.input, meaning.targets, types)
                covered.update(meaning.targets)
                continue
        exact = names.exact(target)
        views[exact] = _view(graph, exact, (target,), types)
    return list(views.values())


def located(graph: Graph, spelled: str) -> Target:
    """The input that a stored or declared name means.

    Args:
        graph: a checked graph.
        spelled: `node_id.input`.

    Raises:
        ManifestError: there is no such input, or another node feeds it.
    """
    places = [place for place, character in enumerate(spelled) if character == "."]
    found = [Target(spelled[:place], spelled[place + 1 :]) for place in places if spelled[:place] in graph]
    for target in found:
        if target.input in graph[target.node]["inputs"] and as_link(value_at(graph, target)) is None:
            return target
    message = f"the graph has no input {spelled[:100]!a} that could be set; it is not the graph that was accepted"
    raise ManifestError.at("workflow", message=message, code="graph_changed")


def _view(graph: Graph, name: str, targets: Sequence[Target], types: InputTypes) -> ParameterView:
    first = targets[0]
    present = value_at(graph, first)
    class_type = class_of(graph, first.node)
    known = types.of(class_type, first.input, present)
    view = ParameterView(name=name, default=copy.deepcopy(present), targets=[target.spelled for target in targets])
    file = FILE_INPUTS.get((class_type, first.input)) if isinstance(present, str) else None
    if file is not None or known is None:
        kind = kind_of(present, fractions=holds_fractions(class_type, first.input))
        return view.model_copy(update={"type": file or kind})
    said = {"type": known.type, "minimum": known.minimum, "maximum": known.maximum, "choices": list(known.choices)}
    return view.model_copy(update=said)
