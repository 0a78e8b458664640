"""Binding a caller's parameters to a graph: every one is set, or refused, or told; none is dropped in silence.

Deciding and doing are apart. `targets_for` decides at acceptance, and draws the seeds; what it says is stored.
`apply` does it at dispatch, from what was stored, and gives the same graph each time.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator_mcp.domain.documents import describe, is_storable, value_problems
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError, Problem, nearest
from orchestrator_mcp.workflows.declared import Declarations, Fault, value_fault
from orchestrator_mcp.workflows.graph import MAX_PROBLEMS, link_fault
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.links import Target, as_link, class_of, value_at
from orchestrator_mcp.workflows.naming import STANDARD_NAMES, Meaning, Names, in_reading_order
from orchestrator_mcp.workflows.requirements import FILE_INPUTS, MODEL_INPUTS, leaves_its_folder
from orchestrator_mcp.workflows.values import DRAW, holds_fractions, kind_of, mismatch, same, seed_fault

SEED_BITS = 53
"""Drawn seeds survive every JSON reader: 2**53 is the last whole number that a double holds exactly."""

_LABEL = (
    "The parameter {name!a} fits no input of the workflow; it is kept as a label, because it also stands in metadata."
)
_KEPT = 'The parameter {name!a} leaves "{target}" as it is: another node feeds it, or it holds no such value.'
_DRAWN = 'The workflow has -1 as seed at "{target}"; {seed} was drawn for it.'


def draw_seed() -> int:
    """Draw a seed below 2**53."""
    return secrets.randbelow(2**SEED_BITS)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a manifest's parameters do to a graph.

    Attributes:
        targets: for each parameter the inputs that it sets, as `node_id.input`; labels have none.
        values: the final value of each parameter; a seed of -1 is replaced by the drawn one.
        seeds: every whole-number seed in force, by `node_id.input`, also those that no parameter touched.
        labels: parameters that set nothing and stand in the metadata too.
        warnings: what the caller should know.
        defaults: declared defaults that hold because the caller gave nothing, and that the graph itself does not have;
            by name, as declared.
    """

    targets: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)


def targets_for(
    graph: Graph,
    parameters: Mapping[str, Any],
    metadata: Mapping[str, Any],
    declared: Sequence[ParameterView] = (),
    *,
    draw: Callable[[], int] = draw_seed,
    types: InputTypes = UNKNOWN_TYPES,
    names: Names | None = None,
) -> Bound:
    """Decide what each parameter sets.

    Args:
        graph: a checked graph.
        parameters: values by exact name (`node_id.input`, `node_id:input`) or plain name.
        metadata: the manifest's metadata; a parameter that fits nothing is a label if it stands here too.
        declared: parameters that the workflow itself declares; they go before what is inferred, and what they say of
            an input holds under whatever name it is set.
        draw: where seeds come from.
        types: what the backends say of inputs; of undeclared ones it decides whether fractions fit.
        names: of this graph, where they were found before.

    Raises:
        ManifestError: one problem for each parameter that cannot be set, with the path `parameters, name` and the
            code `unknown_parameter`, `ambiguous`, `declaration`, `linked`, `type`, `range`, `choice`, `required`,
            `link`, `path`, `text`, `number`, `depth`, `json` or `conflict`.
    """
    names = names or Names(graph)
    declarations = Declarations(declared)
    meanings: dict[str, Meaning] = {}
    labels: list[str] = []
    problems: list[Problem] = []
    for name, value in parameters.items():
        if len(problems) >= MAX_PROBLEMS:
            break
        unsound = _unsound(name, value)
        if unsound is not None:
            problems.append(unsound)
            continue
        spelled = declarations.targets(name)
        meaning = _declared(graph, spelled) if spelled else names.meaning(name)
        if meaning.fits_nothing and name in metadata and same(metadata[name], value):
            labels.append(name)
            continue
        problem = _problem(graph, names, declarations, name, value, meaning, types)
        if problem is None:
            meanings[name] = meaning
        else:
            problems.append(problem)
    problems.extend(_conflicts(meanings, parameters))
    left = _left_out(graph, declarations, parameters, meanings)
    problems.extend(_missing(name) for name in left if declarations.by_name[name].required)
    if problems:
        raise ManifestError(problems[:MAX_PROBLEMS])
    defaults = {name: declarations.by_name[name].default for name in left}
    return replace(
        _settle(graph, names, {**parameters, **defaults}, {**meanings, **left}, labels, draw), defaults=defaults
    )


def apply(
    graph: Graph, targets: Mapping[str, Sequence[str]], values: Mapping[str, Any], seeds: Mapping[str, int]
) -> Graph:
    """Make the graph that is sent, from what `targets_for` said.

    Args:
        graph: the graph that `targets_for` saw; it stays as it is.
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
        target = _located(graph, spelled)
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
    target = _located(graph, view.targets[0])
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
        views[target.spelled] = _view(graph, target.spelled, (target,), types)
    return list(views.values())


def _declared(graph: Graph, spelled: Sequence[str]) -> Meaning:
    try:
        targets = tuple(_located(graph, one) for one in spelled)
    except ManifestError as error:
        return Meaning(fault=f"the workflow declares it wrongly: {error.problems[0].message}", code="declaration")
    return Meaning(targets=targets)


def _left_out(
    graph: Graph, declarations: Declarations, parameters: Mapping[str, Any], meanings: Mapping[str, Meaning]
) -> dict[str, Meaning]:
    """The declared parameters that nobody set, as far as they are required or their default changes the graph."""
    taken = {target for meaning in meanings.values() for target in meaning.targets}
    left: dict[str, Meaning] = {}
    for name, view in declarations.by_name.items():
        if name in parameters or not (view.required or view.default is not None):
            continue
        free = [target for target in _declared(graph, view.targets).targets if target not in taken]
        if not view.required:
            free = [target for target in free if not same(value_at(graph, target), view.default)]
        if free:
            left[name] = Meaning(targets=tuple(free))
            taken.update(free)
    return left


def _missing(name: str) -> Problem:
    message = "is missing; the workflow cannot be rendered without it"
    return Problem(path=("parameters", name), message=message, code="required")


def _located(graph: Graph, spelled: str) -> Target:
    places = [place for place, character in enumerate(spelled) if character == "."]
    found = [Target(spelled[:place], spelled[place + 1 :]) for place in places if spelled[:place] in graph]
    for target in found:
        if target.input in graph[target.node]["inputs"] and as_link(value_at(graph, target)) is None:
            return target
    message = f"the graph has no input {spelled[:100]!a} that could be set; it is not the graph that was accepted"
    raise ManifestError.at("workflow", message=message, code="graph_changed")


def _unsound(name: str, value: object) -> Problem | None:
    if not is_storable(name):
        return Problem(path=("parameters",), message=f"the name {ascii(name)[:60]} cannot be stored", code="text")
    return next(value_problems(value, ("parameters", name)), None)


def _problem(
    graph: Graph,
    names: Names,
    declarations: Declarations,
    name: str,
    value: object,
    meaning: Meaning,
    types: InputTypes,
) -> Problem | None:
    path = ("parameters", name)
    if meaning.fault is not None:
        return Problem(path=path, message=meaning.fault, code=meaning.code, allowed=meaning.candidates)
    if not meaning.targets:
        known = tuple(dict.fromkeys([*declarations.names, *names.known]))
        near = nearest(name, known)
        told = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(known[:12])}"
        message = f"the workflow has no such input{told}"
        return Problem(path=path, message=message, code=meaning.code, allowed=near)
    faults = (_value_fault(graph, names, declarations, target, value, types) for target in meaning.targets)
    fault = next((fault for fault in faults if fault is not None), None)
    return None if fault is None else Problem(path=path, message=fault.words, code=fault.code, allowed=fault.allowed)


def _value_fault(
    graph: Graph, names: Names, declarations: Declarations, target: Target, value: object, types: InputTypes
) -> Fault | None:
    """What is wrong with a value at one input, or None."""
    present, rule = value_at(graph, target), declarations.rule(target)
    if rule is not None:
        wrong = value_fault(rule, present, value, seed=names.is_seed(target))
    else:
        words = mismatch(present, value, fractions=_takes_fractions(graph, target, types))
        wrong = None if words is None else Fault("type", words)
    if wrong is not None:
        return wrong
    wrong_seed = seed_fault(value) if names.is_seed(target) else None
    if wrong_seed is not None:
        return Fault("range", wrong_seed)
    if as_link(value) is not None or link_fault(graph, value) is not None:
        return Fault(
            "link", f"a list of a text and a number is a link, which a parameter cannot set ({target.spelled})"
        )
    if leaves_its_folder(graph, target, value):
        return Fault("path", f"{describe(value)} leads out of the backend's own folders; name a file inside them")
    return None


def _conflicts(meanings: Mapping[str, Meaning], parameters: Mapping[str, Any]) -> list[Problem]:
    setters: dict[Target, str] = {}
    found: dict[tuple[str, str], Problem] = {}
    for name, meaning in meanings.items():
        for target in meaning.targets:
            first = setters.setdefault(target, name)
            if first != name and not same(parameters[first], parameters[name]):
                message = f'sets "{target.spelled}" to another value than the parameter {first!a}; give one of them'
                problem = Problem(path=("parameters", name), message=message, code="conflict")
                found.setdefault((first, name), problem)
    return list(found.values())


def _left_alone(graph: Graph, meaning: Meaning) -> Iterable[Target]:
    """The inputs of a name that keep what they have, where that may surprise: not the sockets that a file leads to."""
    files = all((class_of(graph, target.node), target.input) in FILE_INPUTS for target in meaning.targets)
    return (kept for kept in meaning.kept if not files or as_link(value_at(graph, kept)) is None)


def _settle(
    graph: Graph,
    names: Names,
    parameters: Mapping[str, Any],
    meanings: Mapping[str, Meaning],
    labels: Sequence[str],
    draw: Callable[[], int],
) -> Bound:
    """Draw what has to be drawn, and write down what is in force."""
    drawn = _draw_for(names, [m for name, m in meanings.items() if same(parameters[name], DRAW)], draw)
    values = dict(parameters)
    settled: dict[Target, Any] = {}
    for name, meaning in meanings.items():
        if same(values[name], DRAW) and meaning.targets[0] in drawn:
            values[name] = drawn[meaning.targets[0]]
        settled.update(dict.fromkeys(meaning.targets, values[name]))
    warnings = [_LABEL.format(name=name) for name in labels]
    left_alone = [(name, kept) for name, meaning in meanings.items() for kept in _left_alone(graph, meaning)]
    warnings += [_KEPT.format(name=name, target=kept.spelled) for name, kept in left_alone]
    seeds: dict[str, int] = {}
    for target in names.seed_places:
        seed = settled.get(target, value_at(graph, target))
        if same(seed, DRAW) and target not in settled:
            seed = draw()
            warnings.append(_DRAWN.format(target=target.spelled, seed=seed))
        if kind_of(seed) == "integer":
            seeds[target.spelled] = seed
    return Bound(
        targets={name: [target.spelled for target in meaning.targets] for name, meaning in meanings.items()},
        values=values,
        seeds=seeds,
        labels=tuple(labels),
        warnings=tuple(warnings),
    )


def _draw_for(names: Names, meanings: Sequence[Meaning], draw: Callable[[], int]) -> dict[Target, int]:
    """One seed for each parameter that asks for one; parameters that share an input share the seed."""
    groups: list[set[Target]] = []
    for meaning in meanings:
        if any(names.is_seed(target) for target in meaning.targets):
            group = set(meaning.targets)
            overlapping = [other for other in groups if not other.isdisjoint(group)]
            groups = [other for other in groups if other not in overlapping] + [group.union(*overlapping)]
    return {target: seed for group in groups for seed in [draw()] for target in group}


def _takes_fractions(graph: Graph, target: Target, types: InputTypes) -> bool:
    """Whether fractions fit although a whole number stands there: as a backend says, else by the input's name."""
    class_type, present = class_of(graph, target.node), value_at(graph, target)
    known = types.of(class_type, target.input, present) if isinstance(present, int) else None
    if known is not None and known.type in {"integer", "number"}:
        return known.type == "number"
    return holds_fractions(class_type, target.input)


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
