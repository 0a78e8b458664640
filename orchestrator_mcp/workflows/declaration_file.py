"""The file beside a workflow: `<id>.yaml` says what `<id>.json` is called and which parameters it takes.

Its keys are strict, and every fault is told with file, line and key, because people write it by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import MAX_TEXT
from orchestrator_mcp.domain.views import ParameterType, ParameterView
from orchestrator_mcp.errors import ManifestError, Problem, SettingsError
from orchestrator_mcp.settings.checking import Needs, check_config
from orchestrator_mcp.settings.config_file import ConfigFile, ConfigProblem, KeyPath, read_config, wrong_config
from orchestrator_mcp.settings.kinds import Labels, Switch
from orchestrator_mcp.workflows.declared import Declaration, flaws, view_of
from orchestrator_mcp.workflows.links import Target
from orchestrator_mcp.workflows.values import same

MAX_PARAMETERS: Final = 2_000
MAX_CHOICES: Final = 10_000
MAX_PROSE: Final = 4_000  # characters of a description
SUFFIXES: Final = (".yaml", ".yml")

_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_TYPES = "string, integer, number, boolean, choice, image, mask, video, audio or any"


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _bound(value: Any) -> int | float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise PydanticCustomError("bound", "no number")
    return value


Prose = Annotated[
    str | None, Field(strict=True, max_length=MAX_PROSE), Needs(f"a text of at most {MAX_PROSE:,} characters")
]
Line = Annotated[
    str, Field(strict=True, min_length=1, max_length=MAX_TEXT), Needs(f"a text of 1 to {MAX_TEXT} characters")
]
Title = Annotated[
    str | None, Field(strict=True, min_length=1, max_length=MAX_TEXT), Needs(f"a text of 1 to {MAX_TEXT} characters")
]
NodeId = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(min_length=1, max_length=MAX_TEXT),
    Needs("the id of a node (such as 3 or '12:3')"),
]
Bound = Annotated[Any, BeforeValidator(_bound), Needs("a number")]


class DeclaredParameter(BaseModel):
    """One entry of `parameters`: an input of the graph under a name."""

    model_config = _STRICT

    name: Line = Field(description="What callers say. Several entries of one name are set together.")
    node: NodeId = Field(description="The node's id in the graph.")
    input: Line = Field(description="The input of that node.")
    type: Annotated[ParameterType | None, Needs(_TYPES)] = Field(
        default=None, description="What is taken. Without it, what fits the value in the graph."
    )
    default: Any = Field(default=None, description="What holds when a caller gives nothing; else the graph's value.")
    minimum: Bound = Field(default=None, validation_alias="min", description="The least number that is taken.")
    maximum: Bound = Field(default=None, validation_alias="max", description="The greatest number that is taken.")
    choices: Annotated[
        tuple[Any, ...] | None, Field(min_length=1, max_length=MAX_CHOICES), Needs("a list of values")
    ] = Field(default=None, description="The only values that are taken.")
    title: Title = Field(default=None, description="What people call it.")
    description: Prose = Field(default=None, description="What it does.")
    required: Switch = Field(default=False, description="`true` refuses jobs without it.")

    def declaration(self) -> Declaration:
        """The same, without YAML."""
        return Declaration(
            name=self.name,
            target=Target(self.node, self.input),
            type=self.type,
            default=self.default,
            minimum=self.minimum,
            maximum=self.maximum,
            choices=self.choices or (),
            title=self.title,
            description=self.description,
            required=self.required,
        )


class DeclarationFile(BaseModel):
    """The keys of the file beside a workflow."""

    model_config = _STRICT

    title: Title = Field(default=None, description="What people call the workflow.")
    description: Prose = Field(default=None, description="What it makes.")
    tags: Labels = Field(default=(), description="Words to find it by.")
    required_capabilities: Labels = Field(
        default=(), description="Labels that a backend must carry to render it, beside those of the manifest."
    )
    estimated_seconds: Annotated[
        float | None, Field(strict=True, gt=0, le=86_400 * 30, allow_inf_nan=False), Needs("a number of seconds")
    ] = Field(default=None, description="How long a render takes, about.")
    parameters: Annotated[
        tuple[DeclaredParameter, ...],
        Field(max_length=MAX_PARAMETERS),
        Needs("a list of entries with name, node and input"),
    ] = Field(default=(), description="What callers may set. Without any, it is inferred from the graph.")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is said about a workflow beside its graph.

    Attributes:
        parameters: everything that may be set by a declared name.
        hidden: names among them that are not shown.
        title: what people call the workflow; None leaves it to the file's name.
        description: what it makes.
        tags: words to find it by.
        required_capabilities: labels that a backend must carry.
        estimated_seconds: how long a render takes, about.
        notes: what was left aside, and why.
    """

    parameters: tuple[ParameterView, ...] = ()
    hidden: frozenset[str] = frozenset()
    title: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    required_capabilities: tuple[str, ...] = ()
    estimated_seconds: float | None = None
    notes: tuple[str, ...] = ()


def read_declarations(path: Path, graph: Graph, *, called: str) -> Declared:
    """Read the file beside a workflow and hold it against the graph.

    Args:
        path: the file.
        graph: the checked graph that it is about.
        called: what messages call the file.

    Raises:
        ManifestError: it cannot be read, or something in it is wrong: one problem each, with line and key in the
            words, and the code `declaration`.
    """
    try:
        config = read_config(path, prose=True)
        found = check_config(config, DeclarationFile, given={}, hidden=frozenset())
        if problems := list(_problems(config, found, graph)):
            raise wrong_config(path, problems)
    except SettingsError as error:
        raise _refusal(error, called) from None
    groups: dict[str, list[Declaration]] = {}
    for entry in found.parameters:
        groups.setdefault(entry.name, []).append(entry.declaration())
    return Declared(
        parameters=tuple(view_of(graph, group) for group in groups.values()),
        title=found.title,
        description=found.description,
        tags=found.tags,
        required_capabilities=tuple(sorted({label.strip().casefold() for label in found.required_capabilities})),
        estimated_seconds=found.estimated_seconds,
    )


def merged(own: Declared, other: Declared) -> Declared:
    """Put what a person wrote beside a workflow before what the workflow's own file says.

    Args:
        own: what a person wrote.
        other: what holds where that says nothing.
    """
    return Declared(
        parameters=own.parameters or other.parameters,
        hidden=own.hidden if own.parameters else other.hidden,
        title=own.title or other.title,
        description=own.description or other.description,
        tags=own.tags or other.tags,
        required_capabilities=own.required_capabilities or other.required_capabilities,
        estimated_seconds=own.estimated_seconds or other.estimated_seconds,
        notes=other.notes if not own.parameters else (),
    )


def _refusal(error: SettingsError, called: str) -> ManifestError:
    problems = []
    for told in error.details["problems"]:
        where = f"{called}:{told['line']}" if told["line"] else called
        words = f"{told['key']}: {told['message']}" if told["key"] else str(told["message"])
        problems.append(Problem(path=(), message=f"{where}: {words}", code="declaration"))
    return ManifestError(problems)


def _problems(config: ConfigFile, found: DeclarationFile, graph: Graph) -> Iterator[ConfigProblem]:
    firsts: dict[str, int] = {}
    setters: dict[Target, int] = {}
    for place, entry in enumerate(found.parameters):
        path: KeyPath = ("parameters", place)
        declared = entry.declaration()
        for key, message in flaws(graph, declared):
            yield _problem(config, (*path, key), message if message.endswith("?") else f"{message}.")
        first = firsts.setdefault(entry.name, place)
        for key in _differing(found.parameters[first], entry) if first != place else ():
            line = config.line_of(("parameters", first))
            yield _problem(config, (*path, key), f"{entry.name!r} says something else on line {line}; say it once.")
        setter = setters.setdefault(declared.target, place)
        if setter != place:
            line = config.line_of(("parameters", setter))
            yield _problem(config, (*path, "input"), f"{declared.target.spelled} has a name already, on line {line}.")


def _differing(first: DeclaredParameter, other: DeclaredParameter) -> Iterator[str]:
    """Keys by which a further entry of a name contradicts the first."""
    spelled = {"minimum": "min", "maximum": "max"}
    for key in sorted(other.model_fields_set - {"name", "node", "input"}):
        mine, its = getattr(first, key), getattr(other, key)
        if not (list(mine) == list(its) if isinstance(mine, tuple) and isinstance(its, tuple) else same(mine, its)):
            yield spelled.get(key, key)


def _problem(config: ConfigFile, path: KeyPath, message: str) -> ConfigProblem:
    return ConfigProblem(line=config.line_of(path), key=config.spell(path), message=message)
