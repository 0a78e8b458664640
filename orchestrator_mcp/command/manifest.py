"""From the words of `submit` to a manifest: a file or a workflow's id, and `name=value` pairs on top."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from orchestrator_mcp.command.ending import UsageError
from orchestrator_mcp.domain.documents import MAX_BYTES, parse_document
from orchestrator_mcp.errors import ManifestError, TooLargeError, nearest
from orchestrator_mcp.files import read_regular

STDIN: Final = "-"
_MANIFEST_FIELDS: Final = frozenset({"workflow_id", "workflow", "workflow_json"})
_PICTURES: Final = frozenset({".png", ".webp", ".jpg", ".jpeg", ".gif", ".mp4", ".webm"})


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the command line says beside the file; None and an empty list leave what the file says.

    Attributes:
        parameters: `name=value` texts.
        metadata: `key=value` texts.
        fields: further top-level fields of the manifest.
    """

    parameters: Sequence[str] = ()
    metadata: Sequence[str] = ()
    fields: Mapping[str, Any]


def build_manifest(target: str, changes: Changes) -> dict[str, Any]:
    """Make the manifest that `submit` sends.

    Args:
        target: a JSON file with a manifest or a graph, `-` for standard input, or a workflow's id.
        changes: what is put on top.

    Raises:
        UsageError: the file is not there or cannot be read, or a pair is none.
        ManifestError: the file is no JSON object.
        TooLargeError: it is too large.
    """
    manifest = _read_target(target)
    for field, pairs in (("parameters", changes.parameters), ("metadata", changes.metadata)):
        present = manifest.get(field) or {}
        if pairs and not isinstance(present, dict):
            raise UsageError(f"{target}: {field} is no object, so nothing can be put on top of it.")
        if pairs:
            manifest[field] = {**present, **read_pairs(pairs, option=field)}
    return {**manifest, **{name: value for name, value in changes.fields.items() if value not in (None, [])}}


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
        return _as_manifest(_parse(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"), "stdin")
    if path.is_file():
        return _as_manifest(_parse(_read_file(path), str(path)), path.stem)
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", hint="Name a JSON file in it, or the id of a workflow.")
    if path.suffix.casefold() == ".json":
        raise UsageError(f"There is no file {path}.", hint=_near_files(path))
    return {"workflow_id": target}


def _as_manifest(document: dict[str, Any], label: str) -> dict[str, Any]:
    """The document itself if it is a manifest, else a manifest around the graph that it is."""
    return document if _MANIFEST_FIELDS & document.keys() else {"workflow": document, "workflow_id": label}


def _parse(raw: bytes, place: str) -> dict[str, Any]:
    try:
        return parse_document(raw)
    except (ManifestError, TooLargeError) as error:
        picture = Path(place).suffix.casefold() in _PICTURES
        hint = (
            "A picture is no manifest: give the workflow's JSON file, exported from ComfyUI." if picture else error.hint
        )
        raise UsageError(f"{place}: {error.message}", hint=hint) from None


def _read_file(path: Path) -> bytes:
    try:
        return read_regular(path.resolve(), most=MAX_BYTES).content
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None


def _near_files(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix.casefold() == ".json"]
    except OSError:
        return "Check the path, or name the id of a workflow; `orchestrator-mcp workflows` lists them."
    near = nearest(path.name, names)
    return f"Did you mean {' or '.join(near)}?" if near else "`orchestrator-mcp workflows` lists what has a name."
