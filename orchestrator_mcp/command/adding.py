"""`workflows add`: a file becomes a workflow with a name, and gets a file beside it that says what it takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from orchestrator_mcp.command.api import Where
from orchestrator_mcp.command.catalogues import Classes, catalogues
from orchestrator_mcp.command.ending import ExitCode, UsageError, say
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.manifests import MAX_TEXT
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.errors import CallerError
from orchestrator_mcp.files import write_durably
from orchestrator_mcp.redaction import escape
from orchestrator_mcp.settings import LimitSettings, load_settings
from orchestrator_mcp.workflows.declaration_file import SUFFIXES
from orchestrator_mcp.workflows.declaration_text import declaration_text
from orchestrator_mcp.workflows.input_types import InputTypes
from orchestrator_mcp.workflows.library_reading import ReadGraph, read_graph
from orchestrator_mcp.workflows.parameters import infer_parameters

_FORBIDDEN: Final = frozenset('\\:*?"<>|')


def add(
    file: Path,
    workflow_id: str | None,
    where: Where,
    *,
    object_info: Path | None = None,
    backend: str | None = None,
    force: bool,
) -> int:
    """Copy a graph into the first workflows folder, and write the file that describes it.

    Args:
        file: whatever holds a workflow, or a file of the studio's other tools.
        workflow_id: the name that it gets, `folder/name` for a folder below; None takes the file's.
        where: the configuration, and the orchestrator that is asked for its backends' nodes, where that is needed.
        object_info: a file with what a backend answers at `/object_info`, in place of asking.
        backend: the only backend whose nodes count.
        force: replace what has that name.

    Returns:
        The exit code.

    Raises:
        UsageError: the file is no workflow, the name cannot be one, or it is taken.
        SettingsError: the configuration is wrong.
        UnreachableError: nodes must be asked for, and no orchestrator answers.
    """
    settings = load_settings(where.config)
    folder = settings.workflows_dirs[0]
    name = _checked_id(file.stem if workflow_id is None else workflow_id)
    known = catalogues(where, object_info=object_info, backend=backend)
    read = _read(file, settings.limits, known)
    graph, declared = read.graph, read.said
    target = folder / f"{name}.json"
    described = target.with_suffix(SUFFIXES[0])
    taken = [path for path in (target, described) if path.exists() or path.is_symlink()]
    if taken and not force:
        raise UsageError(
            f"{' and '.join(map(str, taken))} {'stands' if len(taken) == 1 else 'stand'} there already.",
            hint="Choose another name with --id, or replace it with --force.",
        )
    shown = [view for view in declared.parameters if view.name not in declared.hidden]
    shown = shown or _inferred(graph, list(islice(known, read.tried))[-1:])
    text = declaration_text(graph, declared, shown, called=name)
    _write(folder, {described: text, target: json.dumps(graph, ensure_ascii=False, indent=2) + "\n"})
    _tell(name, target, described, len(shown))
    return ExitCode.OK


def _checked_id(name: str) -> str:
    parts = name.split("/")
    odd = next((part for part in parts if not part or part.startswith(".") or _FORBIDDEN & set(part)), None)
    if odd is not None or not name.isprintable() or len(name) > MAX_TEXT:
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a workflow.",
            hint="Give one with --id, of letters, digits, _ and -; folder/name puts it into a folder.",
        )
    return name


def _read(file: Path, limits: LimitSettings, known: Iterable[Classes]) -> ReadGraph:
    try:
        read = read_graph(file.expanduser().resolve(), limits=limits, catalogues=known)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from None
    except CallerError as error:
        raise UsageError(f"{file}: {error.message}", hint=error.hint) from None
    for warning in read.warnings:
        say(f"Note: {warning}")
    return read


def _inferred(graph: Graph, known: Sequence[Classes]) -> list[ParameterView]:
    """The parameters without lists of choices: what is written down must not forbid a model that comes tomorrow."""
    views = infer_parameters(graph, InputTypes(known))
    return [
        view.model_copy(update={"choices": [], "type": "string" if isinstance(view.default, str) else "any"})
        if view.type == "choice"
        else view
        for view in views
    ]


def _write(folder: Path, contents: dict[Path, str]) -> None:
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(folder.resolve()):
                raise UsageError(f"{path.parent} leads out of the workflows folder {folder}.")
            write_durably(path, content.encode())
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}.") from None


def _tell(name: str, target: Path, described: Path, count: int) -> None:
    lines = [
        f"Wrote {target}",
        f"Wrote {described} with {count} {'parameter' if count == 1 else 'parameters'}, to edit",
        f"Try:  orchestrator-mcp submit {name} --watch",
    ]
    sys.stdout.write("".join(f"{escape(line)}\n" for line in lines))
