"""From the words of `submit` to a manifest: a file or a workflow's id, and `name=value` pairs on top."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from orchestrator_mcp.command.ending import UsageError, say
from orchestrator_mcp.domain.documents import MAX_BYTES, MAX_DEPTH
from orchestrator_mcp.errors import ManifestError, TooLargeError, nearest
from orchestrator_mcp.files import is_missing, open_regular, read_regular
from orchestrator_mcp.workflows.file_manifests import manifest_in_file

STDIN: Final = "-"
_FILES: Final = frozenset({".json", ".png", ".webp", ".jpg", ".jpeg", ".avif", ".mp4", ".mov", ".webm", ".mkv"})


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the command line says beside the file; None and an empty list leave what the file says.

    Attributes:
        parameters: `name=value` texts.
        metadata: `key=value` texts.
        inputs: `name=FILE` texts: files of this machine that are sent ahead.
        fields: further top-level fields of the manifest.
    """

    parameters: Sequence[str] = ()
    metadata: Sequence[str] = ()
    inputs: Sequence[str] = ()
    fields: Mapping[str, Any]


def build_manifest(target: str, changes: Changes) -> dict[str, Any]:
    """Make the manifest that `submit` sends.

    Args:
        target: a file with a manifest or a workflow, or a picture that carries one; `-` for standard input; or a
            workflow's id.
        changes: what is put on top.

    Raises:
        UsageError: the file is not there or cannot be read, or a pair is none.
    """
    return with_changes(_read_target(target), changes, place=target)


def with_changes(manifest: dict[str, Any], changes: Changes, *, place: str = "the manifest") -> dict[str, Any]:
    """Put what the command line says on top of a manifest.

    Args:
        manifest: a document.
        changes: what is put on top.
        place: where it comes from, for messages.

    Raises:
        UsageError: a pair is none, or there is nothing that it could be put on.
    """
    manifest = dict(manifest)
    for field, pairs in (("parameters", changes.parameters), ("metadata", changes.metadata)):
        present = manifest.get(field) or {}
        if pairs and not isinstance(present, dict):
            raise UsageError(f"{place}: {field} is no object, so nothing can be put on top of it.")
        if pairs:
            manifest[field] = {**present, **read_pairs(pairs, option=field)}
    return {**manifest, **{name: value for name, value in changes.fields.items() if value not in (None, [])}}


def names_file(target: str) -> bool:
    """Whether a word of the command line means a file: one that is there, or one that should be by its ending."""
    path = Path(target).expanduser()
    return target == STDIN or os.path.exists(path) or path.suffix.casefold() in _FILES


def read_pairs(pairs: Sequence[str], *, option: str) -> dict[str, Any]:
    """Read `name=value` texts.

    Args:
        pairs: as they stand on the command line; see `read_value`.
        option: what they are, for messages.

    Raises:
        UsageError: there is no `=`, no name, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        name = name.strip()
        if not separator or not name:
            raise UsageError(f"{option}: {pair[:80]!r} is no pair.", hint="Write name=value, for example -p steps=20.")
        if name in found:
            raise UsageError(f"{option}: {name[:80]!r} is given twice.")
        found[name] = read_value(text, name=name)
    return found


def read_value(text: str, *, name: str) -> Any:
    """The value that a text stands for: JSON where it is a number, true, false, null, a list or an object; else text.

    `@file` reads the text of a file; `@@` stands for an @ at the beginning.

    Args:
        text: as it stands on the command line.
        name: whose value it is, for messages.

    Raises:
        UsageError: the file cannot be read.
    """
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        if text == "@":
            raise UsageError(f"{name}: no file stands behind the @.", hint="Write name=@FILE, or name=@@ for an @.")
        try:
            return _read_file(path).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UsageError(f"{name}: {path} is no UTF-8 text.") from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _refuse_constant(literal: str) -> NoReturn:
    raise ValueError(literal)


def _read_target(target: str) -> dict[str, Any]:
    path = Path(target).expanduser()
    if target == STDIN:
        return _in_file(io.BytesIO(sys.stdin.buffer.read(MAX_BYTES + 1)), "standard input", "stdin")
    if not names_file(target):
        return {"workflow_id": target}
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder.", hint="Name a file in it, or the id of a workflow.")
    if is_missing(path):
        raise UsageError(f"There is no file {path}.", hint=_near_files(path))
    try:
        with open_regular(path.resolve()) as file:
            return _in_file(file, str(path), path.stem)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None


def _in_file(file: BinaryIO, place: str, label: str) -> dict[str, Any]:
    try:
        found = manifest_in_file(file, label=label, most=MAX_BYTES, depth=MAX_DEPTH)
    except (ManifestError, TooLargeError) as error:
        raise UsageError(f"{place}: {error.message}", hint=error.hint) from None
    for warning in found.warnings:
        say(f"Note: {warning}")
    return found.document


def _read_file(path: Path) -> bytes:
    try:
        return read_regular(path.resolve(), most=MAX_BYTES).content
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None


def _near_files(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix.casefold() in _FILES]
    except OSError:
        return "Check the path, or name the id of a workflow; `orchestrator-mcp workflows` lists them."
    near = nearest(path.name, names)
    return f"Did you mean {' or '.join(near)}?" if near else "`orchestrator-mcp workflows` lists what has a name."
