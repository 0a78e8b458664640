"""Converts whole files: reads them, finds the workflow in them, writes the API graphs and sums up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from orchestrator_mcp.domain.documents import parse_document
from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.errors import CallerError, ManifestError, Problem
from orchestrator_mcp.files import FileTooLargeError, read_regular, unique_names, write_durably
from orchestrator_mcp.workflows.convert.conversion import convert, is_api, looks_like_ui
from orchestrator_mcp.workflows.convert.embedded import find_workflow
from orchestrator_mcp.workflows.graph import check_graph

MAX_FILE: Final = 1024 * 1024 * 1024
"""Largest film or sound that is looked into, in bytes; documents have the smaller limit of all documents."""

Origin = Literal["ui", "api", "embedded prompt", "embedded workflow"]


@dataclass(frozen=True, kw_only=True)
class ConvertedFile:
    """What became of one file: a row of the summary.

    Attributes:
        source: the file.
        origin: what was found in it; None when nothing was.
        nodes: how many nodes the graph has; 0 when there is none.
        target: the file that was written; None when none was.
        warnings: what could not be followed and does not matter, in words.
        problems: why it was refused; empty when it was converted.
    """

    source: Path
    origin: Origin | None = None
    nodes: int = 0
    target: Path | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether there is no graph."""
        return bool(self.problems)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What became of all files.

    Attributes:
        files: one row for each, in the order of the command line.
    """

    files: tuple[ConvertedFile, ...]

    @property
    def exit_code(self) -> int:
        """1 when any file was refused, else 0."""
        return int(any(row.refused for row in self.files))


@dataclass(frozen=True, kw_only=True)
class LoadedGraph:
    """The graph of a file.

    Attributes:
        graph: it, in API format and structurally checked.
        origin: where in the file it came from.
        warnings: what could not be followed and does not matter, in words.
    """

    graph: Graph
    origin: Origin
    warnings: tuple[str, ...] = ()


def convert_files(sources: Sequence[Path], catalogue: Mapping[str, Any], *, out: Path | None = None) -> Conversion:
    """Convert files of any kind that holds a workflow.

    Args:
        sources: the files: JSON in UI or API format, and everything `find_workflow` reads.
        catalogue: class -> definition, as a backend answers `GET /object_info`.
        out: the folder for the graphs, made if needed; `<stem>.json` each, equal stems numbered. None: nothing is
            written.

    Raises:
        OSError: the folder cannot be made.
    """
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    names = unique_names(f"{source.stem}.json" for source in sources)
    return Conversion(
        files=tuple(
            _convert_file(source, catalogue, None if out is None else out / name)
            for source, name in zip(sources, names, strict=True)
        )
    )


def load_graph(content: bytes, catalogue: Mapping[str, Any]) -> LoadedGraph:
    """Make a graph of the content of any file that holds a workflow.

    Args:
        content: the bytes of the file; hostile until they are read here.
        catalogue: class -> definition.

    Raises:
        ManifestError: there is no workflow in it, or one that cannot be converted faithfully.
        TooLargeError: it is too large.
    """
    embedded = find_workflow(content)
    if embedded.prompt is not None:
        return LoadedGraph(graph=check_graph(embedded.prompt), origin="embedded prompt", warnings=embedded.problems)
    if embedded.workflow is not None:
        made = convert(embedded.workflow, catalogue)
        warnings = (*embedded.problems, *made.warnings)
        return LoadedGraph(graph=check_graph(made.graph), origin="embedded workflow", warnings=warnings)
    if embedded.problems:
        raise ManifestError([Problem(path=(), message=text, code="embedded") for text in embedded.problems])
    if not _is_text(content):
        message = "The file holds no workflow: none of ComfyUI's texts is in it, and it is no JSON."
        hint = "Programs that send pictures on often take such texts out; ask for the original file."
        raise ManifestError([Problem(path=(), message=message, code="no_workflow")], hint=hint)
    document = parse_document(content)
    if looks_like_ui(document):
        made = convert(document, catalogue)
        return LoadedGraph(graph=check_graph(made.graph), origin="ui", warnings=made.warnings)
    if is_api(document):
        return LoadedGraph(graph=check_graph(document), origin="api")
    message = "The document is no workflow: it has neither `nodes` nor entries with a `class_type`."
    raise ManifestError([Problem(path=(), message=message, code="no_workflow")])


def _convert_file(source: Path, catalogue: Mapping[str, Any], target: Path | None) -> ConvertedFile:
    try:
        loaded = load_graph(read_regular(source, most=MAX_FILE).content, catalogue)
        if target is not None:
            text = json.dumps(loaded.graph, indent=2, ensure_ascii=False, allow_nan=False)
            write_durably(target, f"{text}\n".encode())
    except ManifestError as error:
        return ConvertedFile(source=source, problems=error.problems)
    except CallerError as error:
        return _refused(source, str(error), error.code)
    except FileTooLargeError:
        return _refused(source, f"The file is larger than {MAX_FILE:,} bytes.", "too_large")
    except OSError as error:
        return _refused(source, f"{error.filename or source}: {error.strerror or error}.", "file")
    return ConvertedFile(
        source=source,
        origin=loaded.origin,
        nodes=len(loaded.graph),
        target=target,
        warnings=loaded.warnings,
    )


def _refused(source: Path, message: str, code: str) -> ConvertedFile:
    return ConvertedFile(source=source, problems=(Problem(path=(), message=message, code=code),))


def _is_text(content: bytes) -> bool:
    """Whether it may be a JSON document: its first letter begins an object, in UTF-8 or UTF-16."""
    head = content[:64].removeprefix(b"\xef\xbb\xbf")
    return head[:2] in {b"\xff\xfe", b"\xfe\xff"} or head.lstrip().startswith((b"{", b"["))


def problem_lines(rows: Iterable[ConvertedFile]) -> list[str]:
    """One line for each problem, `file: where: what`, for people.

    Args:
        rows: the rows of a summary.
    """
    return [
        f"{row.source}: {'.'.join(map(str, problem.path))}{': ' if problem.path else ''}{problem.message}"
        for row in rows
        for problem in row.problems
    ]
