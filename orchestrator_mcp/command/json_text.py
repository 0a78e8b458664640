"""Puts one entry into the text of a JSON file, and leaves every other character as its owner wrote it."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

_DEEPEST: Final = 200
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD: Final = re.compile(r"-?\d[\d.eE+-]*|true|false|null")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SPACE_AND_COMMENTS: Final = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_INDENT: Final = re.compile(r"\n([ \t]*)\Z")


class TextError(ValueError):
    """A text is not what its file's name says.

    Args:
        what: is wrong with it, as a clause.
        line: where, from 1; None where no line can be named.
    """

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what if line is None else f"line {line}: {what}")


@dataclass(frozen=True, kw_only=True)
class _Node:
    """A value, and where its text stands."""

    value: Any
    begin: int
    end: int
    members: tuple[_Member, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Member:
    key: str
    begin: int
    node: _Node


class _Reader:
    """Reads JSON, with or without comments and commas at the end, and remembers where everything stands."""

    def __init__(self, text: str, *, comments: bool) -> None:
        self._text = text
        self._relaxed = comments
        self._between = _SPACE_AND_COMMENTS if comments else _SPACE

    def whole(self) -> _Node | None:
        """The one value of the text; None when there is none.

        Raises:
            TextError: it is no JSON.
        """
        begin = self._skip(0)
        if begin == len(self._text):
            return None
        node = self._value(begin, 0)
        if (rest := self._skip(node.end)) != len(self._text):
            self._fail(rest, "something stands behind the end of the value")
        return node

    def _skip(self, at: int) -> int:
        found = self._between.match(self._text, at)
        return found.end() if found else at

    def _fail(self, at: int, what: str) -> NoReturn:
        raise TextError(what, self._text.count("\n", 0, at) + 1)

    def _value(self, at: int, depth: int) -> _Node:
        if depth > _DEEPEST:
            self._fail(at, f"it is nested more than {_DEEPEST} deep")
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, depth)
            case "[":
                return self._list(at, depth)
            case '"':
                return self._scalar(_STRING, at, "a text has no end, or a character in it that must be escaped")
        return self._scalar(_WORD, at, self._unexpected(at))

    def _scalar(self, pattern: re.Pattern[str], at: int, otherwise: str) -> _Node:
        found = pattern.match(self._text, at)
        if found is None:
            self._fail(at, otherwise)
        try:
            return _Node(value=json.loads(found[0]), begin=at, end=found.end())
        except ValueError:
            self._fail(at, f"{found[0][:40]} is no JSON value")

    def _unexpected(self, at: int) -> str:
        found = self._text[at : at + 1]
        if found == "/":
            return "a comment, which this client does not read"
        return f"a value is missing before {found!r}" if found else "the file ends too early"

    def _object(self, at: int, depth: int) -> _Node:
        members: dict[str, _Member] = {}
        here = self._skip(at + 1)
        while self._text[here : here + 1] != "}":
            if self._text[here : here + 1] != '"':
                self._fail(here, "a key in double quotes is missing")
            key = self._scalar(_STRING, here, "a key has no end")
            if key.value in members:
                self._fail(here, f"the key {key.value!r} stands there twice")
            colon = self._skip(key.end)
            if self._text[colon : colon + 1] != ":":
                self._fail(colon, f"a colon is missing behind the key {key.value!r}")
            node = self._value(self._skip(colon + 1), depth + 1)
            members[key.value] = _Member(key=key.value, begin=here, node=node)
            here = self._next(node.end, "}")
        value = {key: member.node.value for key, member in members.items()}
        return _Node(value=value, begin=at, end=here + 1, members=tuple(members.values()))

    def _list(self, at: int, depth: int) -> _Node:
        values = []
        here = self._skip(at + 1)
        while self._text[here : here + 1] != "]":
            node = self._value(here, depth + 1)
            values.append(node.value)
            here = self._next(node.end, "]")
        return _Node(value=values, begin=at, end=here + 1)

    def _next(self, at: int, closing: str) -> int:
        """Where the next member begins, or the closing bracket stands."""
        here = self._skip(at)
        if self._text[here : here + 1] == closing:
            return here
        if self._text[here : here + 1] != ",":
            self._fail(here, f"a comma or {closing} is missing")
        after = self._skip(here + 1)
        if self._text[after : after + 1] == closing and not self._relaxed:
            self._fail(after, f"a comma stands before {closing}")
        return after


def with_entry(text: str, group: str, name: str, entry: dict[str, Any], *, comments: bool) -> str:
    """The text with an entry, `{group: {name: entry}}`; what stood there under that name is replaced.

    Args:
        text: of a JSON file; an empty one becomes a whole document.
        group: a key of the document; made where it is missing.
        name: a key of that group.
        entry: its value.
        comments: whether the file's reader allows comments and commas at the end.

    Raises:
        TextError: it is no JSON, or the group is no object.
    """
    root = _Reader(text, comments=comments).whole()
    if root is None:
        return text + _spelled({group: {name: entry}}, "  ", "") + "\n"
    changed = _with_entry(text, root, group, name, entry)
    wanted = copy.deepcopy(root.value)
    wanted.setdefault(group, {})[name] = entry
    check = _Reader(changed, comments=comments).whole()
    if check is None or check.value != wanted:
        raise TextError("it is written in a way that cannot be changed safely")
    return changed


def _with_entry(text: str, root: _Node, group: str, name: str, entry: dict[str, Any]) -> str:
    if not isinstance(root.value, dict):
        raise TextError("an object is needed, beginning with {", _line(text, root.begin))
    unit = _unit(text, root)
    outer = _member(root, group)
    if outer is None:
        return _insert(text, root, "", group, {name: entry}, unit)
    if not isinstance(outer.node.value, dict):
        raise TextError(f"{group} must be an object", _line(text, outer.begin))
    inner = _member(outer.node, name)
    if inner is None:
        return _insert(text, outer.node, _indent(text, outer.begin) or "", name, entry, unit)
    indent = _indent(text, inner.begin)
    spelled = _on_lines(text, _spelled(entry, None if indent is None else unit, indent or ""))
    return text[: inner.node.begin] + spelled + text[inner.node.end :]


def _insert(text: str, node: _Node, outer: str, key: str, value: Any, unit: str) -> str:
    """Put a member at the end of an object, behind the comments there.

    Args:
        text: all of it.
        node: the object.
        outer: the indent of the line on which the object's own key stands.
        key: of the new member.
        value: of the new member.
        unit: one step of indent.
    """
    close = node.end - 1
    end = len(text[:close].rstrip(" \t\r\n"))
    last = node.members[-1].node.end if node.members else end
    indent = _indent(text, node.members[0].begin) if node.members else outer + unit
    comma = "," if node.members and not _has_comma(text[last:close]) else ""
    if indent is None:
        return f"{text[:last]}{comma}{text[last:end]} {json.dumps(key)}: {json.dumps(value)}{text[end:]}"
    spelled = f"\n{indent}{json.dumps(key)}: {_spelled(value, unit, indent)}"
    closing = "" if "\n" in text[end:close] else f"\n{outer}"
    return text[:last] + comma + text[last:end] + _on_lines(text, spelled + closing) + text[end:]


def _has_comma(between: str) -> bool:
    """Whether a comma stands behind the last member, outside of comments."""
    found = _SPACE_AND_COMMENTS.match(between)
    return found is not None and between[found.end() : found.end() + 1] == ","


def _member(node: _Node, key: str) -> _Member | None:
    return next((member for member in node.members if member.key == key), None)


def _indent(text: str, at: int) -> str | None:
    """The white space before something that begins its line; None when other things stand before it."""
    found = _INDENT.search(text[:at])
    return found[1] if found else None


def _unit(text: str, root: _Node) -> str:
    """One step of indent, as the document has it."""
    return (_indent(text, root.members[0].begin) if root.members else None) or "  "


def _spelled(value: Any, unit: str | None, indent: str) -> str:
    if unit is None:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", f"\n{indent}")


def _on_lines(text: str, spelled: str) -> str:
    """With the line ends that the text has."""
    return spelled.replace("\n", "\r\n") if "\r\n" in text else spelled


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
