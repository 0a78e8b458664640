"""Writes the file beside a workflow for a person to edit. Pure; what it writes, `declaration_file` reads."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import MAX_TEXT
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.workflows.declaration_file import MAX_PARAMETERS, Declared
from orchestrator_mcp.workflows.links import Target, title_of, unlinked, value_at
from orchestrator_mcp.workflows.values import same

_HEAD: Final = """\
# What callers may set in {called}, and under which names. Edit it freely: it counts as soon as it is saved.
# Take out what nobody should see; it can still be set as "node_id.input". A fault is told by
# `orchestrator-mcp workflows`, with its line. All keys: docs/workflows.md.
"""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
_COMMENTED = 100  # characters of a value in a comment


def declaration_text(graph: Graph, declared: Declared, shown: Sequence[ParameterView], *, called: str) -> str:
    """Write the file.

    Args:
        graph: the checked graph.
        declared: what is known about the workflow; its parameters are not looked at.
        shown: the parameters, inferred or declared.
        called: the name of the workflow's file.

    Returns:
        YAML. Parameters whose names no line can hold are left out, and stay settable as `node_id.input`.
    """
    targets = {target.spelled: target for target, _ in unlinked(graph)}
    title = declared.title if declared.title and _fits(declared.title) else None
    tags = [tag for tag in declared.tags if _fits(tag)]
    said = declared.description if declared.description and _writable(declared.description) else None
    lines = [
        _HEAD.format(called=ascii(called)[1:-1]).rstrip(),
        f"title: {_scalar(title)}" if title else "# title: What people call it.",
        f"description: {_scalar(said)}" if said else "# description: What it makes.",
        f"tags: {_scalar(tags)}" if tags else "# tags: [portrait, sdxl]",
        "# required_capabilities: [sdxl]  # labels that a backend must carry",
        "# estimated_seconds: 20  # how long a render takes, about",
        "parameters:",
    ]
    written = [
        line
        for view in shown[:MAX_PARAMETERS]
        for line in _entries(graph, view, [targets[spelled] for spelled in view.targets if spelled in targets])
    ]
    return "\n".join([*lines, *written] if written else [*lines[:-1], f"# {lines[-1]} []"]) + "\n"


def _entries(graph: Graph, view: ParameterView, targets: Sequence[Target]) -> Iterator[str]:
    usable = [target for target in targets if _fits(target.node) and _fits(target.input)]
    if not _fits(view.name):
        return
    for place, target in enumerate(usable):
        yield f"  - name: {_scalar(view.name)}"
        title = title_of(graph, target.node)
        yield f"    node: {json.dumps(target.node, ensure_ascii=False)}  # {ascii(title)[1:-1]}"
        yield f"    input: {_scalar(target.input)}"
        if place == 0:
            yield from _details(view, value_at(graph, target))


def _details(view: ParameterView, present: Any) -> Iterator[str]:
    if view.type != "any":
        yield f"    type: {view.type}"
    if view.default is not None and not same(view.default, present) and _writable(view.default):
        yield f"    default: {_scalar(view.default)}"
    else:
        shown = json.dumps(present)
        yield f"    # default: {shown if len(shown) <= _COMMENTED else f'{shown[: _COMMENTED - 3]}...'}"
    if view.type in {"integer", "number"}:
        for key, bound in (("min", view.minimum), ("max", view.maximum)):
            yield f"    # {key}:" if bound is None else f"    {key}: {_scalar(bound)}"
    if view.choices and all(_writable(choice) for choice in view.choices):
        yield f"    choices: {_scalar(view.choices)}"
    for key, text in (("title", view.title), ("description", view.description)):
        if text and _writable(text):
            yield f"    {key}: {_scalar(text)}"
    if not view.description:
        yield "    # description: What it does."
    if view.required:
        yield "    required: true"


def _fits(text: str) -> bool:
    return 0 < len(text) <= MAX_TEXT and text.isprintable()


def _writable(value: Any) -> bool:
    if isinstance(value, str):
        return all(letter.isprintable() or letter in "\n\t" for letter in value)
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _scalar(value: Any) -> str:
    """A value as YAML 1.1 reads it back."""
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.casefold() not in _WORDS:
        return value
    if isinstance(value, float):
        shown = repr(value)  # YAML 1.1 takes 1e-05 for a text: a fraction needs its dot
        return shown if "." in shown else shown.replace("e", ".0e")
    return json.dumps(value, ensure_ascii=False)
