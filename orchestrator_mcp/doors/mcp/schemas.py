"""Tool schemas without what a model does not need: every token of them is paid in every conversation."""

from __future__ import annotations

from typing import Any

_DEFINITION = "#/$defs/"
_LEFT_OUT = frozenset({"title", "default", "additionalProperties", "minLength", "maxLength", "minItems", "maxItems"})


def slim(schema: dict[str, Any], *, strict: bool = False) -> dict[str, Any]:
    """Drop generated titles, spell out references, and say "leave it out" instead of "may be null".

    Lengths and counts go too (no honest call meets them, and the refusal tells them), defaults (the descriptions tell
    those that matter), and what an object within is made of: those are in answers only, and their names say it.

    Args:
        schema: what pydantic made; it is not changed.
        strict: refuse properties that are not named.
    """
    definitions = schema.get("$defs", {})
    slimmed = _slim({key: value for key, value in schema.items() if key != "$defs"}, definitions)
    return {**slimmed, "additionalProperties": False} if strict else slimmed


def _slim(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _without_null(schema)
    if "$ref" in schema:
        named = definitions[schema["$ref"].removeprefix(_DEFINITION)]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    return {key: _slim_part(key, value, definitions) for key, value in schema.items() if _is_telling(key, schema)}


def _slim_part(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key == "properties":
        return {name: _shallow(_slim(part, definitions)) for name, part in value.items()}
    if key == "items":
        return _shallow(_slim(value, definitions))
    if key == "anyOf":
        return [_slim(one, definitions) for one in value]
    return value


def _shallow(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in ("properties", "required")}


def _is_telling(key: str, schema: dict[str, Any]) -> bool:
    return key not in _LEFT_OUT and not (key == "description" and "properties" in schema)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **kinds[0]}
