"""Holds the values of a configuration file against a model, and says in plain words what does not fit.

It knows no keys: the model has them, and `Needs` beside each type has the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orchestrator_mcp.errors import nearest
from orchestrator_mcp.redaction import redact
from orchestrator_mcp.settings.config_file import ConfigFile, ConfigProblem, KeyPath, wrong_config

M = TypeVar("M", bound=BaseModel)


class Needs(NamedTuple):
    """Stands beside a type and says what it takes, for messages and documentation.

    Attributes:
        words: what is taken, to be read before "is needed".
        show: writes a bound or a default as people write it.
    """

    words: str
    show: Callable[[Any], str] = str


class ClashError(ValueError):
    """Values of several keys that do not go together; a model raises it.

    Attributes:
        keys: those of the model, the one to change first; it is told at the first that stands in the file.
    """

    def __init__(self, message: str, *keys: str) -> None:
        super().__init__(message)
        self.keys = keys


def check_config(config: ConfigFile, model: type[M], *, given: Mapping[str, Any], hidden: frozenset[str]) -> M:
    """Make the model from a file's values.

    Args:
        config: the file; its own problems are told together with those found here.
        model: what the values must fit.
        given: values that do not come from the file. Their names are not keys of the file.
        hidden: keys whose values are secret and never told.

    Raises:
        SettingsError: one message with every problem.
    """
    problems = list(config.problems)
    values = _without_blanks(config.values)
    for key in [key for key in values if key in given or (key in model.model_fields and key not in known_keys(model))]:
        del values[key]
        known = [name for name in known_keys(model) if name not in given]
        problems.append(_problem(config, (key,), _unknown(key, known)))
    try:
        checked = model.model_validate({**values, **given})
    except ValidationError as error:
        told = {problem.key for problem in problems if problem.covers}
        found = (_translate(config, model, detail, given, hidden) for detail in error.errors(include_url=False))
        problems += [problem for problem in found if not _is_told(problem.key, told)]
    if problems:
        raise wrong_config(config.path, problems)
    return checked


def known_keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that people write."""
    return {str(info.validation_alias or name): info for name, info in model.model_fields.items()}


def explain_needs(info: FieldInfo) -> str:
    """What a field takes, in words, with its bounds: `a whole number from 1 to 65535`."""
    needs = next((mark for mark in info.metadata if isinstance(mark, Needs)), Needs("another value"))
    bounds = {
        name: needs.show(getattr(mark, name))
        for mark in info.metadata
        for name in ("ge", "gt", "le")
        if getattr(mark, name, None) is not None
    }
    if "ge" in bounds and "le" in bounds:
        return f"{needs.words} from {bounds['ge']} to {bounds['le']}"
    spelled = {"ge": "at least", "gt": "above", "le": "at most"}
    return " ".join([needs.words, " and ".join(f"{spelled[name]} {bound}" for name, bound in bounds.items())]).strip()


def show_found(value: Any) -> str:
    """Write a value as it was found, short and on one line."""
    if isinstance(value, dict):
        return "keys with values"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = repr(redact(value)) if isinstance(value, str) else str(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _without_blanks(values: dict[str, Any]) -> dict[str, Any]:
    """A key with nothing behind it counts as not written: people comment out what stood there."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            kept[key] = _without_blanks(value)
        elif isinstance(value, list):
            kept[key] = [_without_blanks(entry) if isinstance(entry, dict) else entry for entry in value]
        elif value is not None:
            kept[key] = value
    return kept


def _is_told(key: str, told: set[str]) -> bool:
    """Whether this key, or something inside it, has its problem already."""
    return any(other == key or other.startswith((f"{key}.", f"{key}[")) for other in told)


def _translate(
    config: ConfigFile, model: type[BaseModel], detail: ErrorDetails, given: Mapping[str, Any], hidden: frozenset[str]
) -> ConfigProblem:
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    around, info = _walk(model, path)
    needs = explain_needs(info) if info else "another value"
    if detail["type"] == "extra_forbidden":
        return _problem(config, path, _unknown(str(path[-1]), [key for key in known_keys(around) if key not in given]))
    if detail["type"] == "missing":
        return _problem(config, path, f"is missing; {needs} is needed.")
    secret = bool(hidden.intersection(path))
    found = (
        "found a value that is not shown here"
        if secret
        else f"found {show_found(_look_up(config.values, path, detail['input']))}"
    )
    if detail["type"].startswith("model_"):
        return _problem(config, path, f"{found}; keys with values are needed, indented below it.")
    if detail["type"] == "value_error":
        error = detail.get("ctx", {}).get("error")
        if isinstance(error, ClashError):
            written = (here for key in error.keys if (here := (*path, key)) in config.lines)
            return _problem(config, next(written, path), f"{error}.")
        said = str(error or needs)
        return _problem(config, path, f"{found}; {said}." if isinstance(detail["input"], str) else f"{said}.")
    return _problem(config, path, f"{found}; {needs} is needed.")


def _problem(config: ConfigFile, path: KeyPath, message: str) -> ConfigProblem:
    return ConfigProblem(line=config.line_of(path), key=config.spell(path), message=message)


def _unknown(key: str, known: Iterable[str]) -> str:
    near = nearest(key, known)
    if near:
        return f"there is no such key. Did you mean {' or '.join(near)}?"
    return f"there is no such key. Known here: {', '.join(sorted(known))}."


def _look_up(values: Any, path: KeyPath, otherwise: Any) -> Any:
    """The value as the file has it, before any conversion."""
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return otherwise
    return values


def _walk(model: type[BaseModel], path: KeyPath) -> tuple[type[BaseModel], FieldInfo | None]:
    """The model around the end of a path, and the field of it that the path leads to."""
    around, info = model, None
    for position, part in enumerate(path):
        if isinstance(part, int):
            continue
        info = known_keys(around).get(part)
        inner = _model_in(info.annotation) if info else None
        if inner is None:
            break
        if position < len(path) - 1:
            around = inner
    return around, info


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next(_models(annotation), None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
