"""Workflows as the studio's other tools keep them, read as they are. Pure.

CinemaPromptEngineering saves `{id, name, description, category, workflow, parsed: {parameters, image_inputs}, config}`
and ships templates `{meta: {name, engine, categories}, parameters, workflow}`. Their authors are programs, so nothing
here is refused for one odd entry: what cannot be used is left aside, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from orchestrator_mcp.domain.documents import describe, parse_document
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import MAX_TEXT
from orchestrator_mcp.domain.views import ParameterType
from orchestrator_mcp.workflows.declaration_file import MAX_CHOICES, MAX_PARAMETERS, MAX_PROSE, Declared
from orchestrator_mcp.workflows.declared import Declaration, flaws, view_of
from orchestrator_mcp.workflows.links import Target, value_at
from orchestrator_mcp.workflows.values import same

MAX_NOTES: Final = 20

_SPELLINGS: Final[dict[ParameterType, tuple[str, ...]]] = {
    "string": ("string", "str", "text", "textarea", "multiline", "prompt"),
    "integer": ("integer", "int", "seed"),
    "number": ("number", "float", "double", "slider"),
    "boolean": ("boolean", "bool", "toggle", "checkbox"),
    "choice": ("choice", "enum", "combo", "select", "dropdown"),
    "image": ("image",),
    "mask": ("mask",),
    "video": ("video",),
    "audio": ("audio",),
}
_TYPES: Final = {spelling: kind for kind, spellings in _SPELLINGS.items() for spelling in spellings}
_LEAST = ("min", "minimum")
_MOST = ("max", "maximum")
_CHOICES = ("choices", "options", "values", "enum", "allowed")
_KNOWN = frozenset({*_LEAST, *_MOST, *_CHOICES, "step", "default"})


class Unfolded(NamedTuple):
    """A studio file taken apart: the workflow in it, and what stands around it."""

    workflow: object
    around: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A declaration, and whether the tool shows it."""

    declared: Declaration
    shown: bool = True


def unfold(document: dict[str, Any], *, max_bytes: int, max_depth: int) -> Unfolded | None:
    """Take a studio file apart; None when the document is no such file.

    Args:
        document: the parsed file.
        max_bytes: how long a workflow may be that stands in it as text.
        max_depth: how deep that may be.

    Raises:
        ManifestError: the workflow stands in it as text and is no JSON.
        TooLargeError: that text is too long.
    """
    inner = document.get("workflow")
    if isinstance(document.get("nodes"), list) or isinstance(document.get("prompt"), dict):
        return None
    if isinstance(inner, str):
        inner = parse_document(inner.encode(), max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(inner, dict) or isinstance(inner.get("class_type"), str):
        return None
    return Unfolded(inner, {key: value for key, value in document.items() if key != "workflow"})


def studio_declarations(around: Mapping[str, Any], graph: Graph) -> Declared:
    """What a studio file says about its workflow, as far as it fits the graph.

    Args:
        around: all of the file but the workflow.
        graph: the checked graph.
    """
    notes: list[str] = []
    meta = _object(around.get("meta"))
    kept = list(_fitting(graph, list(_declarations(around, graph, notes))[:MAX_PARAMETERS], notes))
    groups = _groups(graph, kept)
    tags = [meta.get("engine"), around.get("category"), *_list(meta.get("categories")), *_list(around.get("tags"))]
    return Declared(
        parameters=tuple(view_of(graph, [one.declared for one in group]) for group in groups.values()),
        hidden=frozenset(name for name, group in groups.items() if not any(one.shown for one in group)),
        title=_text(meta.get("name")) or _text(around.get("name")),
        description=_text(meta.get("description"), MAX_PROSE) or _text(around.get("description"), MAX_PROSE),
        tags=tuple(dict.fromkeys(tag for value in tags if (tag := _text(value)) is not None))[:64],
        notes=tuple(notes if len(notes) <= MAX_NOTES else [*notes[:MAX_NOTES], f"… and {len(notes) - MAX_NOTES} more"]),
    )


def _declarations(around: Mapping[str, Any], graph: Graph, notes: list[str]) -> Iterator[_Found]:
    parsed, config = _object(around.get("parsed")), _objects(around.get("config"))
    told = [*_objects(parsed.get("parameters")), *_objects(around.get("parameters"))]
    files = [{"input_name": "image", **entry, "type": "image"} for entry in _objects(parsed.get("image_inputs"))]
    seen: set[Target] = set()
    for entry, optional in [*((one, False) for one in told), *((one, True) for one in [*files, *config])]:
        declared = _declaration(entry, [] if optional else notes)
        if declared is None or declared.target in seen or (optional and flaws(graph, declared)):
            continue
        seen.add(declared.target)
        yield _Found(declared=declared, shown=not _hidden(config, declared))


def _declaration(entry: Mapping[str, Any], notes: list[str]) -> Declaration | None:
    node, name = entry.get("node_id", entry.get("node")), _text(entry.get("input_name", entry.get("input")))
    called = _text(entry.get("name")) or name
    if isinstance(node, bool) or not isinstance(node, str | int) or name is None or called is None:
        notes.append(f"A parameter without name, node_id and input_name was left aside: {_shortly(entry)}.")
        return None
    limits = _object(entry.get("constraints"))
    notes.extend(
        f"{called}: the constraint {str(key)[:60]!a} is not known here and was left aside."
        for key in limits
        if key not in _KNOWN
    )
    kind = str(entry.get("type") or "any").casefold()
    if kind not in _TYPES and kind != "any":
        notes.append(f"{called}: the type {kind[:60]!a} is not known here; what stands in the graph is the measure.")
    choices = next((found for key in _CHOICES if (found := _choices(limits.get(key)))), ())
    type_ = _TYPES.get(kind)
    return Declaration(
        name=called,
        target=Target(str(node), name),
        type=None if type_ == "choice" and not choices else type_,
        default=entry.get("default", limits.get("default")),
        minimum=_bound(limits, _LEAST),
        maximum=_bound(limits, _MOST),
        choices=choices,
        title=_text(entry.get("display_name")),
        description=_text(entry.get("description"), MAX_PROSE),
        required=entry.get("required") is True,
    )


def _fitting(graph: Graph, found: Sequence[_Found], notes: list[str]) -> Iterator[_Found]:
    """Each declaration as far as it fits: first without what is wrong with it, then not at all."""
    for one in found:
        declared = one.declared
        for _ in range(4):  # at most: type, then range, then choices, then default
            wrong = flaws(graph, declared)
            if not wrong:
                yield replace(one, declared=declared)
                break
            notes.extend(f"{declared.name}: {flaw.key} was left aside: {flaw.message}." for flaw in wrong)
            if any(flaw.key in {"node", "input"} for flaw in wrong):
                break
            declared = _without(declared, {flaw.key for flaw in wrong})


def _without(declared: Declaration, keys: set[str]) -> Declaration:
    if "type" in keys or "choices" in keys:
        declared = replace(declared, type=None, choices=() if "choices" in keys else declared.choices)
    if keys & {"min", "max"}:
        declared = replace(declared, minimum=None, maximum=None)
    return replace(declared, default=None) if "default" in keys else declared


def _groups(graph: Graph, found: Sequence[_Found]) -> dict[str, list[_Found]]:
    """By name. One name on inputs that differ now would set what nobody meant: each gets the node's id behind it."""
    named: dict[str, list[_Found]] = {}
    for one in found:
        named.setdefault(one.declared.name, []).append(one)
    groups: dict[str, list[_Found]] = {}
    for name, group in named.items():
        first = value_at(graph, group[0].declared.target)
        if all(same(value_at(graph, one.declared.target), first) for one in group):
            groups.setdefault(name, []).extend(group)
            continue
        for one in group:
            target = one.declared.target
            free = next(
                (other for other in (f"{name}_{target.node}", f"{target.input}_{target.node}") if other not in groups),
                target.spelled,
            )
            groups[free] = [replace(one, declared=replace(one.declared, name=free))]
    return groups


def _hidden(config: Sequence[Mapping[str, Any]], declared: Declaration) -> bool:
    for entry in config:
        node, name = entry.get("node_id"), entry.get("input_name")
        exact = (str(node), name) == declared.target
        loose = node is None and name is None and entry.get("name") == declared.name
        if exact or loose:
            return entry.get("exposed") is False
    return False


def _bound(limits: Mapping[str, Any], keys: Sequence[str]) -> int | float | None:
    found = (limits.get(key) for key in keys)
    return next((value for value in found if isinstance(value, int | float) and not isinstance(value, bool)), None)


def _choices(value: object) -> tuple[Any, ...]:
    plain = (entry.get("value") if isinstance(entry, dict) else entry for entry in _list(value)[:MAX_CHOICES])
    return tuple(entry for entry in plain if isinstance(entry, str | int | float))


def _text(value: object, most: int = MAX_TEXT) -> str | None:
    return value.strip()[:most] if isinstance(value, str) and value.strip() else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> list[dict[str, Any]]:
    return [entry for entry in _list(value) if isinstance(entry, dict)]


def _shortly(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{str(key)[:30]}: {describe(value)}" for key, value in list(entry.items())[:4]) or "it is empty"
