"""Binding a caller's parameters to a graph: every one is set, or refused, or told; none is dropped in silence.

Deciding and doing are apart. `Binding` decides at acceptance, and draws the seeds; what it says is stored. `apply`
in `parameters` does it at dispatch. What follows from the names alone is found once for all jobs of a batch.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from orchestrator_mcp.domain.documents import describe, is_storable, scalar_problem, value_problems
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import ManifestError, Problem, nearest
from orchestrator_mcp.workflows.declared import Declarations, Fault, value_fault
from orchestrator_mcp.workflows.graph import MAX_PROBLEMS, link_fault
from orchestrator_mcp.workflows.input_types import UNKNOWN_TYPES, InputTypes
from orchestrator_mcp.workflows.links import Target, as_link, class_of, value_at
from orchestrator_mcp.workflows.naming import MOST_REMEMBERED, Meaning, Names
from orchestrator_mcp.workflows.parameters import located
from orchestrator_mcp.workflows.requirements import FILE_INPUTS, leaves_its_folder
from orchestrator_mcp.workflows.values import DRAW, holds_fractions, is_whole, kind_of, mismatch, same, seed_fault

SEED_BITS: Final = 53
"""Drawn seeds survive every JSON reader: 2**53 is the last whole number that a double holds exactly."""

_NUMBERS: Final = frozenset({int, float})
_PLAIN: Final = frozenset({int, float, bool, str})
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
        targets: for each parameter the inputs that it sets, as `node_id.input`; labels have none. Manifests that give
            the same names share it.
        values: the final value of each parameter; a seed of -1 is replaced by the drawn one.
        seeds: every whole-number seed in force, by `node_id.input`, also those that no parameter touched.
        labels: parameters that set nothing and stand in the metadata too.
        warnings: what the caller should know.
        whole: parameters that came as 20.0 where whole numbers stand, as 20: JSON has one number for both.
        defaults: declared defaults that hold because the caller gave nothing, and that the graph itself does not have;
            by name, as declared.
    """

    targets: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    whole: Mapping[str, int] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)


class Binding:
    """Decides what parameters set in one graph.

    Args:
        graph: a checked graph; it must not change while this lives.
        declared: parameters that the workflow itself declares; they go before what is inferred, and what they say of
            an input holds under whatever name it is set.
        types: what the backends say of inputs; of undeclared ones it decides whether fractions fit.
        names: of this graph, where they were found before.
    """

    def __init__(
        self,
        graph: Graph,
        declared: Sequence[ParameterView] = (),
        *,
        types: InputTypes = UNKNOWN_TYPES,
        names: Names | None = None,
    ) -> None:
        self._graph = graph
        self._names = names or Names(graph)
        self._declarations = Declarations(declared)
        self._types = types
        self._meanings: dict[str, Meaning] = {}
        self._inputs: dict[Target, _Input] = {}
        self._plans: dict[tuple[tuple[str, ...], tuple[str, ...]], _Plan] = {}
        self._planned = 0  # names of all of them

    def bind(
        self, parameters: Mapping[str, Any], metadata: Mapping[str, Any], *, draw: Callable[[], int] = draw_seed
    ) -> Bound:
        """Decide what each parameter sets.

        Args:
            parameters: values by exact name (`node_id.input`, `node_id:input`) or plain name.
            metadata: the manifest's metadata; a parameter that fits nothing is a label if it stands here too.
            draw: where seeds come from.

        Raises:
            ManifestError: one problem for each parameter that cannot be set, with the path `parameters, name` and the
                code `unknown_parameter`, `ambiguous`, `declaration`, `linked`, `type`, `range`, `choice`, `required`,
                `link`, `path`, `text`, `number`, `depth`, `json` or `conflict`.
        """
        setting: list[str] = []
        labels: list[str] = []
        whole: dict[str, int] = {}
        problems: list[Problem] = []
        for name, value in parameters.items():
            if len(problems) >= MAX_PROBLEMS:
                break
            problem = _unsound(name, value)
            if problem is None:
                meaning = self._meaning(name)
                if meaning.fits_nothing and name in metadata and same(metadata[name], value):
                    labels.append(name)
                    continue
                if is_whole(value) and self._wants_whole(meaning):
                    value = whole[name] = int(value)
                problem = self._problem(name, value, meaning)
            if problem is None:
                setting.append(name)
            else:
                problems.append(problem)
        parameters = {**parameters, **whole} if whole else parameters
        plan = self._plan(tuple(parameters), tuple(setting))
        problems.extend(plan.problems(parameters))
        if problems:
            raise ManifestError(problems[:MAX_PROBLEMS])
        bound = plan.settle(parameters, labels, draw)
        return replace(bound, whole=whole) if whole else bound

    def takes_each(self, name: str, values: Sequence[Any]) -> bool:
        """Whether every value of a parameter is taken, and each does what any other of them would do in its place.

        Numbers are judged by the least and the greatest of them, unless a declaration lists those that may be given.

        Args:
            name: of the parameter.
            values: at least one.
        """
        meaning, kinds = self._meaning(name), set(map(type, values))
        if len(kinds) > 1 or not kinds <= _PLAIN or DRAW in values or not meaning.targets:
            return False
        rules = (self._input(target).rule for target in meaning.targets)
        if kinds <= _NUMBERS and all(map(math.isfinite, values)) and not any(rule and rule.choices for rule in rules):
            values = (min(values), max(values))
        return all(_unsound(name, value) is None and self._problem(name, value, meaning) is None for value in values)

    def taken(self, name: str, value: Any) -> Any:
        """A value as it counts: 20.0 is 20 where only whole numbers fit, see `Bound.whole`.

        Args:
            name: of the parameter.
            value: as it came.
        """
        return int(value) if is_whole(value) and self._wants_whole(self._meaning(name)) else value

    def targets(self, name: str) -> tuple[str, ...]:
        """The inputs that a parameter sets, as `node_id.input`."""
        return tuple(target.spelled for target in self._meaning(name).targets)

    @property
    def draws_of_itself(self) -> bool:
        """Whether the graph asks for seeds that nobody needs to ask for: each job has others."""
        return any(same(value_at(self._graph, place), DRAW) for place in self._names.seed_places)

    def _wants_whole(self, meaning: Meaning) -> bool:
        return any(self._input(target).whole for target in meaning.targets)

    def _meaning(self, name: str) -> Meaning:
        found = self._meanings.get(name)
        if found is None:
            spelled = self._declarations.targets(name)
            found = self._declared(spelled) if spelled else self._names.meaning(name)
            if len(self._meanings) >= MOST_REMEMBERED:
                self._meanings.clear()
            self._meanings[name] = found
        return found

    def _declared(self, spelled: Sequence[str]) -> Meaning:
        try:
            targets = tuple(located(self._graph, one) for one in spelled)
        except ManifestError as error:
            return Meaning(fault=f"the workflow declares it wrongly: {error.problems[0].message}", code="declaration")
        return Meaning(targets=targets)

    def _plan(self, given: tuple[str, ...], setting: tuple[str, ...]) -> _Plan:
        plan = self._plans.get((given, setting))
        if plan is None:
            meanings = {name: self._meaning(name) for name in setting}
            left = self._left_out(frozenset(given), meanings)
            by_name = self._declarations.by_name
            self._planned += len(given)
            if self._planned > MOST_REMEMBERED:
                self._plans.clear()
                self._planned = len(given)
            plan = self._plans[given, setting] = _Plan(
                self._graph,
                self._names,
                {**meanings, **left},
                overlaps=_overlaps(meanings),
                defaults={name: by_name[name].default for name in left},
                missing=[name for name in left if by_name[name].required],
            )
        return plan

    def _left_out(self, given: frozenset[str], meanings: Mapping[str, Meaning]) -> dict[str, Meaning]:
        """The declared parameters that nobody set, as far as they are required or their default changes the graph."""
        taken = {target for meaning in meanings.values() for target in meaning.targets}
        left: dict[str, Meaning] = {}
        for name, view in self._declarations.by_name.items():
            if name in given or not (view.required or view.default is not None):
                continue
            free = [target for target in self._declared(view.targets).targets if target not in taken]
            if not view.required:
                free = [target for target in free if not same(value_at(self._graph, target), view.default)]
            if free:
                left[name] = Meaning(targets=tuple(free))
                taken.update(free)
        return left

    def _problem(self, name: str, value: object, meaning: Meaning) -> Problem | None:
        path = ("parameters", name)
        if meaning.fault is not None:
            return Problem(path=path, message=meaning.fault, code=meaning.code, allowed=meaning.candidates)
        if not meaning.targets:
            known = tuple(dict.fromkeys([*self._declarations.names, *self._names.known]))
            near = nearest(name, known)
            told = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(known[:12])}"
            message = f"the workflow has no such input{told}"
            return Problem(path=path, message=message, code=meaning.code, allowed=near)
        for target in meaning.targets:
            fault = self._input(target).fault(value)
            if fault is not None:
                return Problem(path=path, message=fault.words, code=fault.code, allowed=fault.allowed)
        return None

    def _input(self, target: Target) -> _Input:
        found = self._inputs.get(target)
        if found is None:
            found = self._inputs[target] = _Input(
                graph=self._graph,
                target=target,
                present=value_at(self._graph, target),
                rule=self._declarations.rule(target),
                fractions=_takes_fractions(self._graph, target, self._types),
                is_seed=self._names.is_seed(target),
            )
        return found


@dataclass(frozen=True, kw_only=True)
class _Input:
    """An input that a parameter may set, and what is known of what it takes.

    Attributes:
        present: what stands there now.
        rule: what is declared of it.
        fractions: they fit although a whole number stands there.
        is_seed: whole numbers there are seeds.
    """

    graph: Graph
    target: Target
    present: Any
    rule: ParameterView | None
    fractions: bool
    is_seed: bool

    @property
    def whole(self) -> bool:
        """Whether only whole numbers fit."""
        if self.rule is not None and self.rule.type != "any":
            return self.rule.type == "integer"
        return kind_of(self.present, fractions=self.fractions) == "integer"

    def fault(self, value: object) -> Fault | None:
        """What is wrong with a value, or None."""
        if self.rule is not None:
            wrong = value_fault(self.rule, self.present, value, seed=self.is_seed)
        else:
            words = mismatch(self.present, value, fractions=self.fractions)
            wrong = None if words is None else Fault("type", words)
        if wrong is not None:
            return wrong
        wrong_seed = seed_fault(value) if self.is_seed else None
        if wrong_seed is not None:
            return Fault("range", wrong_seed)
        if isinstance(value, list) and (as_link(value) is not None or link_fault(self.graph, value) is not None):
            told = self.target.spelled
            return Fault("link", f"a list of a text and a number is a link, which a parameter cannot set ({told})")
        if leaves_its_folder(self.graph, self.target, value):
            return Fault("path", f"{describe(value)} leads out of the backend's own folders; name a file inside them")
        return None


class _Plan:
    """What the same names do, whatever their values.

    Args:
        graph: the graph.
        names: of it.
        meanings: the inputs that each parameter sets, those of declared defaults among them.
        overlaps: two parameters that set the same input, and which.
        defaults: values of the parameters that nobody gave.
        missing: those of them that must be given.
    """

    def __init__(
        self,
        graph: Graph,
        names: Names,
        meanings: Mapping[str, Meaning],
        *,
        overlaps: Sequence[tuple[str, str, Target]],
        defaults: dict[str, Any],
        missing: Sequence[str],
    ) -> None:
        self._names = names
        self._meanings = meanings
        self._overlaps = overlaps
        self._defaults = defaults
        self._missing = missing
        self._targets = {name: [target.spelled for target in meaning.targets] for name, meaning in meanings.items()}
        self._kept = [
            _KEPT.format(name=name, target=kept.spelled)
            for name, meaning in meanings.items()
            for kept in _left_alone(graph, meaning)
        ]
        setters = {target: name for name, meaning in meanings.items() for target in meaning.targets}
        self._seeds = [(place, setters.get(place), value_at(graph, place)) for place in names.seed_places]

    def problems(self, parameters: Mapping[str, Any]) -> list[Problem]:
        """Parameters that set one input to two values, and those that are missing."""
        found = [
            Problem(
                path=("parameters", name),
                message=f'sets "{target.spelled}" to another value than the parameter {first!a}; give one of them',
                code="conflict",
            )
            for first, name, target in self._overlaps
            if not same(parameters[first], parameters[name])
        ]
        return found + [
            Problem(
                path=("parameters", name),
                message="is missing; the workflow cannot be rendered without it",
                code="required",
            )
            for name in self._missing
        ]

    def settle(self, parameters: Mapping[str, Any], labels: Sequence[str], draw: Callable[[], int]) -> Bound:
        """Draw what has to be drawn, and write down what is in force."""
        values = {**parameters, **self._defaults}
        if wishes := {name: meaning for name, meaning in self._meanings.items() if same(values[name], DRAW)}:
            drawn = _draw_for(self._names, wishes.values(), draw)
            values |= {name: drawn[one.targets[0]] for name, one in wishes.items() if one.targets[0] in drawn}
        warnings = [*(_LABEL.format(name=name) for name in labels), *self._kept]
        seeds: dict[str, int] = {}
        for target, setter, present in self._seeds:
            seed = present if setter is None else values[setter]
            if setter is None and same(seed, DRAW):
                seed = draw()
                warnings.append(_DRAWN.format(target=target.spelled, seed=seed))
            if kind_of(seed) == "integer":
                seeds[target.spelled] = seed
        return Bound(
            targets=self._targets,
            values=values,
            seeds=seeds,
            labels=tuple(labels),
            warnings=tuple(warnings),
            defaults=self._defaults,
        )


def _unsound(name: str, value: object) -> Problem | None:
    if not is_storable(name):
        return Problem(path=("parameters",), message=f"the name {ascii(name)[:60]} cannot be stored", code="text")
    if not isinstance(value, dict | list):
        return scalar_problem(value, ("parameters", name))
    return next(value_problems(value, ("parameters", name)), None)


def _overlaps(meanings: Mapping[str, Meaning]) -> list[tuple[str, str, Target]]:
    """Each two names that set the same input, and the first such input."""
    setters: dict[Target, str] = {}
    found: dict[tuple[str, str], Target] = {}
    for name, meaning in meanings.items():
        for target in meaning.targets:
            first = setters.setdefault(target, name)
            if first != name:
                found.setdefault((first, name), target)
    return [(first, name, target) for (first, name), target in found.items()]


def _left_alone(graph: Graph, meaning: Meaning) -> Iterable[Target]:
    """The inputs of a name that keep what they have, where that may surprise: not the sockets that a file leads to."""
    files = all((class_of(graph, target.node), target.input) in FILE_INPUTS for target in meaning.targets)
    return (kept for kept in meaning.kept if not files or as_link(value_at(graph, kept)) is None)


def _draw_for(names: Names, meanings: Iterable[Meaning], draw: Callable[[], int]) -> dict[Target, int]:
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
