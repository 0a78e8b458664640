"""Change the list of backends in the text of a configuration: every other byte of it stays.

Pure, text to text. PyYAML says on which lines an entry stands; those lines are put in or taken out. A library that
reads and writes YAML whole would move the comments that stand around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from orchestrator_mcp.errors import SettingsError

_KEY: Final = "backends"
_WIDTH: Final = 4096  # columns before a long text would be folded
_BY_HAND: Final = "Edit the file by hand."


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A backend in the text: the lines from `first` up to, but without, `end`."""

    backend_id: str
    first: int
    end: int
    indent: int


@dataclass(frozen=True, kw_only=True)
class _List:
    """The list in the text: the line of its key, the one after its last, and what stands in it."""

    first: int
    end: int
    entries: tuple[_Entry, ...]


def with_backend(text: str, entry: Mapping[str, Any]) -> str:
    """The configuration with one more backend at the end of the list.

    Args:
        text: the file; a sound configuration.
        entry: the keys of the backend, in the order in which they are to stand.

    Raises:
        SettingsError: the list is written in a way that cannot be added to.
    """
    lines, listed = _read(text)
    if listed is None:
        gap = ["\n"] if lines and lines[-1].strip() else []
        return "".join([*lines, *gap, f"{_KEY}:\n", *_spell(entry, 2)])
    if not listed.entries:
        return "".join([*lines[: listed.first], f"{_KEY}:\n", *_spell(entry, 2), *lines[listed.end :]])
    last = listed.entries[-1]
    return "".join([*lines[: last.end], *_spell(entry, last.indent), *lines[last.end :]])


def without_backend(text: str, backend_id: str) -> str:
    """The configuration without a backend, and without the comments right above it.

    Args:
        text: the file; a sound configuration.
        backend_id: which.

    Raises:
        SettingsError: there is no such backend in it, or the list is written in a way that cannot be changed.
    """
    lines, listed = _read(text)
    found = next((one for one in listed.entries if one.backend_id == backend_id), None) if listed else None
    if listed is None or found is None:
        raise SettingsError(f"No backend {backend_id!r} stands in the configuration.")
    if len(listed.entries) == 1:
        return "".join([*lines[: listed.first], f"{_KEY}: []\n", *lines[found.end :]])
    before = max((one.end for one in listed.entries if one.end <= found.first), default=listed.first + 1)
    first = found.first
    while first > before and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return "".join([*lines[:first], *lines[found.end :]])


def _read(text: str) -> tuple[list[str], _List | None]:
    """The lines of a text, each with its end, and where the list stands in them."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return lines, None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise SettingsError("The configuration is not written as one key a line.", hint=_BY_HAND)
    for key, value in root.value:
        if key.value == _KEY:
            return lines, _list(key, value, lines)
    return lines, None


def _list(key: yaml.Node, value: yaml.Node, lines: list[str]) -> _List:
    first = key.start_mark.line
    if isinstance(value, yaml.ScalarNode) or (isinstance(value, yaml.SequenceNode) and not value.value):
        return _List(first=first, end=_end_of(value, first), entries=())
    if not isinstance(value, yaml.SequenceNode) or value.flow_style:
        raise SettingsError("`backends` is not written as one entry below the other.", hint=_BY_HAND)
    indent = value.start_mark.column
    entries = [_entry(node, indent, lines) for node in value.value]
    if len({entry.first for entry in entries}) < len(entries):
        raise SettingsError("Two backends stand on one line.", hint=_BY_HAND)
    return _List(first=first, end=entries[-1].end, entries=tuple(entries))


def _entry(node: yaml.Node, indent: int, lines: list[str]) -> _Entry:
    said = {key.value: value.value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
    first = node.start_mark.line
    end = _end_of(node, first)
    while not lines[first].lstrip().startswith("-"):  # the dash may stand on a line of its own
        first -= 1
    return _Entry(backend_id=str(said.get("id", "")), first=first, end=end, indent=indent)


def _end_of(node: yaml.Node, first: int) -> int:
    """The line after the last on which something of a node stands: comments below it are not of it."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False):
        mark = node.end_mark
        return max(first, mark.line - (mark.column == 0 and mark.line > first)) + 1
    parts = [part for one in node.value for part in (one if isinstance(one, tuple) else (one,))]
    return max((_end_of(part, part.start_mark.line) for part in parts), default=first + 1)


def _spell(entry: Mapping[str, Any], indent: int) -> list[str]:
    """One key a line, behind a dash."""
    written = [f"{key}: {_value(value)}\n" for key, value in entry.items()]
    return [f"{' ' * indent}{'- ' if place == 0 else '  '}{line}" for place, line in enumerate(written)]


def _value(value: Any) -> str:
    written: str = yaml.safe_dump(value, allow_unicode=True, width=_WIDTH, default_flow_style=True)
    return written.removesuffix("\n").removesuffix("\n...")
