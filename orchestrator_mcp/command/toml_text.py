"""Puts one table into the text of a TOML file, and leaves every other line as its owner wrote it."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from typing import Any, Final

from orchestrator_mcp.command.json_text import TextError

_PLACE: Final = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column \d+\)")


def table_text(group: str, name: str, entry: dict[str, Any]) -> str:
    """A table `[group.name]` in TOML.

    Args:
        group: a bare key.
        name: a bare key.
        entry: texts, numbers and lists of texts. A JSON text is a TOML text, too.
    """
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    return "\n".join([f"[{group}.{name}]", *lines]) + "\n"


def with_table(text: str, group: str, name: str, entry: dict[str, Any]) -> str:
    """The text with the table `[group.name]`; one that stood there is replaced, with those below it.

    Args:
        text: of a TOML file.
        group: a bare key.
        name: a bare key.
        entry: what the table says.

    Raises:
        TextError: it is no TOML, or the group is written in a way that nothing can be added to.
    """
    present = _parsed(text)
    groups = present.get(group, {})
    if not isinstance(groups, dict):
        raise TextError(f"{group} must be a table")
    wanted = copy.deepcopy(present)
    wanted.setdefault(group, {})[name] = entry
    lines = text.splitlines(keepends=True)
    kept, at = _without(lines, (group, name))
    end = "\r\n" if "\r\n" in text else "\n"
    table = table_text(group, name, entry).replace("\n", end)
    before, after = "".join(kept[:at]), "".join(kept[at:])
    if before and not before.endswith("\n"):
        before += end
    if before.strip() and len(kept) == len(lines) and not before.endswith(end * 2):
        before += end
    changed = before + table + (end if after.strip() and not after.startswith(end) else "") + after
    try:
        sound = tomllib.loads(changed) == wanted
    except tomllib.TOMLDecodeError:
        sound = False
    if not sound:
        raise TextError(f"{group} is written in a way that cannot be changed safely")
    return changed


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.fullmatch(str(error))
        raise TextError(found["what"], int(found["line"])) if found else TextError(str(error)) from None


def _without(lines: list[str], path: tuple[str, str]) -> tuple[list[str], int]:
    """The lines without a table, and where it stood; at the end when it stood nowhere."""
    kept: list[str] = []
    at: int | None = None
    inside = False
    waiting: list[str] = []  # blank lines and comments, which may belong to the next table
    for line in lines:
        header = _header(line)
        if header is not None:
            inside = header[:2] == path
            if inside and at is None:
                kept += waiting
                at = len(kept)
            elif not inside:
                kept += waiting
            waiting = []
        if not line.strip() or line.lstrip().startswith("#"):
            waiting.append(line)
            continue
        if not inside:
            kept += [*waiting, line]
        waiting = []
    kept += waiting
    return kept, len(kept) if at is None else at


def _header(line: str) -> tuple[str, ...] | None:
    """The keys of a line that begins a table; None when it begins none."""
    if not line.lstrip().startswith("["):
        return None
    try:
        found: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while isinstance(found, dict) and len(found) == 1:
        [(key, found)] = found.items()
        path.append(key)
        found = found[0] if isinstance(found, list) else found
    return tuple(path)
