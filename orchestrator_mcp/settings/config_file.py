"""Reads a YAML file into plain values, and remembers the line on which each of them stands.

It knows YAML and its traps, and none of our keys. Anchors, aliases and tags are refused: a configuration needs none
of them, and a few lines of them can fill a machine's memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from orchestrator_mcp.errors import SettingsError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_TOLD = 40  # problems in one message

KeyPath = tuple[str | int, ...]

_WINDOWS_HINT = (
    "In double quotes a backslash starts an escape. "
    "Write a Windows path with forward slashes (D:/renders) or in single quotes ('D:\\renders')."
)
_TYPED_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float")}


@dataclass(frozen=True, kw_only=True)
class ConfigProblem:
    """One thing that is wrong in a configuration file.

    Attributes:
        line: where it stands, from 1; None when it has no line.
        key: the key as people write it, for example `backends[0].port`; empty for the file as a whole.
        message: what was found and what is allowed.
        covers: whether nothing more needs to be said about the value of this key.
    """

    line: int | None
    key: str
    message: str
    covers: bool = True


@dataclass(kw_only=True)
class ConfigFile:
    """The plain values of a file, with the line of each.

    Attributes:
        path: the file that was read.
        values: what it says; empty for an empty file.
        lines: the line of every key and list entry, from 1.
        problems: what is wrong with single keys and values, whatever they mean.
        old_names: what a renamed key is called in the file.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    old_names: dict[KeyPath, str] = field(default_factory=dict)

    def rename(self, around: KeyPath, values: dict[str, Any], old: str, new: str) -> None:
        """Take the value of an old key under its new name; messages go on saying the old one.

        Args:
            around: where `values` stands in the file.
            values: the mapping that has the old key, and not the new one.
            old: the key as the file has it.
            new: the key as it is called now.
        """
        values[new] = values.pop(old)
        self.old_names[(*around, new)] = old
        for path, line in list(self.lines.items()):
            if path[: len(around) + 1] == (*around, old):
                self.lines[(*around, new, *path[len(around) + 1 :])] = line

    def spell(self, path: KeyPath) -> str:
        """Write a key as it stands in the file, for example `backends[0].port`."""
        written = (self.old_names.get(path[: end + 1], part) for end, part in enumerate(path))
        return spell_key(tuple(written))

    def line_of(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest thing around it that stands in the file."""
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None


def spell_key(path: KeyPath) -> str:
    """Write a key as people do: `("backends", 0, "port")` is `backends[0].port`."""
    spelled = ""
    for part in path:
        name = f"[{part}]" if isinstance(part, int) else _printable(part)
        spelled += f".{name}" if spelled and isinstance(part, str) else name
    return spelled


def wrong_config(path: Path, problems: Iterable[ConfigProblem]) -> SettingsError:
    """Make the one error that tells every problem of a file, in the order of its lines."""
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    told = [_spell_problem(path, problem) for problem in ordered[:MAX_TOLD]]
    if len(ordered) > MAX_TOLD:
        told.append(f"... and {len(ordered) - MAX_TOLD} more.")
    count = "a problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    details = [
        {"file": str(path), "line": problem.line, "key": problem.key, "message": problem.message}
        for problem in ordered[:MAX_TOLD]
    ]
    text = "\n  ".join([f"The configuration has {count}:", *told])
    return SettingsError(text, details={"problems": details})


def read_config(path: Path, *, prose: bool = False) -> ConfigFile:
    """Read a configuration file.

    Args:
        path: an ordinary file of at most 1 MB, UTF-8.
        prose: texts may have several lines, and tabs.

    Raises:
        SettingsError: it cannot be read, or is not YAML with a mapping at the top.
    """
    text = _decode(path, _read_bytes(path))
    config = ConfigFile(path=path)
    root = _compose(path, text)
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
        return config
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        _refuse(path, _line(root), f"found {found} at the top; keys with values are needed, such as: data_dir: ./data")
    config.values = _Plain(config, allowed="\n\t" if prose else "").mapping(root, ())
    return config


def _spell_problem(path: Path, problem: ConfigProblem) -> str:
    where = f"{path}:{problem.line}" if problem.line else str(path)
    return f"{where}: {problem.key}: {problem.message}" if problem.key else f"{where}: {problem.message}"


def _refuse(path: Path, line: int | None, message: str) -> NoReturn:
    raise wrong_config(path, [ConfigProblem(line=line, key="", message=message)])


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _read_bytes(path: Path) -> bytes:
    if os.path.isdir(path):
        _refuse(path, None, "this is a folder; name the file in it, such as config.yaml.")
    if os.path.exists(path) and not os.path.isfile(path):
        _refuse(path, None, "this is not an ordinary file.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        _refuse(path, None, "there is no such file.")
    except OSError as error:
        _refuse(path, None, f"the file cannot be read: {error.strerror or type(error).__name__}.")
    if len(content) > MAX_BYTES:
        _refuse(path, None, "the file is larger than 1 MB; that is no configuration.")
    return content


def _decode(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse(path, 1, "the file is UTF-16; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(path, line, f"found the byte 0x{content[error.start]:02x}, which is not UTF-8; save the file as UTF-8.")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that gives a tree only: without anchors, aliases or great depth."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            problem = (
                f"found {sign}{event.anchor}; anchors and aliases are not allowed. "
                f"Write the value out, or put it in quotes if it should begin with {sign}"
            )
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        if getattr(event, "tag", None) is not None:
            problem = f"found the tag {event.tag[:60]}; tags are not allowed"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        if self._depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"found more than {MAX_DEPTH} levels", event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _compose(path: Path, text: str) -> yaml.Node | None:
    loader = None
    try:
        loader = _StrictLoader(text)
        node: yaml.Node | None = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        _refuse(path, line, f"found the unprintable character U+{int(error.character):04X}; remove it.")
    except yaml.MarkedYAMLError as error:
        marks = (error.problem_mark, error.context_mark)
        mark = next(filter(None, reversed(marks) if _at_the_end(error) else marks), None)
        where = f"column {mark.column + 1}: " if mark else ""
        _refuse(path, mark.line + 1 if mark else None, where + _explain_syntax(error, text))
    finally:
        if loader is not None:
            loader.dispose()
    return node


def _at_the_end(error: yaml.MarkedYAMLError) -> bool:
    """Whether the file ended too soon: then the fault lies where that began, not where it ended."""
    return "stream end" in (error.problem or "") or "end of stream" in (error.problem or "")


def _explain_syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = error.problem or "this is not YAML"
    if "escape" in problem:
        return f"{problem}. {_WINDOWS_HINT}"
    if "'\\t'" in problem:
        return "found a tab; YAML is indented with spaces only."
    if "another document" in problem:
        return "found a second document (---); one file holds one configuration."
    if "cannot start any token" in problem:
        return f"{problem}; put the value in quotes."
    if "mapping values are not allowed" in problem:
        return "found a colon that does not belong here; check the indentation, and put a value with a colon in quotes."
    if _at_the_end(error):
        return "the file ends inside a quoted text, a [list] or a {mapping} that begins here."
    if "block end" in problem:
        return "the indentation does not fit the lines above."
    return f"{problem}."


class _Plain:
    """Turns the tree into dicts, lists and scalars, and notes lines and problems in the ConfigFile."""

    def __init__(self, config: ConfigFile, *, allowed: str) -> None:
        self._config = config
        self._allowed = allowed
        self._scalars = yaml.constructor.SafeConstructor()

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "found a list or mapping as a key; a key is plain text.")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in values:
                first = self._config.lines[here]
                message = f"the key stands twice, on line {first} and on line {_line(key_node)}."
                self._problem(key_node, here, message, covers=False)
                continue
            self._config.lines[here] = _line(key_node)
            values[key] = self._value(value_node, here)
        return values

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            for index, entry in enumerate(node.value):
                self._config.lines[(*path, index)] = _line(entry)
            return [self._value(entry, (*path, index)) for index, entry in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text = str(node.value)
        # YAML 1.1 reads 12:30 as the number 750; nobody who writes it means that
        if node.tag in _TYPED_TAGS and ":" not in text:
            try:
                return self._scalars.construct_object(node)
            except (ValueError, LookupError, OverflowError):  # too long for Python, or a sign without digits
                return text
        strange = next((one for one in text if _is_control(one) and one not in self._allowed), None)
        if strange is not None:
            hint = f" {_WINDOWS_HINT}" if getattr(node, "style", None) == '"' else ""
            self._problem(node, path, f"found the control character U+{ord(strange):04X} in the text.{hint}")
            return None
        return text

    def _problem(self, node: yaml.Node, path: KeyPath, message: str, *, covers: bool = True) -> None:
        problem = ConfigProblem(line=_line(node), key=spell_key(path), message=message, covers=covers)
        self._config.problems.append(problem)


def _printable(key: str) -> str:
    short = key if len(key) <= 60 else f"{key[:60]}..."
    return short if short.isprintable() else repr(short)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"
