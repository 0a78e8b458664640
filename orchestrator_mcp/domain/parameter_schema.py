"""The parameters of a workflow as JSON Schema, for programs and models that build a form or a call from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from orchestrator_mcp.domain.views import ParameterView

_FILES: Final = frozenset({"image", "mask", "video", "audio"})
_PLAIN: Final = frozenset({"string", "integer", "number", "boolean"})


def object_schema(parameters: Sequence[ParameterView]) -> dict[str, Any]:
    """Describe the `parameters` object of a manifest.

    Other names are allowed in it: every input can be set as `node_id.input`, and labels may stand there.

    Args:
        parameters: what a caller may set.

    Returns:
        A schema of draft 2020-12 with one property for each parameter.
    """
    schema: dict[str, Any] = {"type": "object", "properties": {view.name: value_schema(view) for view in parameters}}
    required = [view.name for view in parameters if view.required]
    return {**schema, "required": required} if required else schema


def value_schema(view: ParameterView) -> dict[str, Any]:
    """Describe one parameter.

    Args:
        view: the parameter.

    Returns:
        Its schema; an input file is a text with the kind of file as `format`.
    """
    schema: dict[str, Any] = {}
    if view.type in _PLAIN:
        schema["type"] = view.type
    elif view.type in _FILES:
        schema.update(type="string", format=view.type)
    told = {
        "title": view.title,
        "description": view.description,
        "enum": list(view.choices) or None,
        "minimum": view.minimum,
        "maximum": view.maximum,
        "default": view.default,
    }
    return {**schema, **{key: value for key, value in told.items() if value is not None}}
