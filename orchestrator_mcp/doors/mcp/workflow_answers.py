"""What `list_workflows` answers: the library, with parameters as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from orchestrator_mcp.domain.parameter_schema import object_schema, value_schema
from orchestrator_mcp.domain.text import plain, plain_or_none
from orchestrator_mcp.domain.views import ParameterView, WorkflowView
from orchestrator_mcp.doors.mcp.answers import Answer
from orchestrator_mcp.doors.mcp.text import fitting

_NAME_BYTES: Final = 300
_DEFAULT_BYTES: Final = 200
_MOST_CHOICES: Final = 12
_SCHEMA_BYTES: Final = 8_000  # of one workflow's parameters


class WorkflowLine(Answer):
    """A workflow of the library."""

    id: str
    title: str | None = None
    description: str | None = None
    parameters_schema: dict[str, Any] = {}
    problem: str | None = None


class Workflows(Answer):
    """The answer of `list_workflows`."""

    workflows: list[WorkflowLine]
    total: int
    next_step: str


def workflow_lines(views: Sequence[WorkflowView], *, search: str | None) -> Workflows:
    """Tell what the library holds.

    Args:
        views: the whole library.
        search: words that must all occur in the id, title, description, tags, node classes or parameter names.
    """
    words = (search or "").casefold().split()
    found = [view for view in views if all(word in _searched(view) for word in words)]
    lines = fitting([workflow_line(view) for view in found])
    if not found:
        advice = "Nothing fits; call it without search." if words else "The library is empty; submit a graph instead."
    elif len(lines) < len(found):
        advice = f"{len(found) - len(lines)} more fit; narrow the search."
    else:
        advice = "Call submit_job with a workflow_id and the parameters to change; others keep their default."
    return Workflows(workflows=lines, total=len(found), next_step=advice)


def _searched(view: WorkflowView) -> str:
    names = (parameter.name for parameter in view.parameters)
    said = (view.id, view.title or "", view.description or "", *view.tags)
    return " ".join([*said, *view.node_classes, *names]).casefold()


def workflow_line(view: WorkflowView) -> WorkflowLine:
    """A workflow, and what of it can be set."""
    return WorkflowLine(
        id=plain(view.id, limit=_NAME_BYTES),
        title=plain_or_none(view.title, limit=_NAME_BYTES),
        description=plain_or_none(view.description, limit=_NAME_BYTES),
        parameters_schema={} if view.problem else _schema(view.parameters),
        problem=plain_or_none(view.problem, limit=500),
    )


def _schema(parameters: Sequence[ParameterView]) -> dict[str, Any]:
    """The parameters as JSON Schema, as many as fit: one workflow must leave room for others."""
    kept: list[ParameterView] = []
    used = 0
    for view in map(_parameter, sorted(parameters, key=lambda view: not view.required)):
        used += len(view.name.encode()) + len(json.dumps(value_schema(view), ensure_ascii=False).encode())
        if used > _SCHEMA_BYTES:
            break
        kept.append(view)
    schema = object_schema(kept)
    left_out = len(parameters) - len(kept)
    return {**schema, "description": f"{left_out} more are left out."} if left_out else schema


def _parameter(view: ParameterView) -> ParameterView:
    """A parameter in few words; of many choices only some are told, in words, so that no schema forbids the rest."""
    described = plain_or_none(view.description or view.title, limit=_DEFAULT_BYTES)
    choices = [_default(choice) for choice in view.choices]
    if len(choices) > _MOST_CHOICES:
        some = plain(", ".join(map(str, choices[:_MOST_CHOICES])), limit=2 * _DEFAULT_BYTES)
        described = f"{described or ''} One of {len(choices)}, such as {some}.".strip()
    return view.model_copy(
        update={
            "name": plain(view.name, limit=_NAME_BYTES),
            "title": None,
            "description": described,
            "default": _default(view.default),
            "choices": choices if len(choices) <= _MOST_CHOICES else [],
        }
    )


def _default(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value, limit=_DEFAULT_BYTES)
    return value if value is None or isinstance(value, bool | int | float) else plain(str(value), limit=_DEFAULT_BYTES)
