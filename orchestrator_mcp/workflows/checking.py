"""Would a backend take a graph? Its own `/object_info` is asked, and judged as ComfyUI judges it. Pure.

What ComfyUI accepts must pass. `/object_info` does not say which classes check their values themselves (and then
take what their lists do not show), so types, ranges and choices are held only against the classes that ComfyUI brings
along and of which that is known; of all others only what no class can mend: that it is there, that what is required
is given, and that a number is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from orchestrator_mcp.domain.documents import describe
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.preflight import Finding, missing_class, missing_model, near_files, portable
from orchestrator_mcp.workflows.links import Link, Target, as_link, class_of, inputs_of
from orchestrator_mcp.workflows.requirements import FILE_INPUTS, named_models

MOST_FINDINGS: Final = 50

_CORE: Final = ("nodes", "comfy_extras.")
_CHECKS_ITSELF: Final = frozenset(
    {"LoadLatent", "LoadImage", "LoadImageMask", "LoadImageOutput", "LoadVideo", "LoadAudio", "LoadImageSetNode"}
)
"""Classes of ComfyUI's own that look at their values themselves, so that its lists and limits do not hold."""

_TAKE_FILES: Final = frozenset(class_type for class_type, _ in FILE_INPUTS)
_LISTED: Final = re.compile(r"[^/\\\\:\[\]]+\.(?:png|jpe?g|webp|gif|bmp|mp4|webm|mov|wav|mp3)", re.IGNORECASE)
"""Files that stand in ComfyUI's list when they lie in its input folder; in folders below it, they do not."""

_SENT: Final = re.compile(r"[0-9a-f]{64}\.")  # how files that are brought to a backend are called there

_OPEN: Final = frozenset({"remote", "multiselect", "multi_select", "upload"})
_ANY: Final = "*"
_DYNAMIC: Final = "COMFY_"  # types that only the browser's page judges, and inputs that stand there in parts
_NUMBERS: Final[Mapping[str, Callable[[Any], float]]] = {"INT": int, "FLOAT": float}
_WANTED: Final = {"INT": "a whole number", "FLOAT": "a number"}


class Inventory(Protocol):
    """The node classes of one backend."""

    @property
    def raw(self) -> Mapping[str, Mapping[str, Any]]:
        """class -> definition, as the backend sent it."""

    def has_class(self, name: str) -> bool:
        """Whether the backend has a node class."""

    def options(self, class_type: str, input: str) -> tuple[str, ...] | None:
        """The names that an input takes; None where that is no closed list."""

    def spelling(self, class_type: str, input: str, value: str) -> str | None:
        """How the backend itself writes one of its names."""


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """One input as a class declares it; `kind` is a type's name or the list of an old combo's choices."""

    name: str
    kind: str | list[Any]
    config: Mapping[str, Any]
    required: bool

    @property
    def dynamic(self) -> bool:
        return isinstance(self.kind, str) and self.kind.startswith(_DYNAMIC)

    @property
    def open(self) -> bool:
        """More is taken than the list shows."""
        return any(self.config.get(key) for key in self.config if key in _OPEN or str(key).endswith("_upload"))


def problems_on(graph: Graph, inventory: Inventory, *, partial: bool = False) -> list[Finding]:
    """What a backend would refuse in a graph.

    Classes and models count on every node; everything else only where an output depends on it, as with ComfyUI.

    Args:
        graph: a checked graph, with every value bound.
        inventory: what the backend said it has.
        partial: whether it is enough that one output can be made.

    Returns:
        At most 50 findings; none when the backend would take it, or when nobody can tell.
    """
    missing = {class_of(graph, node): node for node in graph if not inventory.has_class(class_of(graph, node))}
    if missing:
        return [missing_class(name, node) for name, node in islice(missing.items(), MOST_FINDINGS)]
    named = dict(named_models(graph))
    models = (missing_model(file, inventory, target.node) for target, file in named.items())
    found = [finding for finding in models if finding is not None][:MOST_FINDINGS]
    check = _Check(graph, inventory, named.keys())
    outputs = [node for node in graph if check.is_output(node)]
    if not outputs:
        return [*found, Finding(kind="outputs", words="no node of it saves or shows anything")]
    reached = check.reached(outputs)
    wrong = {node: findings for node in reached if (findings := list(check.findings(node)))}
    if partial and any(not wrong.keys() & check.reached([output]).keys() for output in outputs):
        return found
    return [*found, *(finding for findings in wrong.values() for finding in findings)][:MOST_FINDINGS]


def spelled(graph: Graph, inventory: Inventory) -> Graph:
    """The graph as one backend spells it: Windows lists `sub\\\\model`, Linux `sub/model`.

    Args:
        graph: a checked graph; it is not changed.
        inventory: what the backend said it has.

    Returns:
        The same graph where nothing is spelled otherwise; else a copy of it and of the nodes that change.
    """
    changed: dict[str, dict[str, Any]] = {}
    for node in graph:
        for name, value in inputs_of(graph, node).items():
            if not isinstance(value, str) or "/" not in portable(value):
                continue
            own = inventory.spelling(class_of(graph, node), name, value)
            if own is not None and own != value:
                changed.setdefault(node, dict(inputs_of(graph, node)))[name] = own
    if not changed:
        return graph
    return {
        node: {**content, "inputs": changed[node]} if node in changed else content for node, content in graph.items()
    }


def names_own_files(graph: Graph) -> bool:
    """Whether a graph begins with files that must lie in a backend's own input folder.

    Args:
        graph: a checked graph, its parameters applied.
    """
    return any(
        isinstance(value, str) and (class_type, name) in FILE_INPUTS and _is_own_file(value)
        for node in graph
        if (class_type := class_of(graph, node)) in _TAKE_FILES
        for name, value in inputs_of(graph, node).items()
    )


def _is_own_file(name: str) -> bool:
    return _LISTED.fullmatch(name) is not None and _SENT.match(name) is None


class _Check:
    """One look at one graph with one backend's eyes. Every class of the graph is there.

    Args:
        graph: a checked graph.
        inventory: what the backend said it has.
        models: inputs that name a model, and are judged as such.
    """

    def __init__(self, graph: Graph, inventory: Inventory, models: Set[Target]) -> None:
        self._graph = graph
        self._models = models
        self._raw = inventory.raw
        self._slots: dict[str, list[_Slot]] = {}

    def is_output(self, node: str) -> bool:
        return self._definition(node).get("output_node") is True

    def reached(self, outputs: list[str]) -> dict[str, None]:
        """Every node that ComfyUI looks at for these outputs: over links at inputs that their classes declare."""
        found = dict.fromkeys(outputs)
        todo = list(outputs)
        while todo:
            node = todo.pop()
            inputs = inputs_of(self._graph, node)
            for slot in self._declared(node):
                value = inputs.get(slot.name)
                link = as_link(value) if isinstance(value, list) else None
                if link is not None and link.node in self._graph and link.node not in found:
                    found[link.node] = None
                    todo.append(link.node)
        return found

    def findings(self, node: str) -> Iterator[Finding]:
        """What ComfyUI would say of the inputs of one node."""
        inputs = inputs_of(self._graph, node)
        for slot in self._declared(node):
            if slot.dynamic:
                continue
            if slot.name not in inputs:
                if slot.required:
                    yield self._finding(node, slot, "input", f"the input {slot.name} is missing, and it is required")
                continue
            value = inputs[slot.name]
            if isinstance(value, list):
                link = as_link(value)
                words = None if link is None else self._wrong_link(node, slot, link)
                if words is not None:
                    yield self._finding(node, slot, "link", words)
            else:
                yield from self._wrong_value(node, slot, value)

    def _wrong_link(self, node: str, slot: _Slot, link: Link) -> str | None:
        if link.node not in self._graph or not self._is_core(link.node):
            return None
        outputs = self._definition(link.node).get("output")
        if not isinstance(outputs, list):
            return None
        source = f"node {link.node} ({class_of(self._graph, link.node)})"
        if link.slot >= len(outputs):
            return f"{slot.name} is linked to output {link.slot} of {source}, which has {len(outputs)}"
        given = outputs[link.slot]
        if not self._is_core(node) or _fits(given, slot.kind):
            return None
        wanted = "one of a list" if isinstance(slot.kind, list) else slot.kind
        return f"{slot.name} takes {wanted}, and output {link.slot} of {source} gives {given}"

    def _wrong_value(self, node: str, slot: _Slot, value: object) -> Iterator[Finding]:
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        if isinstance(slot.kind, str) and slot.kind in _NUMBERS:
            try:
                value = _NUMBERS[slot.kind](value)
            except (TypeError, ValueError, OverflowError):
                words = f"{slot.name} is {describe(value)}; {_WANTED[slot.kind]} is needed"
                yield self._finding(node, slot, "value", words)
                return
        if (absent := self._absent_file(node, slot, value)) is not None:
            yield self._finding(node, slot, "file", absent)
        if slot.open or not self._is_core(node) or class_of(self._graph, node) in _CHECKS_ITSELF:
            return
        if (limit := _beyond(slot.config, value)) is not None:
            yield self._finding(node, slot, "value", f"{slot.name} is {value}; {limit} is needed")
        elif (
            isinstance(slot.kind, list)
            and Target(node, slot.name) not in self._models
            and not _is_choice(value, slot.kind)
        ):
            yield self._no_choice(node, slot, value, slot.kind)

    def _absent_file(self, node: str, slot: _Slot, value: object) -> str | None:
        """That a file to begin with is not in the backend's own input folder, as far as its list can tell."""
        kind = FILE_INPUTS.get((class_of(self._graph, node), slot.name))
        if kind is None or not isinstance(value, str) or not self._is_core(node):
            return None
        if not _is_own_file(value):
            return None
        listed = slot.kind if isinstance(slot.kind, list) else slot.config.get("options")
        files = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        if not files or value.casefold() in (name.casefold() for name in files):
            return None
        near = near_files(value, files)
        told = f"; near: {', '.join(near)}" if near else ""
        return f"{slot.name}: no file {value!r} came with the job, and there is none in its input folder{told}"

    def _no_choice(self, node: str, slot: _Slot, value: object, choices: list[Any]) -> Finding:
        listed = [choice for choice in choices if isinstance(choice, str)]
        near = near_files(value, listed) if isinstance(value, str) else ()
        allowed = near or tuple(map(str, choices[:8]))
        told = f"near: {', '.join(near)}" if near else f"allowed: {', '.join(allowed) or 'none at all'}"
        words = f"{slot.name} is {describe(value)}, which it does not offer; {told}"
        return self._finding(node, slot, "value", words, allowed=allowed)

    def _finding(self, node: str, slot: _Slot, kind: Any, words: str, *, allowed: tuple[str, ...] = ()) -> Finding:
        class_type = class_of(self._graph, node)
        words = f"node {node} ({class_type}): {words}"
        return Finding(kind=kind, node=node, class_type=class_type, input=slot.name, words=words, allowed=allowed)

    def _is_core(self, node: str) -> bool:
        module = self._definition(node).get("python_module")
        return isinstance(module, str) and (module == _CORE[0] or module.startswith(_CORE[1]))

    def _definition(self, node: str) -> Mapping[str, Any]:
        return self._raw.get(class_of(self._graph, node), {})

    def _declared(self, node: str) -> list[_Slot]:
        class_type = class_of(self._graph, node)
        slots = self._slots.get(class_type)
        if slots is None:
            slots = self._slots[class_type] = list(_declared(self._raw.get(class_type, {}).get("input")))
        return slots


def _declared(inputs: object) -> Iterator[_Slot]:
    """The inputs of a definition; what is not shaped like one is left out, and so never missed."""
    if not isinstance(inputs, dict):
        return
    for section in ("required", "optional"):
        listed = inputs.get(section)
        for name, said in listed.items() if isinstance(listed, dict) else ():
            if isinstance(said, list) and said and isinstance(said[0], str | list):
                config = said[1] if len(said) > 1 and isinstance(said[1], dict) else {}
                yield _Slot(name=name, kind=said[0], config=config, required=section == "required")


def _fits(given: object, wanted: str | list[Any]) -> bool:
    """Whether ComfyUI lets an output feed an input."""
    if given == wanted:
        return True
    if not isinstance(given, str):
        return isinstance(wanted, str) and _takes_all(wanted)
    if isinstance(wanted, list):
        return given == "COMBO" or _takes_all(given)
    return _takes_all(given) or _takes_all(wanted) or not _types(given).isdisjoint(_types(wanted))


def _takes_all(kind: str) -> bool:
    return any(part == _ANY or part.startswith(_DYNAMIC) for part in _types(kind))


def _types(kind: str) -> set[str]:
    return {part.strip() for part in kind.split(",")}


def _beyond(config: Mapping[str, Any], value: object) -> str | None:
    if not isinstance(value, int | float):
        return None
    low, high = config.get("min"), config.get("max")
    if isinstance(low, int | float) and value < low:
        return f"at least {low}"
    if isinstance(high, int | float) and value > high:
        return f"at most {high}"
    return None


def _is_choice(value: object, choices: list[Any]) -> bool:
    if value in choices:
        return True
    return isinstance(value, str) and portable(value) in (portable(one) for one in choices if isinstance(one, str))
