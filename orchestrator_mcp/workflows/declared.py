"""Parameters that a workflow declares: what may be declared for a graph, and which values each one takes. Pure.

Where the declaration was read from does not matter here: a file beside the workflow, or the file of another tool.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from orchestrator_mcp.domain.documents import describe, value_problems
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterType, ParameterView
from orchestrator_mcp.errors import nearest
from orchestrator_mcp.workflows.links import Target, as_link, class_of, inputs_of, title_of, value_at
from orchestrator_mcp.workflows.requirements import leaves_its_folder
from orchestrator_mcp.workflows.values import DRAW, SEED_INPUTS, holds_fractions, kind_of, mismatch, same

FILE_TYPES: Final = frozenset({"image", "mask", "video", "audio"})

_TOLD = 12  # names or values in a message
_NEEDED: Final[dict[str, tuple[str, Any]]] = {
    "boolean": ("true or false", bool),
    "integer": ("a whole number", int),
    "number": ("a number", (int, float)),
    "string": ("text", str),
    **dict.fromkeys(FILE_TYPES, ("the name of a file, as text,", str)),
}


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One input of the graph under a name.

    Attributes:
        name: what callers say; the same name on several inputs sets them all.
        target: the input.
        type: what it takes; None takes what stands in the graph as the measure.
        default: what holds when a caller gives nothing; None leaves what stands in the graph.
        minimum: the least number that is taken.
        maximum: the greatest number that is taken.
        choices: the only values that are taken; empty for any.
        title: what people call it.
        description: what it does.
        required: whether a caller has to give it.
    """

    name: str
    target: Target
    type: ParameterType | None = None
    default: Any = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[Any, ...] = ()
    title: str | None = None
    description: str | None = None
    required: bool = False


class Flaw(NamedTuple):
    """What is wrong with one key of a declaration."""

    key: str
    message: str


class Fault(NamedTuple):
    """What is wrong with a value: a stable word, the words for people, and what would be right."""

    code: str
    words: str
    allowed: tuple[Any, ...] = ()


def flaws(graph: Graph, declared: Declaration) -> list[Flaw]:
    """Everything by which a declaration does not fit its graph, or itself.

    Args:
        graph: a checked graph.
        declared: the declaration.

    Returns:
        One flaw per key; the keys are those of the file beside a workflow (`node`, `input`, `type`, `default`, `min`,
        `max`, `choices`).
    """
    lost = _lost(graph, declared.target)
    if lost is not None:
        return [lost]
    found = [*_type_flaws(graph, declared), *_range_flaws(graph, declared)]
    return found or [*_choice_flaws(graph, declared), *_default_flaws(graph, declared)]


def view_of(graph: Graph, group: Sequence[Declaration]) -> ParameterView:
    """One parameter, as callers see it.

    Args:
        graph: a checked graph.
        group: declarations of one name without flaws; what the first says counts.
    """
    first = group[0]
    present = [value_at(graph, declared.target) for declared in group]
    default = first.default
    if default is None and all(same(value, present[0]) for value in present):
        default = present[0]
    return ParameterView(
        name=first.name,
        type=type_of(graph, first),
        default=copy.deepcopy(default),
        targets=[declared.target.spelled for declared in group],
        title=first.title,
        description=first.description,
        minimum=first.minimum,
        maximum=first.maximum,
        choices=list(first.choices),
        required=first.required,
    )


def type_of(graph: Graph, declared: Declaration) -> ParameterType:
    """What a declaration takes: what it says, else a choice if it has choices, else as the graph has it."""
    if declared.type is not None:
        return declared.type
    return "choice" if declared.choices else _kind_at(graph, declared.target)


def value_fault(view: ParameterView, present: object, value: object, *, seed: bool = False) -> Fault | None:
    """What is wrong with a value for a declared parameter; None when it is taken.

    Args:
        view: the parameter.
        present: what stands in the graph now; the measure where no type is declared.
        value: what was given.
        seed: the input is a seed, for which -1 means to draw one, whatever the range.
    """
    if value is None:
        return Fault("type", "null was given; leave the parameter out to keep what the workflow has")
    if seed and same(value, DRAW) and view.type in {"integer", "number", "any"}:
        return None
    words, types = _NEEDED.get(view.type, ("", object))
    if not isinstance(value, types) or (isinstance(value, bool) and view.type in {"integer", "number"}):
        return Fault("type", f"{describe(value)} was given; {words}{_range_words(view)} is needed")
    if view.type == "any" and (wrong := mismatch(present, value)) is not None:
        return Fault("type", wrong)
    if view.choices and not any(same(choice, value) for choice in view.choices):
        return Fault("choice", f"{describe(value)} was given; {_choice_words(view)} is needed", tuple(view.choices))
    if not _in_range(view, value):
        return Fault("range", f"{describe(value)} was given; {words or 'a number'}{_range_words(view)} is needed")
    return None


def _lost(graph: Graph, target: Target) -> Flaw | None:
    if target.node not in graph:
        near = nearest(target.node, graph) or tuple(graph)[:_TOLD]
        return Flaw("node", f"the workflow has no node {target.node[:60]!a}; it has {', '.join(near)}")
    inputs = inputs_of(graph, target.node)
    called = f"node {target.node} ({title_of(graph, target.node)})"
    if target.input not in inputs:
        near = nearest(target.input, inputs)
        told = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(list(inputs)[:_TOLD]) or 'none'}"
        return Flaw("input", f"{called} has no input {target.input[:60]!a}; {told}")
    if as_link(inputs[target.input]) is not None:
        return Flaw("input", f"{target.input} of {called} is fed by another node; a link is never replaced")
    return None


def _kind_at(graph: Graph, target: Target) -> ParameterType:
    fractions = holds_fractions(class_of(graph, target.node), target.input)
    return kind_of(value_at(graph, target), fractions=fractions)


def _type_flaws(graph: Graph, declared: Declaration) -> Iterator[Flaw]:
    present = value_at(graph, declared.target)
    if declared.type == "choice" and not declared.choices:
        yield Flaw("choices", "is missing; a choice needs the list of values that are taken")
    families = {"integer": "number", **dict.fromkeys(FILE_TYPES, "string")}
    wanted = families.get(declared.type or "any", declared.type or "any")
    held = families.get(kind_of(present), kind_of(present))
    if wanted not in {"any", "choice"} and held not in {"any", wanted}:
        yield Flaw("type", f"found {declared.type}, but {describe(present)} stands at {declared.target.spelled}")


def _range_flaws(graph: Graph, declared: Declaration) -> Iterator[Flaw]:
    low, high = declared.minimum, declared.maximum
    if low is not None and high is not None and low > high:
        yield Flaw("min", f"found {low}, which is more than max, {high}")
    kind = type_of(graph, declared)
    if kind not in {"integer", "number"}:
        for key, bound in (("min", low), ("max", high)):
            if bound is not None:
                yield Flaw(key, f"only whole numbers and numbers have a range; this is of the type {kind}")


def _choice_flaws(graph: Graph, declared: Declaration) -> Iterator[Flaw]:
    kind = type_of(graph, declared)
    without = view_of(graph, [declared]).model_copy(update={"choices": [], "default": None})
    measure = without.model_copy(update={"type": _kind_at(graph, declared.target)}) if kind == "choice" else without
    for choice in declared.choices:
        fault = _fault_in_graph(graph, declared, measure, choice)
        if fault is not None:
            hint = "; put it in quotes" if isinstance(choice, bool) else ""
            yield Flaw("choices", f"{fault}{hint}")
            return


def _default_flaws(graph: Graph, declared: Declaration) -> Iterator[Flaw]:
    if declared.default is not None:
        fault = _fault_in_graph(graph, declared, view_of(graph, [declared]), declared.default)
        if fault is not None:
            yield Flaw("default", fault)


def _fault_in_graph(graph: Graph, declared: Declaration, view: ParameterView, value: Any) -> str | None:
    unsound = next(value_problems(value, ()), None)
    if unsound is not None:
        return unsound.message
    if as_link(value) is not None or isinstance(value, dict):
        return f"found {describe(value)}; a plain value is needed"
    if leaves_its_folder(graph, declared.target, value):
        return f"{describe(value)} leads out of the backend's own folders; name a file inside them"
    seed = declared.target.input in SEED_INPUTS
    fault = value_fault(view, value_at(graph, declared.target), value, seed=seed)
    return None if fault is None else fault.words.replace("was given", "was found", 1)


def _in_range(view: ParameterView, value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    return not (
        (view.minimum is not None and value < view.minimum) or (view.maximum is not None and value > view.maximum)
    )


def _range_words(view: ParameterView) -> str:
    if view.minimum is not None and view.maximum is not None:
        return f" from {view.minimum} to {view.maximum}"
    if view.minimum is not None:
        return f" of at least {view.minimum}"
    return f" of at most {view.maximum}" if view.maximum is not None else ""


def _choice_words(view: ParameterView) -> str:
    told = [f"{choice!r}" if isinstance(choice, str) else str(choice) for choice in view.choices[:_TOLD]]
    more = f" and {len(view.choices) - _TOLD} more" if len(view.choices) > _TOLD else ""
    return f"one of {', '.join(told)}{more}"


class Declarations:
    """The declared parameters of one graph, by name and by input.

    Args:
        views: the parameters, as `view_of` makes them.
    """

    def __init__(self, views: Sequence[ParameterView]) -> None:
        self.by_name: Mapping[str, ParameterView] = {view.name: view for view in views}
        self._by_target: dict[str, ParameterView] = {}
        self._aliases: dict[str, tuple[ParameterView, str]] = {}
        for view in views:
            for spelled in view.targets:
                self._by_target.setdefault(spelled, view)
        for pattern in (_by_own_name, _by_input_name):
            for view in views:
                for spelled in view.targets:
                    for alias in pattern(view, spelled):
                        self._aliases.setdefault(alias, (view, spelled))

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of declaration."""
        return tuple(self.by_name)

    def targets(self, name: str) -> tuple[str, ...]:
        """The inputs that a name sets: a declared name, else `name_{node_id}`, else `input_name_{node_id}`.

        Args:
            name: what a caller wrote.

        Returns:
            As `node_id.input`; empty when nothing of that name is declared.
        """
        if name in self.by_name:
            return tuple(self.by_name[name].targets)
        return (self._aliases[name][1],) if name in self._aliases else ()

    def rule(self, target: Target) -> ParameterView | None:
        """The parameter that says what an input takes, under whatever name it is set."""
        return self._by_target.get(target.spelled)


def _by_own_name(view: ParameterView, spelled: str) -> list[str]:
    return [f"{view.name}_{node}" for node, _ in _splits(spelled)]


def _by_input_name(view: ParameterView, spelled: str) -> list[str]:
    return [f"{name}_{node}" for node, name in _splits(spelled)]


def _splits(spelled: str) -> list[tuple[str, str]]:
    places = [place for place, character in enumerate(spelled) if character == "."]
    return [(spelled[:place], spelled[place + 1 :]) for place in places]
